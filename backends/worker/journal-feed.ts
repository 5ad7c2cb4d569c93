import type { JournalLog, JournalRead } from '../state/journal.ts'
import type { Position } from '../state/state.ts'
import type { DeliveryLog } from './deliver.ts'
import type { Fed, Feed } from './feed.ts'

/** How often the journal is read while something comes, and how rarely when nothing did; a window's end is read up to at once. */
const POLL_MS = 50
const LONGEST_POLL_MS = 500
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 1_000
const WARNING_MS = 10_000

export interface JournalFeedOptions {
  readonly journal: JournalLog
  readonly log: DeliveryLog
  /** Whether a journal that fails is not to be tried any longer. */
  readonly givesUp: () => boolean
}

/** Hands on what gateways and brokers wrote to the journal, which is the log of all groups. */
export class JournalFeed implements Feed {
  readonly bytes = 0
  lastMs = 0
  readonly #options: JournalFeedOptions
  readonly #shards = new Set<number>()
  readonly #readUntil = new Map<number, number>()
  // what is to be said, and what was
  readonly #passed = new Map<number, Position>()
  readonly #told = new Map<number, Position>()
  #isConnected = false
  #isBehind = false
  #readMs = Number.NEGATIVE_INFINITY
  #pollMs = POLL_MS
  // after a failure
  #pauseMs = 0
  #isStopped = false
  #isWoken = false
  #wake: (() => void) | undefined
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor(options: JournalFeedOptions) {
    this.#options = options
  }

  /** 1 while the journal is read. */
  get connections(): number {
    return this.#isConnected ? 1 : 0
  }

  async start(shards: readonly number[]): Promise<void> {
    for (const shard of shards) this.add(shard)
  }

  /** Whatever comes is in the journal. */
  expect(): void {}

  add(shard: number): void {
    this.#shards.add(shard)
    // none of it is handed on yet
    this.#readUntil.delete(shard)
    this.wake()
  }

  remove(shard: number): void {
    this.#shards.delete(shard)
    this.#readUntil.delete(shard)
    this.#passed.delete(shard)
    this.#told.delete(shard)
  }

  /** What was not handed on the next owner reads. */
  rest(): Promise<readonly Fed[]> {
    return Promise.resolve([])
  }

  async next(timeoutMs: number): Promise<readonly Fed[]> {
    // a server that failed is not asked sooner because a window ends
    const dueMs = this.#pauseMs > 0 ? this.#pauseMs : this.#isBehind ? 0 : Math.min(timeoutMs, this.#pollMs)
    await this.#sleep(dueMs - (performance.now() - this.#readMs))
    const isDue = this.#pauseMs === 0 || performance.now() - this.#readMs >= this.#pauseMs
    if (this.#isStopped || !isDue) return []
    return this.#read()
  }

  wake(): void {
    this.#isWoken = true
    this.#wake?.()
  }

  clock(): Promise<(shard: number) => number> {
    return Promise.resolve((shard) => this.#readUntil.get(shard) ?? 0)
  }

  async passed(positions: ReadonlyMap<number, Position>): Promise<void> {
    for (const [shard, position] of positions) {
      if (this.#told.get(shard) !== position) this.#passed.set(shard, position)
    }
    if (this.#passed.size === 0) return
    const saying = new Map(this.#passed)
    try {
      await this.#options.journal.release(saying)
      for (const [shard, position] of saying) {
        this.#passed.delete(shard)
        this.#told.set(shard, position)
      }
    } catch (error) {
      // the journal is kept for longer than it need be, until the next window
      this.#warn(error, 'cannot say what of the journal is committed, will retry')
    }
  }

  /** All there is was read: what is missing was not journaled, and so was not acknowledged. */
  askAgain(): void {}

  stop(): Promise<void> {
    this.#isStopped = true
    this.wake()
    return Promise.resolve()
  }

  async #read(): Promise<Fed[]> {
    const shards = [...this.#shards]
    if (shards.length === 0) {
      this.#readMs = performance.now()
      // of none there is more to be read: whoever asked again and again without a pause would have nothing else happen
      this.#isBehind = false
      return []
    }
    let reads: readonly JournalRead[] = []
    try {
      reads = await this.#options.journal.read(shards)
      this.#isConnected = true
      this.#pauseMs = 0
    } catch (error) {
      if (this.#options.givesUp()) throw error
      this.#warn(error, 'cannot read the journal, will retry')
      this.#isConnected = false
      this.#pauseMs = Math.min(Math.max(FIRST_PAUSE_MS, this.#pauseMs * 2), LONGEST_PAUSE_MS)
    }
    this.#readMs = performance.now()
    const fed: Fed[] = []
    this.#isBehind = false
    for (const { shard, entries, readUntilMs } of reads) {
      // lost meanwhile
      if (!this.#shards.has(shard)) continue
      for (const entry of entries) fed.push({ shard, ...entry })
      if (readUntilMs === undefined) this.#isBehind = true
      else this.#readUntil.set(shard, readUntilMs)
    }
    if (fed.length > 0) this.lastMs = this.#readMs
    this.#pollMs = fed.length > 0 ? POLL_MS : Math.min(this.#pollMs * 2, LONGEST_POLL_MS)
    return fed
  }

  async #sleep(ms: number): Promise<void> {
    if (ms > 0 && !this.#isWoken && !this.#isStopped) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    this.#isWoken = false
  }

  #warn(error: unknown, message: string): void {
    const now = performance.now()
    if (now - this.#warnedMs < WARNING_MS) return
    this.#warnedMs = now
    this.#options.log.warn({ error: (error as Error).message }, message)
  }
}
