import type { LogEntry, Position } from './state.ts'

/** What was read of one shard. */
export interface JournalRead {
  readonly shard: number
  /** In order; possibly none. */
  readonly entries: readonly LogEntry[]
  /**
   * What is not in `entries`, nor was read before, is not older than this, ms by the clock of the journal's node; undefined where
   * more is there to be read.
   */
  readonly readUntilMs: number | undefined
}

/** The log that gateways and brokers write and all groups share, as one group sees it: what it has not committed yet. */
export interface JournalLog {
  /**
   * Reads on in these shards, each from where it was read to before, at first from behind what is committed.
   *
   * @throws when none of them can be read; one that alone cannot is left out
   */
  read(shards: readonly number[]): Promise<readonly JournalRead[]>

  /** Says up to where this group needs nothing any more: all of it is committed, or of no consequence. */
  release(positions: ReadonlyMap<number, Position>): Promise<void>
}
