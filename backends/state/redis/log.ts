import { READ } from '../../../gateway/journal/scripts.ts'
import type { Appended, LogEntry } from '../state.ts'
import type { Connection } from './connection.ts'
import type { OwnedShard } from './owned.ts'
import { timeOf } from './position.ts'
import { APPEND } from './scripts.ts'

/** Bytes read at once, so that neither end is held up for long; and entries read before it is looked how many bytes they are. */
const READ_BYTES = 1 << 20
const CHUNK = 8

/** Appends bundles to a shard's log in one step; undefined when the shard is lost. */
export async function appendTo(
  owned: OwnedShard,
  bundles: readonly Uint8Array[],
): Promise<readonly Appended[] | undefined> {
  // what was given may change before it is written
  const copies = bundles.map((bundle) => Buffer.from(bundle))
  const answer = await owned.inTurn(() => owned.run(APPEND, [owned.keys.log], copies))
  if (answer === null) return undefined
  const positions = (answer as readonly Buffer[]).map(String)
  owned.last = positions.at(-1) ?? owned.last
  return positions.map((position) => ({ position, timeMs: timeOf(position) }))
}

/** Reads a shard's log from behind one position up to another. */
export async function* readLog(
  connection: Connection,
  log: string,
  after: string,
  last: string,
): AsyncGenerator<LogEntry, void> {
  let from = after
  while (from !== last) {
    const [, , found] = (await connection.run(READ, [log], [READ_BYTES, CHUNK, from])) as [Buffer, number, Buffer[]]
    if (found.length === 0) return
    for (let at = 0; at < found.length && from !== last; at += 2) {
      from = String(found[at])
      yield { position: from, timeMs: timeOf(from), bundle: found[at + 1] as Buffer }
    }
  }
}
