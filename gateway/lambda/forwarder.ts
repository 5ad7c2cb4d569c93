import { Connection } from '../../client/transport/connection.ts'
import { FetchTransport } from '../../client/transport/fetch.ts'
import type { SealedFrame, TransportStats } from '../../client/transport/transport.ts'
import { readHeader } from '../../client/wire/frame.ts'
import { KnownFrames } from '../known-frames.ts'
import type { Log } from './log.ts'
import { Losses, type Origin } from './losses.ts'

/** Bytes of frames held at the most; what comes beyond stays with the function. */
const HELD_BYTES = 16 << 20
/** Gateways, or tokens, at the most. */
const MOST_TARGETS = 16

/** Whom frames are for. */
export interface Target {
  readonly gateway: string
  readonly token: string | undefined
}

export interface ForwarderOptions extends Origin {
  readonly log: Log
  /** Bytes of frames held at the most. Default 16 MB. */
  readonly heldBytes?: number
}

/** The way to a gateway, and what was lost on it. */
interface Link {
  readonly transport: FetchTransport
  readonly losses: Losses
  /** What was taken in the last ten minutes. */
  readonly known: KnownFrames
}

/** Keeps frames, as they came, until their gateways have them; tells these of what it gave up, once they take something. */
export class Forwarder {
  readonly #options: ForwarderOptions
  readonly #limit: number
  readonly #links = new Map<string, Link>()
  readonly #connection = new Connection()
  #sending: Promise<unknown> = Promise.resolve()
  #isClosing = false

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#limit = options.heldBytes ?? HELD_BYTES
  }

  /**
   * Takes frames, and so answers for them; false when there is no room, or no more time. One that it took before, whose answer
   * the function did not get, is not sent again: after a long freeze nobody else might know it.
   *
   * @throws UsageError for a gateway that is no URL
   */
  take(target: Target, frames: readonly SealedFrame[]): boolean {
    if (this.#isClosing) return false
    const bytes = frames.reduce((sum, frame) => sum + frame.bytes.length, 0)
    if (this.stats().waitingBytes + bytes > this.#limit) return false
    const id = JSON.stringify([target.gateway, target.token])
    let link = this.#links.get(id)
    if (link === undefined) {
      if (this.#links.size >= MOST_TARGETS) return false
      link = { transport: this.#open(target), losses: new Losses(this.#options), known: new KnownFrames() }
      this.#links.set(id, link)
    }
    const nowMs = Date.now()
    const { transport, known } = link
    known.forget(nowMs)
    return transport.send(frames.filter(({ bytes: own }) => known.admit(readHeader(own), nowMs)))
  }

  /** Sends what it has, for up to `timeoutMs`; what does not go out is kept. Never rejects. */
  async send(timeoutMs: number): Promise<void> {
    if (timeoutMs > 0) {
      this.#connection.patienceMs = timeoutMs / 2
      const drains = Array.from(this.#links.values(), (link) => drain(link, timeoutMs))
      this.#sending = Promise.all([this.#sending, ...drains])
    }
    // nothing must be under way when the machine is frozen
    await this.#sending
  }

  /** Sends what it has and gives up what does not go out within `timeoutMs`. Never rejects. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosing = true
    const closes = Array.from(this.#links.values(), (link) => {
      tell(link)
      return link.transport.close(timeoutMs)
    })
    await Promise.all(closes)
    this.#connection.close()
  }

  /** Of all gateways together. */
  stats(): TransportStats {
    const sum = { sent: 0, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0 }
    const dropped: Record<string, number> = {}
    for (const { transport } of this.#links.values()) {
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
      warn: ({ message }) => this.#options.log('warn', message),
    })
    transport.connect({ url: gateway, token, fetch: (url, request) => this.#connection.post(url, request) })
    return transport
  }
}

/** Sends what waits; and then, if that was taken, what was lost before. */
async function drain(link: Link, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  const isTaken = await link.transport.pull(timeoutMs, () => {})
  if (isTaken && tell(link)) await link.transport.drain(deadlineMs - performance.now())
}

/** Has what was lost since it was last told go out with what goes out next; answers whether anything was. */
function tell({ transport, losses }: Link): boolean {
  const frames = losses.frames(transport.stats())
  if (frames.length > 0) transport.send(frames)
  return frames.length > 0
}
