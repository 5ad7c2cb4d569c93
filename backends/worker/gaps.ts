import type { Shard } from './shard.ts'

/** How long frames may be missing before their publishers are asked for them. */
export const MISSING_MS = 1_000

/** Notices gaps that stay: a message was dropped on its way, and its publisher still has it for a while. */
export class Gaps {
  readonly #seen = new WeakMap<Shard, { missing: number; sinceMs: number }>()
  #lookedMs = 0

  /** Calls `ask` with each shard in which the same frames have been missing for a second; once for each gap. */
  look(shards: Iterable<Shard>, ask: (shard: number) => void): void {
    const now = performance.now()
    if (now - this.#lookedMs < MISSING_MS / 2) return
    this.#lookedMs = now
    for (const shard of shards) {
      const { missing } = shard
      const seen = this.#seen.get(shard)
      if (missing === 0 || seen === undefined || seen.missing !== missing) {
        if (missing !== seen?.missing) this.#seen.set(shard, { missing, sinceMs: now })
      } else if (now - seen.sinceMs > MISSING_MS) {
        seen.sinceMs = Number.POSITIVE_INFINITY
        ask(shard.shard)
      }
    }
  }
}
