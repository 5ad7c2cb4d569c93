import { BEAT_MS, BROKER_TOPIC, JOURNAL_PREFIX, PING_PREFIX, PONG_PREFIX } from '../wire/topic.ts'
import type { Backlog } from './backlog.ts'

/** A broker that says nothing for this long is taken for dead, well before sent frames are forgotten. */
const SILENCE_MS = 3 * BEAT_MS
/** How long an answer to a ping is waited for before asking again. */
const ASK_AGAIN_MS = 500

const SUBSCRIBE = 1

/**
 * Whether a publisher's connection lives, from what comes in on it:
 *
 * - a greeting (the broker's own subscription) begins each new connection: what was sent last is sent again, to those
 *   whose subscriptions follow;
 * - a beat every 2 s: without one for 6 s nothing is sent, until there is one again;
 * - the answer to a ping: the broker has everything that was sent before.
 *
 * Of a broker that never greets (not this package's) none of this is expected; a repeated subscription is all that shows
 * that it was away.
 */
export class Liveness {
  readonly #backlog: Backlog
  readonly #now: () => number
  readonly #random: () => number
  #greeted = false
  #silent = false
  #connectedAt = 0
  #heardAt = 0
  readonly #taken = new Set<string>()
  // what was sent and is not confirmed; the ping that will confirm it, and when it was last asked
  #unconfirmed = false
  #asked: string | undefined
  #askedAt = 0
  #journal: string | undefined

  constructor(backlog: Backlog, now: () => number = () => performance.now(), random: () => number = Math.random) {
    this.#backlog = backlog
    this.#now = now
    this.#random = random
  }

  get connected(): boolean {
    return this.#greeted ? !this.#silent : this.#backlog.subscribed
  }

  /** Which journal the broker writes, as it says itself; undefined: none, or not said yet. */
  get journal(): string | undefined {
    return this.#journal
  }

  /** Whether a broker that used to beat has stopped. */
  get silent(): boolean {
    return this.#silent
  }

  /** Age of the connection. */
  get connectedMs(): number {
    return this.#connectedAt === 0 ? 0 : this.#now() - this.#connectedAt
  }

  /** Whether the broker is known to have all that was sent, or cannot be asked. */
  get confirmed(): boolean {
    return !this.#unconfirmed || !this.#greeted
  }

  /** Takes note that a message went out. */
  sent(): void {
    this.#unconfirmed = true
    // an earlier ping does not cover it
    this.#asked = undefined
  }

  /** A message for the broker to answer, or undefined when none is due. */
  ping(): string | undefined {
    const now = this.#now()
    if (this.confirmed || this.#silent || (this.#asked !== undefined && now - this.#askedAt < ASK_AGAIN_MS))
      return undefined
    this.#asked ??= Math.floor(this.#random() * 2 ** 48).toString(36)
    this.#askedAt = now
    return PING_PREFIX + this.#asked
  }

  /** Takes a message that came in: a subscription, its end, or what the broker says. */
  hear(first: number, message: string): void {
    if (first > SUBSCRIBE) this.#hearBroker(message)
    else if (first === SUBSCRIBE) this.#subscribe(message.slice(1))
    else if (message.startsWith(JOURNAL_PREFIX, 1)) {
      if (this.#journal === message.slice(1 + JOURNAL_PREFIX.length)) this.#journal = undefined
    } else {
      this.#taken.delete(message.slice(1))
      this.#backlog.unsubscribe(message.slice(1))
    }
  }

  /** Call it now and then, after all that came in was heard. */
  check(): void {
    if (!this.#greeted || this.#silent || this.#now() - this.#heardAt < SILENCE_MS) return
    this.#silent = true
    this.#asked = undefined
    this.#backlog.resend()
  }

  #hearBroker(message: string): void {
    this.#alive()
    if (this.#asked === undefined || !message.startsWith(PONG_PREFIX)) return
    if (!message.slice(PONG_PREFIX.length).split(',').includes(this.#asked)) return
    this.#unconfirmed = false
    this.#asked = undefined
  }

  #subscribe(topic: string): void {
    if (topic === BROKER_TOPIC) {
      this.#alive()
      this.#greeted = true
      this.#connectedAt = this.#now()
      this.#asked = undefined
      this.#journal = undefined
      this.#taken.clear()
      this.#backlog.disconnect()
      return
    }
    if (topic.startsWith(JOURNAL_PREFIX)) {
      this.#alive()
      this.#journal = topic.slice(JOURNAL_PREFIX.length)
      return
    }
    if (this.#connectedAt === 0) this.#connectedAt = this.#now()
    if (this.#greeted) this.#alive()
    // a foreign broker may have been away; it may also just have a second subscriber, which the filter sorts out
    else if (this.#taken.has(topic)) this.#backlog.resend()
    if (!topic.startsWith('?')) this.#taken.add(topic)
    this.#backlog.subscribe(topic)
  }

  #alive(): void {
    this.#heardAt = this.#now()
    this.#silent = false
  }
}
