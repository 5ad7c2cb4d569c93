import type { XPublisher } from 'zeromq'
import { type CurveKeys, checkCurve, socketOptions } from '../curve.ts'
import type { WarningSink } from '../warning.ts'
import type { Backlog } from './backlog.ts'
import { LINES_CARRY, LineBacklog } from './lines.ts'
import { Liveness } from './liveness.ts'
import { Ring, type RingOptions } from './ring.ts'
import type { Carries, SealedFrame, Transport, TransportStats } from './transport.ts'

/** How often the socket is looked at: when frames could go out or the connection is new, and when all is quiet. */
const BUSY_MS = 5
const QUIET_MS = 50
/** How long nobody may be heard before the connection is made anew. */
const ANEW_MS = 5_000
/** How long a drain gives a new connection to say what it takes. */
const SETTLE_MS = 1_000

export interface ZmqTransportOptions extends Partial<Omit<RingOptions, 'now' | 'onShortHorizon'>> {
  /** `tcp://host:port`, the broker's publishers' port. */
  readonly url: string
  readonly curve?: CurveKeys | undefined
  /** Default `frames`; `text` is what Zibrato for Python 0.2 wrote. */
  readonly format?: Format | undefined
  /** A third part for every message of frames, by which the broker knows that they are in the journal already. */
  readonly mark?: (() => string | undefined) | undefined
  readonly warn: WarningSink
}

/** What travels. */
export type Format = 'frames' | 'text'

/**
 * Publishes frames to a broker, or text lines made of them. The socket is polled from an unreferenced timer, because a pending receive would keep the
 * program alive; it is the XPUB kind, so that it can see who takes what, and nothing is sent that nobody takes.
 *
 * ZeroMQ hides lost connections from this kind of socket: it goes on taking messages for a broker that is gone. What the
 * broker says for itself shows them instead, see {@link Liveness}.
 */
export class ZmqTransport implements Transport {
  readonly carries: Carries | undefined
  readonly #options: ZmqTransportOptions
  readonly #backlog: Backlog
  #socket: XPublisher | undefined
  #opening: Promise<void>
  #isWritten: () => boolean = () => true
  #timer: ReturnType<typeof setTimeout> | undefined
  #wakesAt = 0
  #pumping = false
  #closed = false
  readonly #liveness: Liveness
  // when it was last likely that the broker says something
  #stirredAt = performance.now()
  #expiredAt = 0
  #connectedAt = 0
  #idle: (() => void)[] = []

  /** @throws UsageError for CURVE keys that are none */
  constructor(options: ZmqTransportOptions) {
    checkCurve(options.curve)
    this.#options = options
    this.carries = options.format === 'text' ? LINES_CARRY : undefined
    this.#backlog = options.format === 'text' ? lines(options) : ring(options)
    this.#liveness = new Liveness(this.#backlog)
    this.#opening = this.#open()
  }

  /** Whether new frames would be refused. */
  get full(): boolean {
    return this.#backlog.full
  }

  /** Whether a worker takes anything. */
  get subscribed(): boolean {
    return this.#backlog.subscribed
  }

  /** @param promised whether they hold what was already acknowledged: these are never refused */
  send(frames: readonly SealedFrame[], promised = false): boolean {
    if (this.#closed && this.#options.refuse === true) return false
    if (!this.#backlog.push(frames, promised)) return false
    if (this.#closed) this.#backlog.abandon(false)
    this.#wake(0)
    return true
  }

  connected(): boolean {
    return this.#liveness.connected
  }

  /** How long the connection has lasted, ms; 0 without one. */
  get connectedMs(): number {
    return this.connected() ? this.#liveness.connectedMs : 0
  }

  /** Which journal the broker writes; undefined: none, or not said yet. */
  get journal(): string | undefined {
    return this.#liveness.journal
  }

  async drain(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (this.#undrained() && performance.now() < deadline) {
      this.#wake(0)
      // referenced on purpose: whoever drains wants the program to wait
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve)
        setTimeout(resolve, BUSY_MS)
      })
    }
  }

  async close(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    await this.drain(timeoutMs)
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    const { confirmed } = this.#liveness
    // sent, perhaps to a broker that is gone: counted as unknown rather than not at all
    if (!confirmed) this.#backlog.resend()
    const { pressing } = this.#backlog
    const unheard = this.connected() ? 0 : this.#backlog.waiting - pressing
    if (pressing + unheard > 0) {
      const fate = !confirmed
        ? 'may not have arrived: the broker does not answer'
        : `did not go out: ${this.connected() ? 'nobody took them' : 'no connection'}`
      this.#options.warn({
        code: 'ZIBRATO_TRANSPORT',
        message: `closed with ${pressing + unheard} ${this.#backlog.unit} for ${this.#options.url} that ${fate}`,
      })
    }
    this.#backlog.abandon(this.connected())
    await this.#opening
    if (this.#socket === undefined) return
    // what libzmq has taken and not yet written; a program that dies by a signal would take it along
    const lingerMs = Math.max(1_000, Math.round(deadline - performance.now()))
    this.#socket.linger = lingerMs
    this.#socket.close()
    const end = performance.now() + lingerMs
    while (!this.#isWritten() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 2))
  }

  stats(): TransportStats {
    return this.#backlog.stats()
  }

  #undrained(): boolean {
    if (this.#closed) return false
    if (this.#backlog.pressing > 0 || this.#backlog.ready) return true
    // sent, and perhaps to a broker that is gone
    if (!this.#liveness.confirmed) return true
    // frames nobody has asked for: perhaps because nobody could yet
    return this.#backlog.waiting > 0 && (!this.connected() || this.#liveness.connectedMs < SETTLE_MS)
  }

  async #open(): Promise<void> {
    try {
      const { Context, Pair, XPublisher } = await import('zeromq')
      if (this.#closed) return
      // a context with room for one socket has room for another once a closed one has written all it took, or gave up:
      // ZeroMQ has no other way to tell
      const context = new Context({ maxSockets: 1 })
      this.#isWritten = () => {
        try {
          new Pair({ context }).close()
          return true
        } catch {
          return false
        }
      }
      const { curve, url } = this.#options
      this.#socket = new XPublisher({
        context,
        verbosity: 'allSubs',
        noDrop: true,
        sendTimeout: 0,
        receiveTimeout: 0,
        sendHighWaterMark: 1_000,
        linger: 1_000,
        // makes libzmq refuse who speaks nothing newer than ZMTP 2, for which it takes any other server, HTTP too: it would
        // read "send me everything" into that, and end the program if that came while the socket closes. Nothing else
        // follows from it, as nobody asks this context for ZAP
        zapDomain: 'zibrato',
        ...socketOptions([url], curve),
      })
      this.#socket.connect(url)
      this.#connectedAt = performance.now()
      this.#wake(0)
    } catch (cause) {
      this.#options.warn({
        code: 'ZIBRATO_TRANSPORT',
        message: `cannot publish to ${this.#options.url}: ${(cause as Error).message}; install "zeromq" or use an https:// url`,
      })
    }
  }

  #wake(delay: number): void {
    if (this.#closed || this.#socket === undefined || this.#pumping) return
    const at = performance.now() + delay
    if (this.#timer !== undefined) {
      // one that is put off by each call might never fire
      if (this.#wakesAt <= at) return
      clearTimeout(this.#timer)
    }
    this.#wakesAt = at
    this.#timer = setTimeout(() => void this.#pump(), delay).unref()
  }

  async #pump(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined || this.#closed || this.#pumping) return
    this.#timer = undefined
    this.#pumping = true
    let blocked = false
    try {
      await this.#listen(socket)
      blocked = await this.#write(socket)
      if (this.#idle.length > 0) await this.#ask(socket)
      const now = performance.now()
      this.#connectAnew(socket, now)
      if (now - this.#expiredAt > 1_000) {
        this.#expiredAt = now
        this.#backlog.expire()
      }
    } catch (cause) {
      // a socket that closes meanwhile says so too
      if (!this.#closed)
        this.#options.warn({ code: 'ZIBRATO_TRANSPORT', message: `ZeroMQ: ${(cause as Error).message}` })
    } finally {
      this.#pumping = false
      for (const resolve of this.#idle.splice(0)) resolve()
      const busy =
        blocked || (this.#backlog.ready && !this.#liveness.silent) || performance.now() - this.#stirredAt < SETTLE_MS
      this.#wake(busy ? BUSY_MS : QUIET_MS)
    }
  }

  async #listen(socket: XPublisher): Promise<void> {
    while (socket.readable) {
      const [message] = await socket.receive()
      if (message === undefined || message.length === 0) continue
      this.#stirredAt = performance.now()
      this.#liveness.hear(message[0] as number, message.toString('utf8'))
    }
    this.#liveness.check()
  }

  /** libzmq does not try again where somebody answered who speaks no ZeroMQ; the broker may yet come to be there. */
  #connectAnew(socket: XPublisher, now: number): void {
    const isHeard = this.#liveness.connectedMs > 0 && !this.#liveness.silent
    if (isHeard || now - this.#connectedAt < ANEW_MS) return
    this.#connectedAt = now
    const { url } = this.#options
    try {
      socket.disconnect(url)
    } catch {
      // nothing is left to disconnect
    }
    socket.connect(url)
  }

  /** While somebody drains: has the broker confirm what it got. */
  async #ask(socket: XPublisher): Promise<void> {
    const ping = this.#backlog.ready ? undefined : this.#liveness.ping()
    // one that a full socket does not take is tried again
    if (ping !== undefined) await socket.send(ping).catch(() => {})
  }

  /** Whether the socket took no more. */
  async #write(socket: XPublisher): Promise<boolean> {
    if (this.#liveness.silent) return false
    for (let taken = this.#backlog.take(); taken !== undefined; taken = this.#backlog.take()) {
      const mark = this.#options.mark?.()
      try {
        await socket.send(mark === undefined ? taken.parts : [...taken.parts, mark])
        this.#liveness.sent()
      } catch {
        this.#backlog.untake(taken)
        return true
      }
    }
    return false
  }
}

function ring({ waitingBytes, sentBytes, refuse, warn }: ZmqTransportOptions): Ring {
  return new Ring({
    ...(waitingBytes === undefined ? {} : { waitingBytes }),
    ...(sentBytes === undefined ? {} : { sentBytes }),
    refuse: refuse ?? false,
    now: () => performance.now(),
    onShortHorizon: (horizonMs) =>
      warn({
        code: 'ZIBRATO_SHORT_HORIZON',
        message: `sent frames are kept ${Math.round(horizonMs)} ms instead of 15 s; raise sentBytes`,
      }),
  })
}

function lines({ waitingBytes, warn }: ZmqTransportOptions): LineBacklog {
  return new LineBacklog({ waitingBytes, warn, now: () => performance.now() })
}
