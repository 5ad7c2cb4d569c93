/** Names of the journal's keys. Those of one shard carry the tag `{journal:shard}`, so that one script can use them together. */
export class JournalKeys {
  /** String: what only those know who may write the journal, and mark messages as journaled. */
  readonly token: string
  readonly #prefix: string

  /** @param prefix begins every key; that of the workers' state */
  constructor(prefix = 'zibrato:') {
    this.#prefix = prefix
    this.token = `${prefix}journal:token`
  }

  /** Stream: one bundle an entry, field `b`, of frames of the shard as publishers made them. */
  stream(shard: number): string {
    return `${this.#prefix}{journal:${String(shard).padStart(2, '0')}}`
  }

  /** Hash: group -> id of the last entry that it needs no more. What all groups are past is trimmed. */
  groups(shard: number): string {
    return `${this.stream(shard)}:groups`
  }
}
