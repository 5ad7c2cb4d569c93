/**
 * Names of a group's keys. All of one shard carry the tag `{group:shard}`, so that a Cluster keeps them on one node and one
 * script can change them together.
 */
export class GroupKeys {
  /** Sorted set: names of groups by when a worker of theirs last said that it is there, ms. Not of this group alone. */
  readonly groups: string
  /** Sorted set: ids of workers by when they were last heard of, ms. */
  readonly workers: string
  /** Hash: what each worker says of itself, as JSON. */
  readonly infos: string
  /** String: the settings that its workers share, as JSON. */
  readonly settings: string
  readonly #prefix: string
  readonly #group: string

  constructor(prefix: string, group: string) {
    this.#prefix = prefix
    this.#group = group
    this.groups = `${prefix}groups`
    this.workers = `${prefix}{${group}}:workers`
    this.infos = `${prefix}{${group}}:infos`
    this.settings = `${prefix}{${group}}:settings`
  }

  shard(shard: number): ShardKeys {
    return new ShardKeys(`${this.#prefix}{${this.#group}:${String(shard).padStart(2, '0')}}:`)
  }
}

/** Names of one shard's keys. */
export class ShardKeys {
  /** Hash: owner (id of a worker, or empty), epoch, until (ms). */
  readonly owner: string
  /** Stream: one bundle an entry, field `b`. */
  readonly log: string
  /** Hash: end (ms) and position of the last committed window, committed (ms): when. */
  readonly committed: string
  /** List: keys of the newest full snapshot and of the changes since, oldest first. */
  readonly snapshots: string
  /** Hash: end of each window that waits -> `{"bytes","pending"}`. */
  readonly windows: string
  /** Hash: `<end> <backend>` of each attempt under way -> epoch of who began it. */
  readonly attempts: string
  readonly #base: string

  constructor(base: string) {
    this.#base = base
    this.owner = `${base}owner`
    this.log = `${base}log`
    this.committed = `${base}committed`
    this.snapshots = `${base}snapshots`
    this.windows = `${base}windows`
    this.attempts = `${base}attempts`
  }

  /** String: a snapshot. Written before its commit, under a name that no other commit has. */
  snapshot(end: number, epoch: number): string {
    return `${this.#base}snapshot:${end}:${epoch}`
  }

  /** String: a window's rollups. */
  window(end: number, epoch: number): string {
    return `${this.#base}window:${end}:${epoch}`
  }
}
