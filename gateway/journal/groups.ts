import { SHARDS } from '../../client/wire/series.ts'
import { JournalKeys } from './keys.ts'
import { FORGET } from './scripts.ts'
import type { JournalReply, JournalServer } from './server.ts'

type Server = Pick<JournalServer, 'send' | 'run'>

/** What a group has not committed yet, over all shards. */
export interface Holding {
  readonly group: string
  /** Entries of the shards in which no other group is further behind: what is kept because of this one. */
  readonly entries: number
  /** When the oldest entry came that it has not committed, ms by the server's clock; undefined when there is none. */
  readonly sinceMs: number | undefined
}

export interface Holdings {
  /** All entries, and about how many bytes they take. */
  readonly entries: number
  readonly bytes: number
  readonly oldestMs: number | undefined
  readonly groups: readonly Holding[]
}

const ALL_SHARDS = Array.from({ length: SHARDS }, (_, shard) => shard)

/**
 * How much of the journal each group of workers has not committed yet. Reads every shard, so ask for it every minute or so.
 *
 * @param prefix begins every key; that of the workers' state
 */
export async function journalHoldings(server: Server, prefix?: string): Promise<Holdings> {
  const keys = new JournalKeys(prefix)
  const shards = await Promise.all(ALL_SHARDS.map((shard) => shardHoldings(server, keys, shard)))
  const groups = new Map<string, { entries: number; sinceMs: number | undefined }>()
  for (const { held } of shards) {
    for (const [group, own] of held) {
      const all = groups.get(group)
      if (all === undefined) groups.set(group, { ...own })
      else {
        all.entries += own.entries
        all.sinceMs = least(all.sinceMs, own.sinceMs)
      }
    }
  }
  return {
    entries: shards.reduce((sum, { entries }) => sum + entries, 0),
    bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
    oldestMs: shards.reduce<number | undefined>((oldest, shard) => least(oldest, shard.oldestMs), undefined),
    groups: Array.from(groups, ([group, own]) => ({ group, ...own })),
  }
}

/**
 * Has a group read the journal no more, so that it is kept for the others only.
 *
 * @param prefix begins every key; that of the workers' state
 * @returns whether it was a group of the journal's
 */
export async function forgetJournalGroup(server: Server, group: string, prefix?: string): Promise<boolean> {
  const keys = new JournalKeys(prefix)
  const was = await Promise.all(
    ALL_SHARDS.map((shard) => server.run(FORGET, [keys.stream(shard), keys.groups(shard)], [group])),
  )
  return was.some((answer) => answer === 1)
}

/** What an operator should know of groups that keep the journal from being trimmed; undefined when there is nothing. */
export function complaint(
  { entries, bytes, oldestMs, groups }: Holdings,
  nowMs: number,
  afterMs: number,
): string | undefined {
  if (entries === 0 || oldestMs === undefined || nowMs - oldestMs < afterMs) return undefined
  const size = `${entries} entries, about ${Math.ceil(bytes / (1 << 20))} MB,`
  if (groups.length === 0) return `${size} wait for a group of workers, and there is none; start one with --journal`
  const slow = groups.filter(({ sinceMs }) => sinceMs !== undefined && nowMs - sinceMs >= afterMs)
  const names = slow.map(
    ({ group, entries: own, sinceMs = nowMs }) =>
      `${group} (${own} entries, ${Math.round((nowMs - sinceMs) / 1000)} s)`,
  )
  return `${size} wait for ${names.join(', ')}; start workers of the group, or "zibrato groups forget NAME" if it is no more`
}

interface ShardHoldings {
  readonly entries: number
  readonly bytes: number
  readonly oldestMs: number | undefined
  readonly held: ReadonlyMap<string, { readonly entries: number; readonly sinceMs: number | undefined }>
}

async function shardHoldings(server: Server, keys: JournalKeys, shard: number): Promise<ShardHoldings> {
  const stream = keys.stream(shard)
  const [length, usage, pairs] = await Promise.all([
    server.send('XLEN', stream),
    server.send('MEMORY', 'USAGE', stream),
    server.send('HGETALL', keys.groups(shard)),
  ])
  const entries = Number(length)
  const texts = listOf(pairs).map(text)
  const first = entries === 0 ? undefined : idOf(await server.send('XRANGE', stream, '-', '+', 'COUNT', 1))
  const held = new Map<string, { entries: number; sinceMs: number | undefined }>()
  for (let index = 0; index + 1 < texts.length; index += 2) {
    const [group = '', position = ''] = texts.slice(index)
    const next = idOf(await server.send('XRANGE', stream, `(${position}`, '+', 'COUNT', 1))
    held.set(group, { entries: next !== undefined && next === first ? entries : 0, sinceMs: timeOf(next) })
  }
  return { entries, bytes: entries === 0 ? 0 : Number(usage ?? 0), oldestMs: timeOf(first), held }
}

/** The id of the first entry of a range. */
function idOf(range: JournalReply): string | undefined {
  const first = listOf(range)[0]
  return first === undefined ? undefined : text(listOf(first)[0] ?? null)
}

function timeOf(id: string | undefined): number | undefined {
  return id === undefined ? undefined : Number.parseInt(id, 10)
}

function listOf(reply: JournalReply): readonly JournalReply[] {
  return Array.isArray(reply) ? (reply as readonly JournalReply[]) : []
}

function text(reply: JournalReply): string {
  return reply instanceof Uint8Array ? Buffer.from(reply).toString() : String(reply)
}

function least(left: number | undefined, right: number | undefined): number | undefined {
  if (left === undefined || right === undefined) return left ?? right
  return Math.min(left, right)
}
