import type { XSubscriber } from 'zeromq'
import { BEAT, BEAT_MS, BROKER_TOPIC, PING_PREFIX, PONG_PREFIX } from '../../client/wire/topic.ts'

/** How long pings are gathered: every answer goes to every publisher, so the more of them, the fewer answers. */
const GATHER_MS = 10
const GATHER_MS_PER_PUBLISHER = 0.1
/** Ids are short; anything longer is no ping of ours. */
const LONGEST_ID = 32

/**
 * What the broker says to publishers for itself: a greeting on each new connection, a beat every 2 s, and answers to
 * pings. By these they know a lost connection, which the subscriptions alone do not show.
 */
export class Pulse {
  readonly #xsub: XSubscriber
  readonly #publishers: () => number
  readonly #beat: ReturnType<typeof setInterval>
  #pings: string[] = []

  /** @param publishers how many are connected */
  constructor(xsub: XSubscriber, publishers: () => number) {
    this.#xsub = xsub
    this.#publishers = publishers
    this.#say(`\x01${BROKER_TOPIC}`)
    this.#beat = setInterval(() => this.#say(BEAT), BEAT_MS).unref()
  }

  /** Whether a message is a ping, which then is answered and not to be forwarded. */
  takes(parts: readonly Buffer[]): boolean {
    const [message] = parts
    // 0x21: "!"
    if (parts.length !== 1 || message === undefined || message[0] !== 0x21) return false
    if (message.length > PING_PREFIX.length + LONGEST_ID || !message.toString('latin1').startsWith(PING_PREFIX))
      return false
    if (this.#pings.length === 0) {
      setTimeout(() => this.#answer(), Math.max(GATHER_MS, this.#publishers() * GATHER_MS_PER_PUBLISHER))
    }
    this.#pings.push(message.toString('latin1', PING_PREFIX.length))
    return true
  }

  stop(): void {
    clearInterval(this.#beat)
    this.#answer()
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
