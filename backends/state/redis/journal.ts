import { JournalKeys } from '../../../gateway/journal/keys.ts'
import { READ, RELEASE } from '../../../gateway/journal/scripts.ts'
import type { JournalLog, JournalRead } from '../journal.ts'
import type { Position } from '../state.ts'
import type { Connection } from './connection.ts'
import { timeOf } from './position.ts'

export interface RedisJournalOptions {
  readonly connection: () => Connection
  readonly prefix: string
  readonly group: () => string
  /** Whether all shards are on one node, so that one script can read them. */
  readonly isTogether: boolean
}

/** Bytes read at once: they take their time in the server, which does nothing else meanwhile. */
const READ_BYTES = 4 << 20
/** Entries that the script reads before it looks how many bytes they are. */
const CHUNK = 32

/** The journal in Redis: a stream for each shard. */
export class RedisJournal implements JournalLog {
  readonly #options: RedisJournalOptions
  readonly #keys: JournalKeys
  // the last entry read of each shard
  readonly #cursors = new Map<number, Position>()

  constructor(options: RedisJournalOptions) {
    this.#options = options
    this.#keys = new JournalKeys(options.prefix)
  }

  /**
   * Has the group read a shard from behind a position on. One that is new to the journal, with nothing committed, reads from the
   * oldest entry kept, and from then on what it has not committed is kept for it.
   */
  async enter(shard: number, committed: Position): Promise<void> {
    await this.release(new Map([[shard, committed]]))
    this.#cursors.set(shard, committed)
  }

  async read(shards: readonly number[]): Promise<readonly JournalRead[]> {
    // those that are furthest behind first, so that windows end about together
    const ordered = shards.toSorted((left, right) => timeOf(this.#cursor(left)) - timeOf(this.#cursor(right)))
    if (this.#options.isTogether) return this.#read(ordered)
    const outcomes = await Promise.allSettled(ordered.map((shard) => this.#read([shard])))
    const failure = outcomes.find((outcome) => outcome.status === 'rejected')
    const reads = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []))
    if (reads.length === 0 && failure !== undefined) throw failure.reason as Error
    return reads
  }

  async release(positions: ReadonlyMap<number, Position>): Promise<void> {
    const connection = this.#options.connection()
    const group = this.#options.group()
    await Promise.all(
      Array.from(positions, ([shard, position]) =>
        connection.run(RELEASE, [this.#keys.stream(shard), this.#keys.groups(shard)], [group, position]),
      ),
    )
  }

  #cursor(shard: number): Position {
    return this.#cursors.get(shard) ?? '0-0'
  }

  async #read(shards: readonly number[]): Promise<JournalRead[]> {
    const cursors = shards.map((shard) => this.#cursor(shard))
    const answer = (await this.#options.connection().run(
      READ,
      shards.map((shard) => this.#keys.stream(shard)),
      [READ_BYTES, CHUNK, ...cursors],
    )) as readonly (Buffer | number | readonly Buffer[])[]
    const nowMs = Number(String(answer[0]))
    return shards.map((shard, index) => {
      const isAtEnd = answer[index * 2 + 1] === 1
      const found = answer[index * 2 + 2] as readonly Buffer[]
      const entries = Array.from({ length: found.length / 2 }, (_, at) => {
        const position = String(found[at * 2])
        return { position, timeMs: timeOf(position), bundle: found[at * 2 + 1] as Buffer }
      })
      const last = entries.at(-1)?.position
      if (last !== undefined) this.#cursors.set(shard, last)
      return { shard, entries, readUntilMs: isAtEnd ? nowMs : undefined }
    })
  }
}
