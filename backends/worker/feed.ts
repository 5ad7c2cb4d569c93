import type { LogEntry, Position } from '../state/state.ts'

/** What a shard's log holds, to be merged. */
export interface Fed extends LogEntry {
  readonly shard: number
}

/** Where a worker's entries come from: brokers, by way of its own log, or the journal. */
export interface Feed {
  /** Bytes received that are not in a log yet. */
  readonly bytes: number
  /** Brokers connected to. */
  readonly connections: number
  /** When the last message came, ms of `performance.now()`. */
  readonly lastMs: number

  /**
   * Begins, with these shards.
   *
   * @param replay whether to ask publishers for what they have kept
   */
  start(shards: readonly number[], replay: boolean): Promise<void>

  /**
   * Says which shards may become this worker's soon. What comes of them is kept for a while, for the case that their owner has
   * let go of them by then and their publisher is gone; {@link add} hands it on.
   */
  expect(shards: readonly number[]): void

  /** Takes one more shard in, whose log this worker has just read to its end. */
  add(shard: number): void

  /** Asks for nothing more of a shard. What is on its way still comes, and is handed on. */
  remove(shard: number): void

  /** What came of a shard and was not handed on yet. */
  rest(shard: number): Promise<readonly Fed[]>

  /**
   * What came, in the order of each shard's log; waits for `timeoutMs` since the time that {@link clock} tells, or until
   * {@link wake}. Empty when nothing came.
   */
  next(timeoutMs: number): Promise<readonly Fed[]>

  wake(): void

  /**
   * What time it is for each shard, ms since the epoch by its log's clock: what {@link next} did not hand on so far is not older.
   * 0 where that is not known yet.
   */
  clock(): Promise<(shard: number) => number>

  /** Up to here nothing of the shards is needed any more: it is committed, or of no consequence. Never rejects. */
  passed(positions: ReadonlyMap<number, Position>): Promise<void>

  /** Frames are missing in a shard for a while: their publishers are asked for them, if they can be. */
  askAgain(shard: number): void

  /** Receives nothing more; {@link next} still answers what is there. */
  stop(): Promise<void>
}
