import { frameTopic, isOnlookers, topicShard } from '../wire/topic.ts'
import type { Backlog, Outgoing } from './backlog.ts'
import { type Message, type Queue, closeMessage, emptyQueue, isWaiting } from './queue.ts'
import type { SealedFrame, TransportStats } from './transport.ts'

/** How long a sent frame can be asked for again, ms. */
export const REPLAY_MS = 15_000

/** How long after closing a frame its sender goes on retrying, ms. */
export const RETRY_MS = 300_000

/** Prefixes remembered after nobody subscribes to them any more. */
const PREFIXES = 1_000

export interface RingOptions {
  /** Bytes of waiting frames, of topics that somebody took once. Default 16 MB. */
  readonly waitingBytes?: number
  /** Bytes of sent frames kept for replay. Default 16 MB. */
  readonly sentBytes?: number
  /** Bytes of frames gathered into one message, at the most. Default 64 kB. */
  readonly messageBytes?: number
  /** Whether to refuse new frames at the bound (a gateway: its clients retry) instead of dropping the oldest. Default false. */
  readonly refuse?: boolean
  /** ms since some fixed point; must not go back. */
  readonly now: () => number
  /** Called once, when sent frames had to go before 15 s were over. */
  readonly onShortHorizon?: (horizonMs: number) => void
}

/** What the ring hands out to be sent. */
export interface Taken extends Outgoing {
  readonly topic: string
  readonly bundle: Uint8Array
  /** How many it holds. */
  readonly frames: number
  /** @internal */
  readonly message: Message
  /** @internal */
  readonly queue: Queue
  /** @internal Whether this is a copy for onlookers, and the message waits on. */
  readonly shown: boolean
}

/** How long frames are gathered into one message that nobody takes. */
const OPEN_MS = 1_000

/**
 * What a publisher on ZeroMQ remembers. Per topic a frame is *waiting* until it went out on a live connection to a
 * subscribed topic, then *sent* and kept 15 s, so that a worker that comes (back) can ask for it once more; a lost
 * connection makes the last 15 s waiting again.
 *
 * ```text
 *            take            15 s over
 *  waiting --------> sent --------------> gone
 *     ^  ^            |  replay, disconnect
 *     |  '------------'
 *    push
 * ```
 *
 * Pure state: no clock, socket or timer of its own.
 */
export class Ring implements Backlog {
  readonly unit = 'frames'
  readonly #queues = new Map<string, Queue>()
  readonly #ready = new Set<Queue>()
  readonly #subscriptions = new Set<string>()
  readonly #onlookers = new Set<string>()
  // with frames that onlookers could see
  readonly #unshown = new Set<Queue>()
  // also those of workers that are away
  readonly #everSubscribed = new Set<string>()
  readonly #options: Required<Omit<RingOptions, 'onShortHorizon'>> & Pick<RingOptions, 'onShortHorizon'>
  #waiting = 0
  // of topics that somebody took once, and of those that nobody ever did
  #pressing = 0
  #pressureBytes = 0
  #idleBytes = 0
  #sentBytes = 0
  #sent = 0
  #replayed = 0
  #unknown = 0
  readonly #dropped: Record<string, number> = {}
  #horizonReported = false

  constructor(options: RingOptions) {
    this.#options = { waitingBytes: 16 << 20, sentBytes: 16 << 20, messageBytes: 1 << 16, refuse: false, ...options }
  }

  /** Whether {@link push} would refuse or drop, but for the size of what is pushed. */
  get full(): boolean {
    return this.#pressureBytes >= this.#options.waitingBytes
  }

  /** Whether anybody takes anything. */
  get subscribed(): boolean {
    return this.#subscriptions.size > 0
  }

  /** Whether something waits that could go out now. */
  get ready(): boolean {
    return this.#ready.size > 0 || this.#unshown.size > 0
  }

  /** Frames waiting on topics that somebody took once: what a drain waits for. */
  get pressing(): number {
    return this.#pressing
  }

  /** All frames waiting. */
  get waiting(): number {
    return this.#waiting
  }

  /**
   * Takes frames; false, and none taken, only when made to refuse.
   *
   * @param promised whether they hold what was already acknowledged: these are never refused
   */
  push(frames: readonly SealedFrame[], promised = false): boolean {
    const { refuse, waitingBytes } = this.#options
    if (refuse && !promised && this.#pressureBytes > 0) {
      const size = frames.reduce((bytes, frame) => bytes + frame.bytes.length, 0)
      if (this.#pressureBytes + size > waitingBytes) return false
    }
    const now = this.#options.now()
    for (const frame of frames) this.#push(frame, now)
    if (!refuse) this.#dropOldest(true)
    this.#dropOldest(false)
    return true
  }

  /** The next message, marked as sent; undefined when nothing can go out. Topics take turns. */
  take(): Taken | undefined {
    const [queue] = this.#ready
    if (queue === undefined) return this.#show()
    const message = queue.waiting.shift() ?? closeMessage(queue)
    this.#count(queue, message, -1)
    if (message.attempts++ === 0) this.#sent += message.frames
    else this.#replayed += message.frames
    message.sentMs = this.#options.now()
    message.shown = true
    this.#sentBytes += message.bytes
    queue.sent.push(message)
    this.#ready.delete(queue)
    if (isWaiting(queue)) this.#ready.add(queue)
    this.#boundSent(message.sentMs)
    return taken(queue, message, false)
  }

  /** Takes back what a socket refused; it goes out next. */
  untake({ message, queue, shown }: Taken): void {
    if (shown) {
      message.shown = false
      this.#unshown.add(queue)
      return
    }
    // it may be gone from there already, if sent messages take more than their bytes
    if (queue.sent.remove(message)) this.#sentBytes -= message.bytes
    if (--message.attempts === 0) this.#sent -= message.frames
    else this.#replayed -= message.frames
    this.#wait(queue, [message])
  }

  subscribe(prefix: string): void {
    if (prefix.startsWith('?')) {
      this.#replay(topicShard(prefix))
      return
    }
    if (!prefix.startsWith('#') && prefix !== '') return
    if (isOnlookers(prefix)) {
      this.#onlookers.add(prefix)
      for (const queue of this.#queues.values()) if (queue.topic.startsWith(prefix)) this.#unshown.add(queue)
      return
    }
    this.#subscriptions.add(prefix)
    this.#everSubscribed.add(prefix)
    const [oldest = prefix] = this.#everSubscribed
    if (this.#everSubscribed.size > PREFIXES) this.#everSubscribed.delete(oldest)
    for (const queue of this.#queues.values()) if (queue.topic.startsWith(prefix)) this.#open(queue)
  }

  unsubscribe(prefix: string): void {
    if (this.#onlookers.delete(prefix)) {
      for (const queue of this.#unshown) if (!matches(this.#onlookers, queue.topic)) this.#unshown.delete(queue)
    }
    if (!this.#subscriptions.delete(prefix)) return
    for (const queue of this.#queues.values()) {
      if (!queue.subscribed || matches(this.#subscriptions, queue.topic)) continue
      queue.subscribed = false
      this.#ready.delete(queue)
    }
  }

  /** The connection is gone: nobody is subscribed, and what was sent within 15 s may be lost. */
  disconnect(): void {
    this.#subscriptions.clear()
    this.#onlookers.clear()
    this.#unshown.clear()
    this.#ready.clear()
    for (const queue of this.#queues.values()) queue.subscribed = false
    this.resend()
  }

  /** What was sent within 15 s may be lost, to whoever is subscribed: it waits again. */
  resend(): void {
    for (const queue of this.#queues.values()) this.#unsend(queue)
  }

  /** Lets go of what is too old. Call it every second or so. */
  expire(): void {
    const now = this.#options.now()
    for (const queue of this.#queues.values()) {
      this.#forgetSent(queue, now)
      this.#expireWaiting(queue, now)
      if (isWaiting(queue)) continue
      this.#ready.delete(queue)
      // levels can be many; which of them somebody took is known by their prefixes
      if (queue.sent.length === 0) this.#queues.delete(queue.topic)
    }
  }

  /** Gives up what waits; `heard` when publishers could be told who takes what. */
  abandon(heard: boolean): void {
    for (const queue of this.#queues.values()) {
      while (isWaiting(queue)) this.#giveUp(queue, heard && !queue.everSubscribed ? 'unsubscribed' : 'closed')
    }
    this.#ready.clear()
    this.#unshown.clear()
  }

  stats(): TransportStats {
    return {
      sent: this.#sent,
      replayed: this.#replayed,
      waiting: this.#waiting,
      waitingBytes: this.#pressureBytes + this.#idleBytes,
      unknown: this.#unknown,
      dropped: { ...this.#dropped },
    }
  }

  #push(frame: SealedFrame, now: number): void {
    const queue = this.#queue(frame)
    const size = frame.bytes.length
    if (queue.open.length === 0) queue.openedMs = now
    else if (queue.openBytes + size > this.#options.messageBytes || now - queue.openedMs >= OPEN_MS) {
      queue.waiting.push(closeMessage(queue))
      queue.openedMs = now
    }
    queue.open.push(frame.bytes)
    queue.openBytes += size
    this.#count(queue, { frames: 1, bytes: size }, 1)
    if (queue.subscribed) this.#ready.add(queue)
    else if (this.#onlookers.size > 0 && matches(this.#onlookers, queue.topic)) this.#unshown.add(queue)
  }

  /** A copy of a message that nobody takes yet, for onlookers. */
  #show(): Taken | undefined {
    for (const queue of this.#unshown) {
      if (queue.open.length > 0) queue.waiting.push(closeMessage(queue))
      const message = queue.subscribed ? undefined : [...queue.waiting].find(({ shown }) => !shown)
      if (message === undefined) {
        this.#unshown.delete(queue)
        continue
      }
      message.shown = true
      return taken(queue, message, true)
    }
    return undefined
  }

  #expireWaiting(queue: Queue, now: number): void {
    // what went out before stands before what never did, so the first is always the first to expire
    while (isWaiting(queue)) {
      const { attempts, queuedMs } = queue.waiting.first ?? { attempts: 0, queuedMs: queue.openedMs }
      const retriedOut = attempts > 0 && now - queuedMs >= RETRY_MS
      if (!retriedOut && (queue.everSubscribed || now - queuedMs < REPLAY_MS)) return
      this.#giveUp(queue, 'unsubscribed')
    }
  }

  /** Drops the oldest message that waits. */
  #giveUp(queue: Queue, reason: string): void {
    const message = queue.waiting.shift() ?? closeMessage(queue)
    this.#count(queue, message, -1)
    if (!isWaiting(queue)) this.#ready.delete(queue)
    // one that went out may have arrived
    if (message.attempts > 0) this.#unknown += message.frames
    else this.#dropped[reason] = (this.#dropped[reason] ?? 0) + message.frames
  }

  #queue({ shard, level }: SealedFrame): Queue {
    const topic = frameTopic(shard, level)
    let queue = this.#queues.get(topic)
    if (queue === undefined) {
      const subscribed = matches(this.#subscriptions, topic)
      queue = emptyQueue(topic, shard, subscribed, subscribed || matches(this.#everSubscribed, topic))
      this.#queues.set(topic, queue)
    }
    return queue
  }

  #open(queue: Queue): void {
    queue.subscribed = true
    if (!queue.everSubscribed) {
      const waiting = [...queue.waiting, { frames: queue.open.length, bytes: queue.openBytes }]
      for (const each of waiting) this.#count(queue, each, -1)
      queue.everSubscribed = true
      for (const each of waiting) this.#count(queue, each, 1)
    }
    if (isWaiting(queue)) this.#ready.add(queue)
  }

  #count(queue: Queue, { frames, bytes }: Pick<Message, 'frames' | 'bytes'>, sign: 1 | -1): void {
    this.#waiting += sign * frames
    if (queue.everSubscribed) {
      this.#pressing += sign * frames
      this.#pressureBytes += sign * bytes
    } else {
      this.#idleBytes += sign * bytes
    }
  }

  #replay(shard: number): void {
    for (const queue of this.#queues.values()) if (queue.shard === shard) this.#unsend(queue)
  }

  /** Makes sent messages waiting again, before those that wait. */
  #unsend(queue: Queue): void {
    this.#forgetSent(queue, this.#options.now())
    const back = queue.sent.clear()
    for (const { bytes } of back) this.#sentBytes -= bytes
    this.#wait(queue, back)
  }

  #wait(queue: Queue, messages: readonly Message[]): void {
    if (messages.length === 0) return
    // an empty one may have been let go of while its message was out
    if (!this.#queues.has(queue.topic)) this.#queues.set(queue.topic, queue)
    for (const message of messages) this.#count(queue, message, 1)
    queue.waiting.prepend(messages)
    if (queue.subscribed) this.#ready.add(queue)
  }

  #forgetSent(queue: Queue, now: number): void {
    while (queue.sent.first !== undefined && now - queue.sent.first.sentMs >= REPLAY_MS) {
      this.#sentBytes -= (queue.sent.shift() as Message).bytes
    }
  }

  #boundSent(now: number): void {
    while (this.#sentBytes > this.#options.sentBytes) {
      const oldest = this.#oldest((queue) => queue.sent.first?.sentMs)
      const message = oldest?.sent.shift()
      if (message === undefined) return
      this.#sentBytes -= message.bytes
      if (this.#horizonReported || now - message.sentMs >= REPLAY_MS) continue
      this.#horizonReported = true
      this.#options.onShortHorizon?.(now - message.sentMs)
    }
  }

  #dropOldest(everSubscribed: boolean): void {
    while ((everSubscribed ? this.#pressureBytes : this.#idleBytes) > this.#options.waitingBytes) {
      const oldest = this.#oldest((queue) =>
        queue.everSubscribed === everSubscribed && isWaiting(queue)
          ? (queue.waiting.first?.queuedMs ?? queue.openedMs)
          : undefined,
      )
      if (oldest === undefined) return
      this.#giveUp(oldest, everSubscribed ? 'overflow' : 'unsubscribed')
    }
  }

  #oldest(age: (queue: Queue) => number | undefined): Queue | undefined {
    let found: Queue | undefined
    let least = Number.POSITIVE_INFINITY
    for (const queue of this.#queues.values()) {
      const at = age(queue)
      if (at === undefined || at >= least) continue
      found = queue
      least = at
    }
    return found
  }
}

function taken(queue: Queue, message: Message, shown: boolean): Taken {
  const { topic } = queue
  const { bundle, frames } = message
  return { parts: [topic, bundle], topic, bundle, frames, message, queue, shown }
}

function matches(prefixes: ReadonlySet<string>, topic: string): boolean {
  for (const prefix of prefixes) if (topic.startsWith(prefix)) return true
  return false
}
