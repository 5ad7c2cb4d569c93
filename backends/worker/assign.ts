import { utf8 } from '../../client/wire/bytes.ts'
import { hashKey } from '../../client/wire/hash.ts'

/**
 * Which of `shards` shards each worker is to have: rendezvous hashing (Thaler, Ravishankar: "Using name-based mappings to
 * increase hit rates", 1998) with bounded loads: between any two workers one shard of difference at the most. Everyone who knows the same workers
 * comes to the same answer, and a worker that comes or goes moves few shards besides its own.
 */
export function assign(workers: readonly string[], shards: number): ReadonlyMap<string, readonly number[]> {
  const names = [...new Set(workers)].sort()
  const least = Math.floor(shards / names.length)
  // as many as may have one more
  let rich = shards % names.length
  const pairs = names.flatMap((worker) =>
    Array.from({ length: shards }, (_, shard) => ({ worker, shard, weight: weightOf(worker, shard) })),
  )
  // equal weights are told apart too, so that the answer depends on nothing else
  pairs.sort((a, b) => b.weight - a.weight || a.shard - b.shard || (a.worker < b.worker ? -1 : 1))
  const taken = new Set<number>()
  const assigned = new Map<string, number[]>(names.map((worker) => [worker, []]))
  for (const { worker, shard } of pairs) {
    const own = assigned.get(worker) as number[]
    if (taken.has(shard) || own.length > least || (own.length === least && rich === 0)) continue
    if (own.length === least) rich--
    taken.add(shard)
    own.push(shard)
  }
  return assigned
}

/** A number that is the same for the same worker and shard, and as good as random for others. */
function weightOf(worker: string, shard: number): number {
  return hashKey(utf8(`${worker}\0${shard}`))
}
