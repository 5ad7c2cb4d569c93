import type { Commit, Position } from '../state.ts'
import type { Connection } from './connection.ts'
import type { Outbox, Waiting } from './outbox.ts'
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

/** A commit that Redis has made; it counts once replicas have it, where that is asked for. */
export interface Committed {
  readonly owned: OwnedShard
  readonly end: number
  readonly position: Position | undefined
  /** What waits for backends since. */
  readonly window: Waiting | undefined
}

/**
 * Commits one window of a shard: what is large is written first, under names that no other commit has, then one script makes
 * it count. Repeated, it finds what it did before, or does it again where a master that took over does not have it. To be
 * called in turn.
 *
 * @returns undefined when the shard is lost, or what is in memory of it stale
 */
export async function commitWindow(
  connection: Connection,
  owned: OwnedShard,
  outbox: Outbox,
  backends: readonly string[],
  commit: Commit,
): Promise<Committed | undefined> {
  const { shard, end, position, snapshot } = commit
  const { keys } = owned
  const rollups = backends.length === 0 ? undefined : commit.outbox
  const names = { snapshot: keys.snapshot(end, owned.epoch), window: keys.window(end, owned.epoch) }
  const meta: WindowMeta | undefined =
    rollups === undefined ? undefined : { bytes: rollups.length, key: names.window, pending: backends }
  let answer: readonly [state: Buffer, snapshots?: readonly Buffer[], window?: Buffer | null, position?: Buffer | null]
  do {
    const ahead: (readonly [string, Uint8Array])[] = [[names.snapshot, snapshot.bytes]]
    if (rollups !== undefined) ahead.push([names.window, rollups])
    for (const [key, bytes] of ahead) {
      if ((await owned.run(WRITE_AHEAD, [key], [asBuffer(bytes), AHEAD_MS])) === null) return undefined
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
        meta === undefined ? '' : metaOf(meta),
      ],
      true,
    )
    if (reply === null) return undefined
    answer = reply as unknown as typeof answer
  } while (String(answer[0]) === 'missing')
  // given up since: what its next owner does with the window is not told here
  if (owned.isLost) return undefined
  const [state, snapshots = [], held, reached] = answer
  if (String(state) === 'done') {
    // by what it was called when it was done
    owned.snapshots = snapshots.map(String)
    const window = held instanceof Buffer ? { shard, end, ...(JSON.parse(String(held)) as WindowMeta) } : undefined
    return { owned, end, position: reached instanceof Buffer ? String(reached) : undefined, window }
  }
  owned.snapshots = snapshot.kind === 'full' ? [names.snapshot] : [...owned.snapshots, names.snapshot]
  await refresh(connection, owned, outbox)
  return { owned, end, position, window: meta === undefined ? undefined : { shard, end, ...meta } }
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
