import { once } from 'node:events'
import { type ListenOptions, type Server, type Socket, createServer } from 'node:net'
import { type Faults, MAX_LINE_BYTES, type StreamReader } from './reader.ts'
import { settled } from './turns.ts'

export interface StreamLimits {
  /** Connections at the most; default 1,024. More are turned away and counted. */
  readonly maxConnections?: number
  /**
   * How long a connection may be silent, in ms; default one hour. Peers that are gone without a word are found by the
   * system's probes before that.
   */
  readonly idleMs?: number
  readonly onWarning?: (message: string) => void
}

/** Figures since the start. */
export interface StreamStats {
  /** Open now. */
  readonly connections: number
  readonly accepted: number
  /** Connections turned away because there were too many. */
  readonly turnedAway: number
  readonly bytes: number
  /** What did not become lines. */
  readonly faults: Readonly<Faults>
}

/** What a listener is called, and how it reads. */
export interface StreamKind {
  readonly component: string
  readonly open: (faults: Faults) => StreamReader
}

const DEFAULT_CONNECTIONS = 1_024
const DEFAULT_IDLE_MS = 3_600_000
/** Before the first probe whether a silent peer is still there. */
const PROBE_MS = 60_000
const WARNING_MS = 60_000
const DRAIN_MS = 1_000
/** How long nothing may come, once the peers have been told that it ends. */
const QUIET_MS = 100

/** The connections of a stream listener, whatever it is bound to. */
export class Streams {
  readonly #server: Server
  readonly #component: string
  readonly #open: (faults: Faults) => StreamReader
  readonly #idleMs: number
  readonly #onWarning: ((message: string) => void) | undefined
  readonly #sockets = new Set<Socket>()
  readonly #faults: Faults = { tooLong: 0, cut: 0, unframed: 0 }
  readonly #warnedMs = new Map<string, number>()
  #accepted = 0
  #turnedAway = 0
  #bytes = 0
  /** Told apart from bytes: also ends and accepts are signs of life. */
  #events = 0
  #tooLongTold = 0

  constructor({ component, open }: StreamKind, limits: StreamLimits) {
    this.#component = component
    this.#open = open
    this.#idleMs = limits.idleMs ?? DEFAULT_IDLE_MS
    this.#onWarning = limits.onWarning
    const maxConnections = limits.maxConnections ?? DEFAULT_CONNECTIONS
    this.#server = createServer({ keepAlive: true, keepAliveInitialDelay: PROBE_MS }, (socket) => this.#accept(socket))
    this.#server.maxConnections = maxConnections
    this.#server.on('drop', () => {
      this.#turnedAway++
      this.#warn('full', `turned a connection away, as ${maxConnections} are open; is a client not closing its own?`)
    })
  }

  /** Resolves with the listening server; rejects with what the system says. */
  async listen(options: ListenOptions): Promise<Server> {
    const server = this.#server
    server.listen(options)
    await once(server, 'listening')
    server.on('error', (error: Error) => this.#warn('accept', error.message))
    return server
  }

  stats(): StreamStats {
    return {
      connections: this.#sockets.size,
      accepted: this.#accepted,
      turnedAway: this.#turnedAway,
      bytes: this.#bytes,
      faults: { ...this.#faults },
    }
  }

  /**
   * Takes those in that have connected already, tells all that it ends, and reads what they have still to say: until each
   * has ended, none has said anything for 100 ms, or a second is over.
   */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    await settled(() => this.#events, DRAIN_MS)
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    // most clients end their side when the other one does, having sent all they had
    for (const socket of this.#sockets) socket.end()
    await this.#quiet()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #accept(socket: Socket): void {
    this.#accepted++
    this.#events++
    this.#sockets.add(socket)
    const stream = this.#open(this.#faults)
    let open = true
    socket.on('data', (piece) => {
      this.#events++
      this.#bytes += piece.length
      const makesSense = stream.push(piece)
      if (this.#faults.tooLong > this.#tooLongTold) this.#tellTooLong()
      if (makesSense) return
      open = false
      this.#warn('unframed', 'closed a connection on which lengths of packets made no sense any more')
      socket.destroy()
    })
    socket.on('end', () => {
      this.#events++
      if (open) stream.end()
      open = false
    })
    // a reset says no more than the end that follows it
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#events++
      if (open) stream.cut()
      this.#sockets.delete(socket)
    })
    socket.setTimeout(this.#idleMs, () => socket.destroySoon())
  }

  async #quiet(): Promise<void> {
    const deadline = performance.now() + DRAIN_MS
    let last = this.#events
    let quietMs = performance.now()
    while (this.#sockets.size > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      const now = performance.now()
      if (this.#events === last) {
        if (now - quietMs >= QUIET_MS) return
        continue
      }
      last = this.#events
      quietMs = now
    }
  }

  #tellTooLong(): void {
    this.#tooLongTold = this.#faults.tooLong
    this.#warn('long', `skipped a line or packet of over ${MAX_LINE_BYTES} bytes; does a client leave out line breaks?`)
  }

  #warn(kind: string, message: string): void {
    const now = performance.now()
    if (now - (this.#warnedMs.get(kind) ?? Number.NEGATIVE_INFINITY) < WARNING_MS) return
    this.#warnedMs.set(kind, now)
    this.#onWarning?.(`${this.#component}: ${message}`)
  }
}
