import type { XSubscriber } from 'zeromq'
import { BEAT, BEAT_MS, BROKER_TOPIC, PING_PREFIX, PONG_PREFIX } from '../wire/topic.ts'

/** How long pings are gathered: every answer goes to every publisher, so the more of them, the fewer answers. */
const GATHER_MS = 10
const GATHER_MS_PER_PUBLISHER = 0.1
/** Ids are short; anything longer is no ping of ours. */
const LONGEST_ID = 32

export interface PulseOptions {
  /** How many publishers are connected. */
  readonly publishers: () => number
  /** Whether it may say that it lives; default: always. */
  readonly isAlive?: () => boolean
  /** Calls back once what came before is where it should be; default: at once. */
  readonly settled?: (call: () => void) => void
}

/**
 * What the broker says to publishers for itself: a greeting on each new connection, a beat every 2 s, and answers to
 * pings. By these they know a lost connection, which the subscriptions alone do not show.
 */
export class Pulse {
  readonly #xsub: XSubscriber
  readonly #options: PulseOptions
  readonly #beat: ReturnType<typeof setInterval>
  #pings: string[] = []

  constructor(xsub: XSubscriber, options: PulseOptions) {
    this.#xsub = xsub
    this.#options = options
    this.#say(`\x01${BROKER_TOPIC}`)
    this.#beat = setInterval(() => {
      if (options.isAlive?.() ?? true) this.#say(BEAT)
    }, BEAT_MS).unref()
  }

  /** Whether a message is a ping, which then is answered and not to be forwarded. */
  takes(parts: readonly Buffer[]): boolean {
    const [message] = parts
    // 0x21: "!"
    if (parts.length !== 1 || message === undefined || message[0] !== 0x21) return false
    if (message.length > PING_PREFIX.length + LONGEST_ID || !message.toString('latin1').startsWith(PING_PREFIX))
      return false
    const id = message.toString('latin1', PING_PREFIX.length)
    const { settled = (call): void => call() } = this.#options
    settled(() => this.#gather(id))
    return true
  }

  stop(): void {
    clearInterval(this.#beat)
    this.#answer()
  }

  #gather(id: string): void {
    if (this.#pings.length === 0) {
      setTimeout(() => this.#answer(), Math.max(GATHER_MS, this.#options.publishers() * GATHER_MS_PER_PUBLISHER))
    }
    this.#pings.push(id)
  }

  #answer(): void {
    const pings = this.#pings.splice(0)
    if (pings.length > 0) this.#say(PONG_PREFIX + pings.join(','))
  }

  #say(message: string): void {
    // nothing is lost for good: a publisher that hears nothing asks again, or takes the broker for dead
    if (!this.#xsub.closed) this.#xsub.send(message).catch(() => {})
  }
}
