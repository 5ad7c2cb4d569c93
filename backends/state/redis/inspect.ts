import { SHARDS } from '../../../client/wire/series.ts'
import { JournalKeys } from '../../../gateway/journal/keys.ts'
import type { Connection } from './connection.ts'
import { GroupKeys, type ShardKeys } from './keys.ts'
import { timeOf } from './position.ts'
import { NOW, type Script, script } from './scripts.ts'
import { readSettings } from './settings.ts'

/** A worker as it says of itself, and what of its group it has. */
export interface WorkerReport {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** When it was started by its own clock, ms since the epoch. */
  readonly startedMs: number
  /** How long ago it was last heard of, ms. */
  readonly heardMs: number
}

export interface ShardReport {
  readonly shard: number
  /** The worker that has it; undefined when nobody does, or its lease is over. */
  readonly owner: string | undefined
  readonly epoch: number
  /** How far the newest entry of its log is ahead of what was committed, ms; undefined where nothing ever came. */
  readonly lagMs: number | undefined
  /** Windows that wait for backends. */
  readonly outbox: { readonly windows: number; readonly bytes: number }
  /** When its last window was committed, ms since the epoch by the server's clock; undefined: none ever. */
  readonly committedMs: number | undefined
}

/** What Redis knows of a group at one time. */
export interface GroupReport {
  readonly group: string
  readonly settings: Readonly<Record<string, string>>
  /** The server's clock, ms since the epoch. */
  readonly nowMs: number
  readonly workers: readonly WorkerReport[]
  readonly shards: readonly ShardReport[]
}

/** Where a group of a journal is that has committed nothing. */
const NOWHERE = '0-0'

/** How long it is known of a shard that is forgotten that it is nobody's. */
const OWNER_LIFE_MS = 60_000

/** Key: workers. Answers the time (ms), and id and time of each worker. */
const WORKERS: Script = script(`${NOW}
return { tostring(now), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') }
`)

/**
 * Keys: a log and, of a journal, how far its groups are. Argument: group. Answers the first and the last position, or '', and
 * how far the group of a journal is, or ''.
 */
const LOG: Script = script(`
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local reached = KEYS[2] and redis.call('HGET', KEYS[2], ARGV[1])
return { first and first[1] or '', last and last[1] or '', reached or '' }
`)

/**
 * Keys: owner, committed, windows. Answers owner or '', epoch, the time (ms) of the last commit or '', the committed position
 * or '', number and bytes of windows.
 */
const SHARD: Script = script(`${NOW}
local held = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'until')
local committed = redis.call('HMGET', KEYS[2], 'committed', 'position')
local windows = redis.call('HVALS', KEYS[3])
local bytes = 0
for _, meta in ipairs(windows) do bytes = bytes + cjson.decode(meta).bytes end
local isHeld = held[1] and tonumber(held[3]) > now
return {
  isHeld and held[1] or '',
  held[2] or '0',
  committed[1] or '',
  committed[2] or '',
  tostring(#windows),
  tostring(bytes),
}
`)

/** Reads what Redis knows of a group, and changes nothing. */
export async function inspectGroup(connection: Connection, prefix: string, group: string): Promise<GroupReport> {
  const keys = new GroupKeys(prefix, group)
  const [answer, infos, settings] = await Promise.all([
    connection.run(WORKERS, [keys.workers], []),
    connection.send('HGETALL', keys.infos),
    connection.send('GET', keys.settings),
  ])
  const [now, scores] = answer as [Buffer, Buffer[]]
  const said = new Map(pairs(infos as Buffer[]))
  const nowMs = Number(now)
  const workers = pairs(scores).map(([id, score]): WorkerReport => {
    const { host = '', pid = 0, startedMs = 0 } = JSON.parse(said.get(id) ?? '{}') as Partial<WorkerReport>
    return { id, host, pid, startedMs, heardMs: Math.max(0, nowMs - Number(score)) }
  })
  const shared = readSettings(String(settings ?? '{}'))
  const journal = shared['journal'] === 'yes' ? new JournalKeys(prefix) : undefined
  const shards = await Promise.all(
    Array.from({ length: SHARDS }, (_, shard) => inspectShard(connection, keys.shard(shard), shard, group, journal)),
  )
  return { group, settings: shared, nowMs, workers, shards }
}

async function inspectShard(
  connection: Connection,
  keys: ShardKeys,
  shard: number,
  group: string,
  journal: JournalKeys | undefined,
): Promise<ShardReport> {
  const [answer, ends] = await Promise.all([
    connection.run(SHARD, [keys.owner, keys.committed, keys.windows], []),
    connection.run(LOG, journal === undefined ? [keys.log] : [journal.stream(shard), journal.groups(shard)], [group]),
  ])
  const [owner = '', epoch, committed, position, windows, bytes] = (answer as Buffer[]).map(String)
  const [first, last, reached] = (ends as Buffer[]).map(String)
  // what had no effect is let go of without a commit
  const from = journal === undefined ? position : reached
  return {
    shard,
    owner: owner || undefined,
    epoch: Number(epoch),
    // nothing committed yet: all there is
    lagMs: lagOf(from === NOWHERE ? first : from || first, last || (from === NOWHERE ? '' : from)),
    outbox: { windows: Number(windows), bytes: Number(bytes) },
    committedMs: committed ? Number(committed) : undefined,
  }
}

function lagOf(from: string | undefined, to: string | undefined): number | undefined {
  return from && to ? Math.max(0, timeOf(to) - timeOf(from)) : undefined
}

/** Names of the groups that workers were in, in order. */
export async function listGroups(connection: Connection, prefix: string): Promise<string[]> {
  const { groups } = new GroupKeys(prefix, '')
  return ((await connection.send('ZRANGE', groups, 0, -1)) as Buffer[]).map(String).sort()
}

/**
 * Removes all keys of a group: logs, snapshots, and windows that backends have not taken. What a worker of it that lives
 * holds in memory, it lets go of.
 */
export async function forgetGroup(connection: Connection, prefix: string, group: string): Promise<void> {
  const keys = new GroupKeys(prefix, group)
  for (let number = 0; number < SHARDS; number++) {
    const shard = keys.shard(number)
    // first the lease, so that nothing is added any more: who has it must see that it is nobody's, and the key end by itself
    await connection.send('HSET', shard.owner, 'owner', '', 'until', 0)
    await connection.send('PEXPIRE', shard.owner, OWNER_LIFE_MS)
    const snapshots = ((await connection.send('LRANGE', shard.snapshots, 0, -1)) as Buffer[]).map(String)
    const metas = ((await connection.send('HVALS', shard.windows)) as Buffer[]).map(String)
    const windows = metas.map((meta) => (JSON.parse(meta) as { key: string }).key)
    const { log, committed, attempts } = shard
    await connection.send('UNLINK', log, committed, shard.snapshots, shard.windows, attempts, ...snapshots, ...windows)
  }
  await connection.send('UNLINK', keys.workers, keys.infos, keys.settings)
  await connection.send('ZREM', keys.groups, group)
}

function pairs(flat: readonly Buffer[]): [string, string][] {
  const found: [string, string][] = []
  for (let at = 0; at + 1 < flat.length; at += 2) found.push([String(flat[at]), String(flat[at + 1])])
  return found
}
