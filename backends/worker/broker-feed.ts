import { sleep } from '../../client/sleep.ts'
import type { Appended, State } from '../state/state.ts'
import type { DeliveryLog } from './deliver.ts'
import type { Fed, Feed } from './feed.ts'
import { Inbox, type Received } from './inbox.ts'
import { Recent } from './recent.ts'
import { Source, type SourceOptions } from './source.ts'

/** Bytes of bundles appended to the log at once. */
const APPEND_BYTES = 4 << 20
/** How long, and up to how many bytes, arrivals are gathered: an append costs a state much the same, however many it takes. */
const GATHER_MS = 50
const GATHER_BYTES = 256 << 10

export interface BrokerFeedOptions extends Omit<SourceOptions, 'onBundle'> {
  readonly state: State
  readonly log: DeliveryLog
  /** Whether a state that fails is not to be tried any longer. */
  readonly givesUp: () => boolean
}

/** Takes what brokers forward, and appends it to the shards' logs before it hands it on. */
export class BrokerFeed implements Feed {
  readonly #options: BrokerFeedOptions
  readonly #inbox = new Inbox()
  readonly #source: Source
  readonly #taken = new Set<number>()
  // shards that are another worker's still
  readonly #expected = new Map<number, Recent>()

  constructor(options: BrokerFeedOptions) {
    this.#options = options
    this.#source = new Source({ ...options, onBundle: (received) => this.#take(received) })
  }

  get bytes(): number {
    return this.#inbox.bytes
  }

  get connections(): number {
    return this.#source.connections
  }

  get lastMs(): number {
    return this.#source.lastMs
  }

  start(shards: readonly number[], replay: boolean): Promise<void> {
    for (const shard of shards) this.#taken.add(shard)
    return this.#source.start(shards, replay)
  }

  expect(shards: readonly number[]): void {
    for (const shard of this.#expected.keys()) if (!shards.includes(shard)) this.remove(shard)
    for (const shard of shards) {
      if (this.#expected.has(shard)) continue
      this.#expected.set(shard, new Recent())
      this.#source.watch(shard)
    }
  }

  add(shard: number): void {
    for (const received of this.#expected.get(shard)?.take() ?? []) void this.#inbox.put(received)
    this.#expected.delete(shard)
    this.#taken.add(shard)
    this.#source.add(shard)
  }

  remove(shard: number): void {
    this.#expected.delete(shard)
    this.#taken.delete(shard)
    this.#source.remove(shard)
  }

  async next(timeoutMs: number): Promise<readonly Fed[]> {
    const deadline = performance.now() + timeoutMs
    await this.#inbox.wait(timeoutMs)
    const left = deadline - performance.now()
    if (this.#inbox.bytes > 0 && left > 0) await this.#inbox.wait(Math.min(left, GATHER_MS), GATHER_BYTES)
    return this.#fed(this.#inbox.take(APPEND_BYTES))
  }

  rest(shard: number): Promise<readonly Fed[]> {
    return this.#fed(this.#inbox.takeShard(shard))
  }

  wake(): void {
    this.#inbox.wake()
  }

  async clock(): Promise<(shard: number) => number> {
    const now = await this.#options.state.now()
    return () => now
  }

  /** With a commit its log was trimmed. */
  passed(): Promise<void> {
    return Promise.resolve()
  }

  askAgain(shard: number): void {
    this.#source.requestReplay(shard)
  }

  stop(): Promise<void> {
    const stopped = this.#source.stop()
    // where the log takes nothing, nobody would make room any more
    this.#inbox.close()
    return stopped
  }

  #take(received: Received): Promise<void> | undefined {
    const recent = this.#expected.get(received.shard)
    if (recent === undefined) return this.#inbox.put(received)
    recent.put(received)
    return undefined
  }

  async #fed(arrived: readonly Received[]): Promise<readonly Fed[]> {
    const received = arrived.filter((one) => this.#taken.has(one.shard))
    for (const one of arrived) {
      // what was lost may be this worker's again, and not be read to its end yet: appended now, nobody would merge it
      if (!this.#taken.has(one.shard)) this.#expected.get(one.shard)?.put(one)
    }
    if (received.length === 0) return []
    const appended = await this.#append(received)
    const fed: Fed[] = []
    received.forEach(({ shard, bundle }, index) => {
      const place = appended[index]
      if (place !== undefined) fed.push({ shard, bundle, ...place })
    })
    return fed
  }

  /** Appends, however often it takes: what was received is in nobody else's hands. */
  async #append(received: readonly Received[]): Promise<readonly (Appended | undefined)[]> {
    const { state, log, givesUp } = this.#options
    for (let pause = 100; ; pause = Math.min(pause * 2, 5_000)) {
      try {
        return await state.append(received)
      } catch (error) {
        if (givesUp()) throw error
        log.warn({ error: (error as Error).message }, 'cannot append to the log, will retry')
        await sleep(pause)
      }
    }
  }
}
