import type { Rollup } from '../../../backends/backend.ts'
import type { Commit } from '../../../backends/state/state.ts'
import { DEFAULT_PERCENTILES, decodeWindow } from '../../../backends/worker/rollup.ts'
import { Shard, type ShardOptions } from '../../../backends/worker/shard.ts'
import { encodeBundle } from '../../../client/wire/bundle.ts'

export const SHARD = 5
/** A multiple of every window length in use. */
export const T0 = 1_700_000_040_000

export interface OwnedWindow {
  readonly start: number
  readonly end: number
  readonly rollups: Rollup[]
}

/** What a worker does with one shard, with a hand-turned clock and a log and snapshots in memory. */
export class Owner {
  shard: Shard
  nowMs: number = T0
  readonly commits: Commit[] = []
  readonly #options: ShardOptions
  #snapshots: Uint8Array[] = []
  #committedEnd = 0
  #committed = 0
  readonly #log: { bundle: Uint8Array; timeMs: number }[] = []

  constructor(options: Partial<ShardOptions> = {}) {
    this.#options = { shard: SHARD, intervalMs: 10_000, maxSeries: 1_000_000, idle: 'skip', ...options }
    this.shard = new Shard(this.#options)
    this.shard.open(this.nowMs)
  }

  /** Kinds of the snapshots committed. */
  get kinds(): string[] {
    return this.commits.map(({ snapshot }) => snapshot.kind)
  }

  /** Frames in one bundle. */
  take(...frames: readonly Uint8Array[]): void {
    this.takeBundle(encodeBundle(frames))
  }

  takeBundle(bundle: Uint8Array): void {
    if (this.nowMs >= this.shard.end) this.#roll()
    this.#log.push({ bundle, timeMs: this.nowMs })
    this.shard.merge(bundle, String(this.#log.length), this.nowMs)
  }

  /** Lets time pass; windows end on the way. */
  pass(ms: number): void {
    this.nowMs += ms
    if (this.nowMs >= this.shard.end) this.#roll()
  }

  /** Commits the window at hand, as a worker that stops does. */
  commit(): void {
    if (!this.shard.dirty) return
    const commit = this.shard.close()
    this.commits.push(commit)
    if (commit.snapshot.kind === 'full') this.#snapshots = []
    this.#snapshots.push(commit.snapshot.bytes)
    this.#committedEnd = commit.end
    this.#committed = Number(commit.position ?? this.#committed)
  }

  /** What the next owner makes of snapshots and log. */
  restored(options: Partial<ShardOptions> = {}): Owner {
    const next = new Owner({ ...this.#options, ...options })
    next.nowMs = this.nowMs
    next.#snapshots = [...this.#snapshots]
    next.#committedEnd = this.#committedEnd
    next.#committed = this.#committed
    next.#log.push(...this.#log)
    next.shard = new Shard({ ...this.#options, ...options })
    next.shard.restore(this.#snapshots, this.#committedEnd)
    for (let index = this.#committed; index < this.#log.length; index++) {
      const { bundle, timeMs } = this.#log[index] as { bundle: Uint8Array; timeMs: number }
      if (next.shard.end === 0) next.shard.open(timeMs)
      if (timeMs >= next.shard.end) {
        next.commit()
        if (timeMs >= next.shard.end) next.shard.open(timeMs)
      }
      next.shard.merge(bundle, String(index + 1), timeMs)
    }
    if (next.shard.end === 0) next.shard.open(next.nowMs)
    if (next.nowMs >= next.shard.end) next.#roll()
    return next
  }

  /** Windows committed from the given one on, those without rollups left out; sorted by series. */
  async windows(from = 0): Promise<OwnedWindow[]> {
    const windows: OwnedWindow[] = []
    for (const { outbox } of this.commits.slice(from)) {
      if (outbox === undefined) continue
      const { start, end, rollups } = await decodeWindow(outbox, DEFAULT_PERCENTILES)
      windows.push({ start, end, rollups: rollups.sort(bySeries) })
    }
    return windows
  }

  /** The newest committed window's rollups. */
  async last(): Promise<Rollup[]> {
    return (await this.windows(this.commits.length - 1))[0]?.rollups ?? []
  }

  #roll(): void {
    this.commit()
    if (this.nowMs >= this.shard.end) this.shard.open(this.nowMs)
  }
}

export function seriesOf({ type, name, source, tags }: Pick<Rollup, 'type' | 'name' | 'source' | 'tags'>): string {
  return JSON.stringify([type, name, source, Object.entries(tags)])
}

function bySeries(left: Rollup, right: Rollup): number {
  return seriesOf(left) < seriesOf(right) ? -1 : 1
}

/** Rollups without what they were computed from, to be compared. */
export function plain(windows: readonly OwnedWindow[]): object[] {
  return windows.map(({ start, end, rollups }) => ({
    start,
    end,
    rollups: rollups.map((rollup) => ({
      ...rollup,
      tags: { ...rollup.tags },
      distribution: undefined,
      members: undefined,
    })),
  }))
}
