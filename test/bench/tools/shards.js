import { SHARDS, Scratch, Shard } from './internals.js'

/** A worker's shards, with a window open. @param {number} [timeMs] */
export function openShards(timeMs = Date.now()) {
  const scratch = new Scratch()
  return Array.from({ length: SHARDS }, (_, number) => {
    const shard = new Shard({ shard: number, intervalMs: 10_000, maxSeries: 1_000_000, idle: 'skip', scratch })
    shard.open(timeMs)
    return shard
  })
}

/** @param {readonly Shard[]} shards @param {import('./frames.js').Frames} frames @param {number} timeMs */
export function mergeAll(shards, frames, timeMs) {
  for (const { shard, bundle } of frames.bundles) shards[shard].merge(bundle, '1', timeMs)
}

/** @param {readonly Shard[]} shards @param {number} frames as many must have been merged */
export function checkMerged(shards, frames) {
  const merged = shards.reduce((sum, { figures }) => sum + figures.merged, 0)
  if (merged !== frames) throw new Error(`bench: ${merged} of ${frames} frames were merged`)
}
