import { pacer, paced } from '../../client/pace.ts'
import { sleep } from '../../client/sleep.ts'
import type { SharedState } from '../state/shared.ts'
import type { Restored, State } from '../state/state.ts'
import type { Delivery, DeliveryLog } from './deliver.ts'
import type { Fed, Feed } from './feed.ts'
import { addFigures } from './figures.ts'
import { within } from './patience.ts'
import type { Shard, ShardFigures } from './shard.ts'
import type { ShardFactory } from './shard-factory.ts'
import type { Turns } from './turns.ts'

/** How long frames of a shard are still heard that is given up and not another's yet. */
const HEARD_MS = 1_000

export interface HoldingsOptions {
  readonly state: State
  /** The state, when others share it. */
  readonly shared: SharedState | undefined
  readonly factory: ShardFactory
  readonly feed: Feed
  readonly turns: Turns
  readonly deliveries: readonly Delivery[]
  readonly log: DeliveryLog
  /** Merges what came last of a shard. */
  readonly merge: (entries: readonly Fed[]) => Promise<void>
  /** Commits the window at hand of a shard, and those after it up to a time. */
  readonly commit: (shard: Shard, timeMs: number) => Promise<void>
  /** Told when shards are another worker's or nobody's, and this one may want them. */
  readonly onFreed: () => void
}

/** The shards that are a worker's: how they come to it and leave it. */
export class Holdings {
  readonly #options: HoldingsOptions
  readonly #shards = new Map<number, Shard>()
  // lost since they were last asked for
  readonly #lost = new Set<number>()
  // to be acquired anew once backends have answered for what they have in hand
  readonly #stale = new Set<number>()
  // acquired, and not yet the loop's
  readonly #restoring = new Map<number, Shard>()
  readonly #gone: ShardFigures = { merged: 0, replays: 0, invalid: 0, refused: 0, overflowed: 0 }

  constructor(options: HoldingsOptions) {
    this.#options = options
    const { shared } = options
    if (shared === undefined) return
    shared.onLost = (shards) => this.#lose(shards)
    shared.onReset = (shards) => {
      for (const shard of shards) (this.#shards.get(shard) ?? this.#restoring.get(shard))?.commitAll()
    }
    shared.onStale = (shards) => {
      for (const shard of shards) void this.#reread(shard)
    }
  }

  get size(): number {
    return this.#shards.size
  }

  get(number: number): Shard | undefined {
    return this.#shards.get(number)
  }

  numbers(): number[] {
    return [...this.#shards.keys()]
  }

  shards(): Shard[] {
    return [...this.#shards.values()]
  }

  /** Whether a shard is still the one that was acquired last: one that was lost, or is read anew, is not committed any more. */
  isCurrent(shard: Shard): boolean {
    return this.#shards.get(shard.shard) === shard || this.#restoring.get(shard.shard) === shard
  }

  /** What became of frames, those of shards that are another worker's by now included. */
  figures(): ShardFigures {
    const figures = { ...this.#gone }
    for (const shard of this.#shards.values()) addFigures(figures, shard.figures)
    return figures
  }

  /** Takes a shard before the worker receives anything; where no others share the state. */
  async open(number: number): Promise<void> {
    const shard = await this.#acquire(number)
    this.#restoring.delete(number)
    if (shard !== undefined) this.#shards.set(number, shard)
  }

  /**
   * Takes over a shard that may be another worker's; the loop goes on with it from its next round on.
   *
   * @returns false when it is another's still
   */
  async take(number: number): Promise<boolean> {
    if (this.#stale.has(number)) return false
    let isTaken = false
    try {
      const shard = await this.#acquire(number)
      isTaken = shard !== undefined && (await this.#options.turns.take(async () => this.#add(shard)))
    } finally {
      this.#restoring.delete(number)
      // what turned stale meanwhile is this worker's still, and may by now be wanted by another
      if (!isTaken) await this.#letGo([number])
    }
    return isTaken
  }

  /**
   * Lets another worker have a shard: its window at hand goes on there, from the log. Until backends have answered for the
   * windows of it that they have in hand, all goes on here.
   *
   * @param overlapMs how long the next owner may need until it receives what comes of the shard
   */
  async handOver(number: number, overlapMs: number): Promise<void> {
    const { feed, turns, merge } = this.#options
    await Promise.all([sleep(overlapMs), this.#withhold(number)])
    await turns.take(async () => {
      await merge(await feed.rest(number))
      this.#forget(number)
    })
    const given = this.#letGo([number])
    // the next owner has kept what came in the last seconds before it took over, and no more
    await within(HEARD_MS, given)
    feed.remove(number)
    await given
  }

  /** Forgets what is in memory of a shard, while its frames still go to its log: whoever has it next goes on from there. */
  abandon(number: number): void {
    this.#lost.add(number)
    this.#restoring.delete(number)
    this.#forget(number)
  }

  /** Gives all shards up, once backends have answered for what they have in hand of them. */
  async giveUp(): Promise<void> {
    const numbers = this.numbers()
    await Promise.all(numbers.map((number) => this.#withhold(number)))
    await this.#letGo(numbers)
  }

  /** Makes a shard of what its last owner left; undefined when it is another worker's. */
  async #acquire(number: number): Promise<Shard | undefined> {
    this.#lost.delete(number)
    const restored = await this.#options.state.acquire(number)
    if (restored === undefined) return undefined
    const shard = this.#options.factory.create(number)
    this.#restoring.set(number, shard)
    await this.#restore(shard, restored)
    // to restore a large one takes its time
    return this.#lost.has(number) ? undefined : shard
  }

  async #restore(shard: Shard, { snapshots, end, entries }: Restored): Promise<void> {
    const { state, shared, commit } = this.#options
    await paced(shard.restoring(snapshots, end))
    const breathe = pacer()
    for await (const { bundle, position, timeMs } of entries) {
      if (shard.end === 0) shard.open(timeMs)
      if (timeMs >= shard.end) await commit(shard, timeMs)
      shard.merge(bundle, position, timeMs)
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    // a journal is read on from here: its first entry says which window it is
    if (shard.end === 0 && shared?.journal === undefined) shard.open(await state.now())
  }

  /** False when it was lost meanwhile. */
  #add(shard: Shard): boolean {
    const { feed, deliveries } = this.#options
    const { shard: number } = shard
    if (this.#lost.has(number)) return false
    this.#shards.set(number, shard)
    feed.add(number)
    for (const delivery of deliveries) delivery.add(number)
    return true
  }

  /** Shards that are another worker's: nothing of them is written or flushed here any more. */
  #lose(numbers: readonly number[]): void {
    const { deliveries, log, onFreed } = this.#options
    for (const number of numbers) this.#lost.add(number)
    const held = numbers.filter((number) => this.#drop(number))
    for (const delivery of deliveries) delivery.lost()
    onFreed()
    if (held.length > 0) log.warn({ shards: held }, 'another worker has these shards: let go of them')
  }

  /** Has a shard go on from what the state has of it, which is not all that is in memory, or more. */
  async #reread(number: number): Promise<void> {
    // one that is being restored is begun again
    this.#lost.add(number)
    if (!this.#drop(number)) return
    this.#stale.add(number)
    await this.#withhold(number)
    await this.#letGo([number])
    this.#stale.delete(number)
    this.#options.onFreed()
  }

  /** Resolves once no backend has windows of a shard in hand; none gets one any more. */
  async #withhold(number: number): Promise<void> {
    await Promise.all(this.#options.deliveries.map((delivery) => delivery.withhold(number)))
  }

  /** Has others take shards at once; where that fails they can when the lease is over, and nothing is lost. */
  async #letGo(numbers: readonly number[]): Promise<void> {
    const { shared, log } = this.#options
    try {
      await shared?.giveUp(numbers)
    } catch (error) {
      log.warn({ shards: numbers, error: (error as Error).message }, 'cannot give shards up: their leases have to end')
    }
  }

  /** Answers whether it was held. */
  #drop(number: number): boolean {
    if (!this.#shards.has(number)) return false
    this.#options.feed.remove(number)
    this.#forget(number)
    return true
  }

  #forget(number: number): void {
    const shard = this.#shards.get(number)
    if (shard !== undefined) addFigures(this.#gone, shard.figures)
    this.#shards.delete(number)
  }
}
