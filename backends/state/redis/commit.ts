import type { Commit } from '../state.ts'
import type { Connection } from './connection.ts'
import type { Outbox } from './outbox.ts'
import { LIFE_MS, type OwnedShard } from './owned.ts'
import { isPosition, positionAfter } from './position.ts'
import { COMMIT, WRITE_AHEAD } from './scripts.ts'
import { type WindowMeta, metaOf } from './windows.ts'

/** How long what was written ahead of a commit waits for it. */
const AHEAD_MS = 3_600_000
/** How often the life spans of values that are not written any more are set anew. */
const REFRESH_MS = 3_600_000

/**
 * Looks whether commits can be made one after another.
 *
 * @param isBounded whether a position must be one that was appended
 * @throws RangeError naming the first that cannot
 */
export function checkCommits(
  name: string,
  commits: readonly Commit[],
  ownedOf: (shard: number) => OwnedShard | undefined,
  isBounded: boolean,
): void {
  const ends = new Map<number, number>()
  for (const { shard, end, position } of commits) {
    const owned = ownedOf(shard)
    if (owned === undefined) continue
    const last = ends.get(shard) ?? owned.end
    if (end < last) {
      throw new RangeError(`state ${name}: shard ${shard} is committed up to ${last}, ${end} came after`)
    }
    ends.set(shard, end)
    if (end === last || position === undefined) continue
    if (isPosition(position, owned.through, isBounded ? owned.last : position)) continue
    throw new RangeError(
      `state ${name}: position ${position} of shard ${shard} is not between its committed one, ${owned.through}, and ` +
        `its last, ${owned.last}`,
    )
  }
}

/**
 * Commits one window of a shard: what is large is written first, under names that no other commit has, then one script makes
 * it count. Repeated, it finds what it did before. To be called in turn.
 */
export async function commitWindow(
  connection: Connection,
  owned: OwnedShard,
  outbox: Outbox,
  backends: readonly string[],
  commit: Commit,
): Promise<void> {
  const { shard, end, position, snapshot } = commit
  if (end <= owned.end) return
  const { keys } = owned
  const rollups = backends.length === 0 ? undefined : commit.outbox
  const names = { snapshot: keys.snapshot(end, owned.epoch), window: keys.window(end, owned.epoch) }
  const window: WindowMeta | undefined =
    rollups === undefined ? undefined : { bytes: rollups.length, key: names.window, pending: backends }
  let answer: readonly [state: Buffer, snapshots?: readonly Buffer[], window?: Buffer | null]
  do {
    const ahead: (readonly [string, Uint8Array])[] = [[names.snapshot, snapshot.bytes]]
    if (rollups !== undefined) ahead.push([names.window, rollups])
    for (const [key, bytes] of ahead) {
      if ((await owned.run(WRITE_AHEAD, [key], [asBuffer(bytes), AHEAD_MS])) === null) return
    }
    const reply = await owned.run(
      COMMIT,
      [
        keys.committed,
        keys.snapshots,
        keys.windows,
        keys.log,
        names.snapshot,
        names.window,
        ...(snapshot.kind === 'full' ? owned.snapshots : []),
      ],
      [
        end,
        position ?? '',
        position === undefined ? '' : positionAfter(position),
        snapshot.kind,
        window === undefined ? '' : metaOf(window),
      ],
    )
    if (reply === null) return
    answer = reply as unknown as typeof answer
  } while (String(answer[0]) === 'missing')
  // given up since: what its next owner does with the window is not told here
  if (owned.isLost) return
  owned.end = end
  if (position !== undefined) owned.through = position
  if (String(answer[0]) === 'done') {
    // by what it was called when it was done
    const [, snapshots = [], meta] = answer
    owned.snapshots = snapshots.map(String)
    if (meta instanceof Buffer) outbox.add({ shard, end, ...(JSON.parse(String(meta)) as WindowMeta) })
  } else {
    owned.snapshots = snapshot.kind === 'full' ? [names.snapshot] : [...owned.snapshots, names.snapshot]
    if (window !== undefined) outbox.add({ shard, end, ...window })
  }
  await refresh(connection, owned, outbox)
}

/** Snapshots and windows that stay are written once, and must outlive their life span. */
async function refresh(connection: Connection, owned: OwnedShard, outbox: Outbox): Promise<void> {
  const now = performance.now()
  if (now - owned.refreshedMs < REFRESH_MS) return
  for (const key of [...owned.snapshots, ...outbox.ofShard(owned.shard).map((window) => window.key)]) {
    await connection.send('PEXPIRE', key, LIFE_MS)
  }
  owned.refreshedMs = now
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
