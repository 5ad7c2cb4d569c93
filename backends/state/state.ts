/** A place in a shard's log. Opaque; only the state that made it knows the order. */
export type Position = string

/** What a log answers to an append. */
export interface Appended {
  readonly position: Position
  /** Receive time by the log's own clock, ms since the epoch; never less than that of an earlier entry. */
  readonly timeMs: number
}

export interface LogEntry extends Appended {
  readonly bundle: Uint8Array
}

/** All that a shard's owner needs to be where the one before was: load the snapshot, replay the log behind it. */
export interface Restored {
  /** The newest full snapshot, then the changes committed since, oldest first. Empty for a shard never committed. */
  readonly snapshots: readonly Uint8Array[]
  /** End of the last committed window, ms; 0 when there is none. */
  readonly end: number
  /** Log entries behind the last committed position, oldest first. */
  readonly entries: AsyncIterable<LogEntry>
}

/** One shard's window, committed as one atomic step: all of it is durable, or nothing. */
export interface Commit {
  readonly shard: number
  /** End of the window, ms. Repeating a commit of the same end changes nothing; one of an earlier end is refused. */
  readonly end: number
  /**
   * The last log entry that the window and snapshot contain; entries up to it may be trimmed. Undefined: none since the
   * last commit, or ever.
   */
  readonly position: Position | undefined
  /** `changes` adds to the snapshots before, `full` replaces them. */
  readonly snapshot: { readonly kind: 'full' | 'changes'; readonly bytes: Uint8Array }
  /** The window's rollups, encoded; undefined when there are none to emit. */
  readonly outbox: Uint8Array | undefined
}

/** A committed window that not every backend has settled. */
export interface OutboxEntry {
  readonly id: string
  readonly shard: number
  /** End of the window, ms. */
  readonly end: number
  readonly bytes: number
  /** The backends (by their key) that have not settled it. */
  readonly pending: readonly string[]
  /** Those of `pending` to whom an attempt was begun, by a process that then ended without a word: in doubt. */
  readonly attempted: readonly string[]
}

export interface StateSettings {
  readonly group: string
  /** One key per backend, without secrets, stable over restarts: whom a commit's outbox entry waits for. */
  readonly backends: readonly string[]
  /**
   * What all workers that share the group have to agree on, by name: where they meet, a difference is refused. What only one
   * worker names binds nobody else. Nothing secret.
   */
  readonly settings?: Readonly<Record<string, string>>
}

/**
 * Where a group's logs, snapshots and outbox live, and who may write them. One contract for memory, a directory and Redis;
 * one suite (`test/contract/state.ts`) that all of them pass.
 */
export abstract class State {
  /** Short and without secrets. */
  abstract readonly name: string

  /** Whether what it holds outlives this process. */
  abstract readonly durable: boolean

  /** @throws UsageError naming the way out when it cannot be used: held by another worker, made for another group */
  abstract open(settings: StateSettings): Promise<void>

  /** The log's own clock, ms since the epoch; never goes back, and never behind an entry's time. */
  abstract now(): Promise<number>

  /** Takes ownership of a shard and answers what it holds; undefined while it is another worker's. */
  abstract acquire(shard: number): Promise<Restored | undefined>

  /**
   * Appends bundles, each to its shard's log, in order; answers one for one, undefined where the shard is not this worker's any
   * more. The bytes are copied or written before it resolves.
   */
  abstract append(
    entries: readonly { readonly shard: number; readonly bundle: Uint8Array }[],
  ): Promise<(Appended | undefined)[]>

  /** Commits windows of several shards; each atomic, and together where the state can. Those of shards lost are passed over. */
  abstract commit(commits: readonly Commit[]): Promise<void>

  /** Committed windows that wait for a backend, oldest end first. */
  abstract outbox(): Promise<OutboxEntry[]>

  /** The encoded rollups of an outbox entry. Rejects when it has been settled or dropped meanwhile. */
  abstract load(id: string): Promise<Uint8Array>

  /** Marks, durably, that an attempt to hand these to a backend begins. */
  abstract attempt(backend: string, ids: readonly string[]): Promise<void>

  /** Marks that an attempt ended without acceptance: no longer in doubt. */
  abstract release(backend: string, ids: readonly string[]): Promise<void>

  /** Marks them delivered or given up for a backend; an entry that nobody waits for is gone. */
  abstract settle(backend: string, ids: readonly string[]): Promise<void>

  /** Makes everything durable and lets another process open it. Idempotent. */
  abstract close(): Promise<void>
}
