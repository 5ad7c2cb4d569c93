/* oxlint-disable vitest/no-standalone-expect */
import fc from 'fast-check'
import { expect } from 'vitest'
import { REPLAY_MS, RETRY_MS, Ring, type RingOptions, type Taken } from '../../../client/transport/ring.ts'
import type { SealedFrame } from '../../../client/transport/transport.ts'
import { eachFrame } from '../../../client/wire/bundle.ts'
import { frameTopic, isOnlookers, replayTopic, shardTopic, watchTopic } from '../../../client/wire/topic.ts'

export type Step =
  | {
      readonly do: 'push'
      readonly shard: number
      readonly level: string
      readonly sizes: readonly number[]
      readonly promised: boolean
    }
  | { readonly do: 'take'; readonly times: number }
  | { readonly do: 'untake' }
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly prefix: string }
  | { readonly do: 'replay'; readonly shard: number }
  | { readonly do: 'disconnect' }
  | { readonly do: 'expire' }
  | { readonly do: 'wait'; readonly ms: number }

const SHARDS = [0, 1, 31]
const LEVELS = ['info', 'information', 'debug']
const PREFIXES = [
  '#',
  '',
  ...SHARDS.map(shardTopic),
  frameTopic(0, 'info'),
  frameTopic(1, 'debug'),
  '#0',
  watchTopic(1),
  'unlike',
  '!zibrato|1|',
]

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('push' as const),
      shard: fc.constantFrom(...SHARDS),
      level: fc.constantFrom(...LEVELS),
      sizes: fc.array(fc.integer({ min: 4, max: 60 }), { maxLength: 4 }),
      promised: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      times: fc.integer({ min: 1, max: 6 }),
    }),
  },
  fc.record({ do: fc.constant('untake' as const) }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('subscribe' as const, 'unsubscribe' as const),
      prefix: fc.constantFrom(...PREFIXES),
    }),
  },
  fc.record({ do: fc.constant('replay' as const), shard: fc.constantFrom(...SHARDS) }),
  fc.record({ do: fc.constant('disconnect' as const) }),
  fc.record({ do: fc.constant('expire' as const) }),
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 500, 6_000, REPLAY_MS, 100_000, RETRY_MS),
    }),
  },
)

/** What became of one frame, seen from outside. */
export interface Seen {
  readonly id: number
  readonly topic: string
  readonly shard: number
  readonly frame: SealedFrame
  sends: number
  sentMs: number
  /** May it go out although newer ones of its topic did? */
  again: boolean
  /** Must it go out once more before all is quiet? */
  owed: boolean
}

/** Plays steps to a ring and holds everything it does against what is promised. */
export class Player {
  readonly ring: Ring
  nowMs = 0
  readonly #seen = new Map<number, Seen>()
  readonly #newest = new Map<string, number>()
  readonly #subscriptions = new Set<string>()
  readonly #limit: number
  readonly #messageBytes: number
  readonly #refuse: boolean
  #last: Taken | undefined
  #sends = 0

  constructor(options: Omit<RingOptions, 'now'>) {
    this.ring = new Ring({ ...options, now: () => this.nowMs })
    this.#limit = options.waitingBytes ?? Infinity
    this.#messageBytes = options.messageBytes ?? 65_536
    this.#refuse = options.refuse ?? false
  }

  get seen(): Seen[] {
    return [...this.#seen.values()]
  }

  play(action: Step): void {
    switch (action.do) {
      case 'push':
        return this.#push(action)
      case 'take':
        for (let times = 0; times < action.times; times++) this.take()
        return
      case 'untake':
        return this.#untake()
      case 'subscribe':
        this.ring.subscribe(action.prefix)
        if (action.prefix === '' || action.prefix.startsWith('#')) this.#subscriptions.add(action.prefix)
        return
      case 'unsubscribe':
        this.ring.unsubscribe(action.prefix)
        this.#subscriptions.delete(action.prefix)
        return
      case 'replay':
        this.ring.subscribe(replayTopic(action.shard, 'f00'))
        return this.#owe(({ shard }) => shard === action.shard)
      case 'disconnect':
        this.ring.disconnect()
        this.#subscriptions.clear()
        return this.#owe(() => true)
      case 'expire':
        return this.ring.expire()
      case 'wait':
        this.nowMs += action.ms
    }
  }

  take(): boolean {
    const taken = this.ring.take()
    this.#last = taken
    if (taken === undefined) return false
    const subscribed = [...this.#subscriptions].filter((prefix) => taken.topic.startsWith(prefix))
    expect(subscribed.length).toBeGreaterThan(0)
    const frames = this.#framesOf(taken)
    expect(frames.length).toBe(taken.frames)
    expect(frames.length).toBeGreaterThan(0)
    // copies are for onlookers, where nobody takes the frames themselves
    expect(taken.shown).toBe(subscribed.every(isOnlookers))
    if (taken.shown) return true
    const size = frames.reduce((bytes, { frame }) => bytes + frame.bytes.length, 0)
    if (frames.length > 1) expect(size).toBeLessThanOrEqual(this.#messageBytes)
    for (const frame of frames) {
      expect(frame.topic).toBe(taken.topic)
      const newest = this.#newest.get(taken.topic) ?? -1
      if (frame.id <= newest) {
        // out of order is only what was asked for again: from the oldest of those on, in order again
        expect(frame.again).toBe(true)
      }
      this.#newest.set(taken.topic, frame.id)
      for (const other of this.seen) if (other.topic === frame.topic && other.id <= frame.id) other.again = false
      frame.sends++
      frame.sentMs = this.nowMs
      frame.owed = false
      this.#sends++
    }
    return true
  }

  check(): void {
    const stats = this.ring.stats()
    const first = this.seen.filter(({ sends }) => sends > 0).length
    const dropped = sum(stats.dropped)
    expect(stats.sent).toBe(first)
    expect(stats.replayed).toBe(this.#sends - first)
    // what never went out waits or was dropped; what did may wait once more
    const unsent = this.#seen.size - first - dropped
    expect(unsent).toBeGreaterThanOrEqual(0)
    expect(stats.waiting).toBeGreaterThanOrEqual(unsent)
    expect(stats.waiting + stats.unknown).toBeLessThanOrEqual(unsent + first)
    expect(this.ring.waiting).toBe(stats.waiting)
    if (this.#refuse) expect(stats.dropped['overflow']).toBeUndefined()
  }

  /** Lets everything out, after which nothing may be missing. */
  finish(): void {
    this.play({ do: 'subscribe', prefix: '#' })
    while (this.take());
    const stats = this.ring.stats()
    expect(stats.waiting).toBe(0)
    expect(stats.waitingBytes).toBe(0)
    expect(stats.sent + sum(stats.dropped)).toBe(this.#seen.size)
    expect(this.ring.pressing).toBe(0)
    expect(this.ring.ready).toBe(false)
  }

  #push({ shard, level, sizes, promised }: Extract<Step, { do: 'push' }>): void {
    const frames = sizes.map((size, index) => ({
      bytes: numbered(this.#seen.size + index, size),
      shard,
      level,
      seq: index,
      closedMs: this.nowMs,
    }))
    const before = this.ring.stats()
    const taken = this.ring.push(frames, promised)
    if (!taken) {
      expect(this.#refuse && !promised).toBe(true)
      expect(this.ring.stats()).toEqual(before)
      return
    }
    for (const frame of frames) {
      const id = this.#seen.size
      const topic = frameTopic(shard, level)
      this.#seen.set(id, { id, topic, shard, frame, sends: 0, sentMs: 0, again: false, owed: false })
    }
    // one bound for topics that somebody took once, one for the others
    if (!this.#refuse) expect(this.ring.stats().waitingBytes).toBeLessThanOrEqual(2 * this.#limit)
  }

  #untake(): void {
    if (this.#last === undefined) return
    this.ring.untake(this.#last)
    for (const frame of this.#last.shown ? [] : this.#framesOf(this.#last)) {
      frame.sends--
      frame.again = true
      frame.owed = true
      this.#sends--
    }
    this.#last = undefined
  }

  #framesOf({ bundle }: Taken): Seen[] {
    const frames: Seen[] = []
    eachFrame(bundle, (start) => {
      frames.push(this.#seen.get(new DataView(bundle.buffer, bundle.byteOffset).getUint32(start)) as Seen)
    })
    return frames
  }

  #owe(which: (frame: Seen) => boolean): void {
    this.#last = undefined
    for (const frame of this.seen) {
      if (frame.sends === 0 || this.nowMs - frame.sentMs >= REPLAY_MS || !which(frame)) continue
      frame.again = true
      frame.owed = true
    }
  }
}

function sum(record: Readonly<Record<string, number>>): number {
  return Object.values(record).reduce((left, right) => left + right, 0)
}

/** Bytes that say which frame they are. */
function numbered(id: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  new DataView(bytes.buffer).setUint32(0, id)
  return bytes
}
