interface OfShard {
  readonly shard: number
}

export function groupByShard<T extends OfShard>(items: readonly T[]): Map<number, T[]> {
  const groups = new Map<number, T[]>()
  for (const item of items) {
    const group = groups.get(item.shard)
    if (group === undefined) groups.set(item.shard, [item])
    else group.push(item)
  }
  return groups
}

/**
 * Works through the items of each shard, shards side by side and to their ends: one whose slot of a Cluster moves right now
 * keeps none of the others from being done.
 *
 * @param work notes in `done` what it has done, as soon as it has
 * @returns what was done, and what failed first
 */
export async function eachShard<T extends OfShard, R>(
  items: readonly T[],
  work: (shard: number, own: readonly T[], done: R[]) => Promise<void>,
): Promise<{ readonly done: readonly R[]; readonly failure: Error | undefined }> {
  const done: R[] = []
  let failure: Error | undefined
  await Promise.all(
    Array.from(groupByShard(items), async ([shard, own]) => {
      try {
        await work(shard, own, done)
      } catch (error) {
        failure ??= error as Error
      }
    }),
  )
  return { done, failure }
}
