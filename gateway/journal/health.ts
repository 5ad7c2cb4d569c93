import { JournalError } from './error.ts'

/** Part of `maxmemory` beyond which nothing new is taken: workers need the rest to commit, which empties the journal. */
const FULL = 0.9

export interface NodeMemory {
  readonly usedBytes: number
  /** 0: no bound. */
  readonly maxBytes: number
}

/** What the memory of a master comes to, by its INFO. */
export function memoryOf(info: ReadonlyMap<string, string>): NodeMemory {
  return { usedBytes: Number(info.get('used_memory') ?? 0), maxBytes: Number(info.get('maxmemory') ?? 0) }
}

/** Why masters that say this of themselves cannot keep a journal now; undefined when they can. */
export function judge(infos: readonly ReadonlyMap<string, string>[]): JournalError | undefined {
  if (infos.length === 0) return new JournalError('unreachable', 'the journal has no server now')
  for (const info of infos) {
    if (info.get('role') === 'slave') return new JournalError('refused', 'the journal is on a read-only replica')
    const policy = info.get('maxmemory_policy') ?? 'noeviction'
    const { usedBytes, maxBytes } = memoryOf(info)
    if (maxBytes > 0 && policy !== 'noeviction') {
      return new JournalError(
        'refused',
        `the journal's Redis may evict keys (${policy}); set maxmemory-policy noeviction`,
      )
    }
    if (maxBytes > 0 && usedBytes > maxBytes * FULL) {
      const percent = Math.round((usedBytes / maxBytes) * 100)
      return new JournalError('full', `the journal is full (${percent} % of its Redis)`)
    }
  }
  return undefined
}
