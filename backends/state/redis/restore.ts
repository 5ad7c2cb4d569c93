import type { Connection } from './connection.ts'
import type { OwnedShard } from './owned.ts'

/** What a shard's last owner left, as far as it is read at once. */
export interface Left {
  readonly snapshots: readonly Buffer[]
  /** Of the hash of windows: names and values in turn. */
  readonly windows: readonly string[]
  /** Names in the hash of attempts. */
  readonly attempts: readonly string[]
}

/**
 * Reads where a shard stands, which its new owner takes over.
 *
 * @throws Error, with the shard given up, when a snapshot is missing
 */
export async function readShard(connection: Connection, owned: OwnedShard): Promise<Left> {
  const { keys } = owned
  const [committed, names, newest, windows, attempts] = (await Promise.all([
    connection.send('HMGET', keys.committed, 'end', 'position'),
    connection.send('LRANGE', keys.snapshots, 0, -1),
    connection.send('XREVRANGE', keys.log, '+', '-', 'COUNT', 1),
    connection.send('HGETALL', keys.windows),
    connection.send('HKEYS', keys.attempts),
  ])) as [(Buffer | null)[], Buffer[], [Buffer, Buffer[]][], Buffer[], Buffer[]]
  owned.end = Number(committed[0] ?? 0)
  owned.through = String(committed[1] ?? '0-0')
  owned.last = newest[0] === undefined ? owned.through : String(newest[0][0])
  owned.snapshots = names.map(String)
  const snapshots = names.length === 0 ? [] : ((await connection.send('MGET', ...owned.snapshots)) as (Buffer | null)[])
  const missing = snapshots.indexOf(null)
  if (missing >= 0) {
    await owned.giveUp()
    throw new Error(
      `state ${connection.name}: ${owned.snapshots[missing]} is gone (was it removed?); bring it back from a backup, or ` +
        `have totals and rates of shard ${owned.shard} begin anew with: DEL ${keys.snapshots}`,
    )
  }
  return { snapshots: snapshots as Buffer[], windows: windows.map(String), attempts: attempts.map(String) }
}
