import { UsageError } from '../../client/errors.ts'
import { sleep } from '../../client/sleep.ts'
import { SHARDS } from '../../client/wire/series.ts'
import type { SharedState } from '../state/shared.ts'
import { assign } from './assign.ts'
import type { DeliveryLog } from './deliver.ts'

/** Beats per lease: a worker may miss most of them before it counts as gone. */
const BEATS_PER_LEASE = 10
/** Between two beats at the most, as others learn by them who came and went. */
const LONGEST_BEAT_MS = 400
/** How soon a shard that another worker still has is asked for again. */
const ASK_AGAIN_MS = 50
/** Shards taken at a time, as large ones take memory while they are restored. */
const TAKEN_AT_ONCE = 8
/** How soon one that could not be taken or handed over is tried again. */
const RETRY_MS = 2_000

export interface OwnershipOptions {
  readonly state: Pick<SharedState, 'id' | 'leaseMs' | 'beat' | 'leave'>
  readonly log: DeliveryLog
  /** The shards that this worker has. */
  readonly held: () => Iterable<number>
  /** Told which shards this worker is to have and has not. */
  readonly expect: (shards: readonly number[]) => void
  /** Takes a shard over; false while it is another worker's. */
  readonly take: (shard: number) => Promise<boolean>
  /** Gives a shard up, so that another worker can take it. */
  readonly handOver: (shard: number) => Promise<void>
}

/** Sees to it that this worker has its share of a group's shards: no more when others come, all when it is alone. */
export class Ownership {
  readonly #options: OwnershipOptions
  #running: Promise<void> | undefined
  #timer: ReturnType<typeof setInterval> | undefined
  #beating = false
  #failing = false
  #live: readonly string[] = []
  // of the last beat that was answered
  #heardMs = 0
  // until when those count as living who did before
  #trustMs = 0
  // since when those who did are not named any more
  #missedMs: ReadonlyMap<string, number> = new Map()
  readonly #handingOver = new Set<number>()
  // those that failed, and when they are tried again
  readonly #later = new Map<number, number>()
  #stopping = false
  #leaving = false
  // of those that leave
  #isLast = false
  // whether it could not say that it goes
  #isUnsaid = false
  #woken = false
  #wake: (() => void) | undefined
  #joined: (() => void)[] = []

  constructor(options: OwnershipOptions) {
    this.#options = options
  }

  /** Other workers of the group that live. */
  get others(): number {
    return this.#live.filter((id) => id !== this.#options.state.id).length
  }

  /** How long it takes others to see that this worker comes or goes, ms. */
  get beatMs(): number {
    return Math.min(this.#options.state.leaseMs / BEATS_PER_LEASE, LONGEST_BEAT_MS)
  }

  /**
   * Resolves once this worker has said that it lives, however often that takes; shards come from then on.
   *
   * @throws UsageError when its settings are not those of others that live
   */
  async start(): Promise<void> {
    this.#live = await this.#firstBeat()
    this.#heardMs = performance.now()
    this.#timer = setInterval(() => void this.#beat(), this.beatMs)
    this.#running = this.#run()
  }

  /** Tries no longer to start, if it has not. */
  giveUpStart(): void {
    if (this.#running === undefined) this.#stopping = true
  }

  /** Looks anew at what is held and what is wanted, as a shard was lost. */
  look(): void {
    this.#woken = true
    this.#wake?.()
  }

  /** Takes and hands over nothing more, once what is under way is done; leases are kept. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.look()
    await this.#running
  }

  /**
   * Says that this worker goes. Answers whether others are there to go on; if not, it takes what others have left until it is
   * stopped. Leases are kept.
   */
  async leave(): Promise<boolean> {
    const { state, log } = this.#options
    if (this.#running === undefined) return false
    this.#leaving = true
    try {
      const others = await state.leave()
      this.#isLast = others.length === 0
      this.#know(others)
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'cannot say that it goes: it is said once more at the end')
      this.#isUnsaid = true
      this.#isLast = this.others === 0
    }
    return !this.#isLast
  }

  /** Resolves once another worker lives. */
  async joined(): Promise<void> {
    if (this.others === 0) await new Promise<void>((resolve) => this.#joined.push(resolve))
  }

  /** Renews no leases any more, and says once more that it goes, where that failed: else others learn of it by its lease. */
  async end(): Promise<void> {
    clearInterval(this.#timer)
    if (this.#isUnsaid) await this.#options.state.leave().catch(() => {})
  }

  async #firstBeat(): Promise<readonly string[]> {
    const { state, log } = this.#options
    for (;;) {
      try {
        return await state.beat()
      } catch (error) {
        if (error instanceof UsageError || this.#stopping) throw error
        log.warn({ error: (error as Error).message }, 'cannot say that it lives, will retry')
        await sleep(this.beatMs)
      }
    }
  }

  async #beat(): Promise<void> {
    // one that is not answered need not be followed by others
    if (this.#beating) return
    this.#beating = true
    const { state, log } = this.#options
    try {
      this.#hear(await state.beat())
      if (this.#failing) log.info({}, 'the state is reached again')
      this.#failing = false
      this.look()
    } catch (error) {
      if (!this.#failing) log.warn({ error: (error as Error).message }, 'cannot renew its leases, will retry')
      this.#failing = true
    } finally {
      this.#beating = false
    }
  }

  #hear(live: readonly string[]): void {
    const { leaseMs } = this.#options.state
    const now = performance.now()
    // Who was not answered for long cannot tell whether others are gone or were not answered either. Were their shards taken
    // at once, what these hold and could not append would be lost.
    if (now - this.#heardMs > leaseMs / 2) this.#trustMs = now + leaseMs
    this.#heardMs = now
    const missed = this.#live.filter((id) => !live.includes(id))
    this.#missedMs = new Map(missed.map((id) => [id, this.#missedMs.get(id) ?? now]))
    // each but once: where every answer takes long, the dead would live on
    const trusted = missed.filter((id) => now - (this.#missedMs.get(id) ?? now) < leaseMs)
    this.#know(now < this.#trustMs && !this.#leaving ? [...live, ...trusted] : live)
  }

  #know(live: readonly string[]): void {
    // when nobody else is there, nobody else takes what is left
    const known = this.#isLast && live.length === 0 ? [this.#options.state.id] : live
    if (known.toSorted().join('\n') !== this.#live.toSorted().join('\n')) this.#live = known
    if (this.others > 0) for (const resolve of this.#joined.splice(0)) resolve()
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const isWaiting = this.#failing ? false : await this.#settle()
      await this.#sleep(isWaiting ? ASK_AGAIN_MS : undefined)
    }
  }

  /** Hands over what is not wanted, takes what is. Answers whether it is to be asked for again soon. */
  async #settle(): Promise<boolean> {
    // who goes hands over what it has as it sees fit
    if (this.#leaving && (!this.#isLast || this.others > 0)) return false
    const live = this.#live
    const wanted = new Set(assign(live, SHARDS).get(this.#options.state.id) ?? [])
    const held = new Set(this.#options.held())
    for (const shard of held) if (!wanted.has(shard)) this.#handOver(shard)
    this.#options.expect([...wanted].filter((shard) => !held.has(shard)))
    const due = [...wanted].filter((shard) => !held.has(shard) && !this.#handingOver.has(shard) && this.#isDue(shard))
    const taken: boolean[] = []
    // side by side, as to take one is to ask the state again and again; once others came or went it is looked at anew
    while (due.length > 0 && !this.#stopping && this.#live === live) {
      taken.push(...(await Promise.all(due.splice(0, TAKEN_AT_ONCE).map((shard) => this.#take(shard)))))
    }
    return taken.includes(false)
  }

  async #take(shard: number): Promise<boolean> {
    const { log, take } = this.#options
    try {
      return await take(shard)
    } catch (error) {
      log.warn({ shard, error: (error as Error).message }, 'cannot take a shard, will retry')
      this.#later.set(shard, performance.now() + RETRY_MS)
      return false
    }
  }

  /** Others need not wait for one whose windows a backend has in hand. */
  #handOver(shard: number): void {
    if (this.#handingOver.has(shard) || !this.#isDue(shard)) return
    const { log, handOver } = this.#options
    this.#handingOver.add(shard)
    handOver(shard)
      .catch((error: unknown) => {
        log.warn({ shard, error: (error as Error).message }, 'cannot hand a shard over, will retry')
        this.#later.set(shard, performance.now() + RETRY_MS)
      })
      .finally(() => {
        this.#handingOver.delete(shard)
        this.look()
      })
  }

  #isDue(shard: number): boolean {
    if ((this.#later.get(shard) ?? 0) > performance.now()) return false
    this.#later.delete(shard)
    return true
  }

  /** Sleeps until the next beat, or for less. */
  async #sleep(ms: number | undefined): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    if (!this.#stopping && !this.#woken) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        if (ms !== undefined) timer = setTimeout(resolve, ms)
      })
    }
    clearTimeout(timer)
    this.#wake = undefined
    this.#woken = false
  }
}
