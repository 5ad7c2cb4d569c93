import { Connection } from '../../client/transport/connection.ts'
import { FetchTransport } from '../../client/transport/fetch.ts'
import type { SealedFrame, TransportStats } from '../../client/transport/transport.ts'
import type { Log } from './log.ts'

/** Bytes of frames held at the most; what comes beyond stays with the function. */
const HELD_BYTES = 16 << 20
/** Gateways, or tokens, at the most. */
const MOST_TARGETS = 16

/** Whom frames are for. */
export interface Target {
  readonly gateway: string
  readonly token: string | undefined
}

/** Keeps frames, as they came, until their gateways have them. */
export class Forwarder {
  readonly #log: Log
  readonly #limit: number
  readonly #transports = new Map<string, FetchTransport>()
  readonly #connection = new Connection()
  #sending: Promise<unknown> = Promise.resolve()

  constructor(log: Log, heldBytes: number = HELD_BYTES) {
    this.#log = log
    this.#limit = heldBytes
  }

  /** Takes frames, and so answers for them; false when there is no room. @throws UsageError for a gateway that is no URL */
  take(target: Target, frames: readonly SealedFrame[]): boolean {
    const bytes = frames.reduce((sum, frame) => sum + frame.bytes.length, 0)
    if (this.stats().waitingBytes + bytes > this.#limit) return false
    const id = JSON.stringify([target.gateway, target.token])
    let transport = this.#transports.get(id)
    if (transport === undefined) {
      if (this.#transports.size >= MOST_TARGETS) return false
      transport = this.#open(target)
      this.#transports.set(id, transport)
    }
    return transport.send(frames)
  }

  /** Sends what it has, for up to `timeoutMs`; what does not go out is kept. Never rejects. */
  async send(timeoutMs: number): Promise<void> {
    if (timeoutMs > 0) {
      this.#connection.patienceMs = timeoutMs / 2
      const drains = Array.from(this.#transports.values(), (transport) => transport.drain(timeoutMs))
      this.#sending = Promise.all([this.#sending, ...drains])
    }
    // nothing must be under way when the machine is frozen
    await this.#sending
  }

  /** Sends what it has and gives up what does not go out within `timeoutMs`. Never rejects. */
  async close(timeoutMs: number): Promise<void> {
    await Promise.all(Array.from(this.#transports.values(), (transport) => transport.close(timeoutMs)))
    this.#connection.close()
  }

  /** Of all gateways together. */
  stats(): TransportStats {
    const sum = { sent: 0, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0 }
    const dropped: Record<string, number> = {}
    for (const transport of this.#transports.values()) {
      const stats = transport.stats()
      for (const name of ['sent', 'replayed', 'waiting', 'waitingBytes', 'unknown'] as const) sum[name] += stats[name]
      for (const [reason, count] of Object.entries(stats.dropped)) dropped[reason] = (dropped[reason] ?? 0) + count
    }
    return { ...sum, dropped }
  }

  #open({ gateway, token }: Target): FetchTransport {
    const transport = new FetchTransport({
      // what was taken is bounded already, and none of it may go
      waitingBytes: Number.POSITIVE_INFINITY,
      warn: ({ message }) => this.#log('warn', message),
    })
    transport.connect({ url: gateway, token, fetch: (url, request) => this.#connection.post(url, request) })
    return transport
  }
}
