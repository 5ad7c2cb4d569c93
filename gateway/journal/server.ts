import type { JournalScript } from './scripts.ts'

/** What a command answers: bytes where text may be. */
export type JournalReply = Uint8Array | number | null | readonly JournalReply[]

/**
 * The Redis that has the journal, as whoever composes gateway and workers connects to it. It connects by itself, again and
 * again, and sends no command twice.
 */
export interface JournalServer {
  /** For messages, without secrets. */
  readonly name: string
  /** Grows when a connection was lost or a command was not answered. */
  readonly session: number

  /** @throws Error in words for an operator, whose `cause` is what the server or the network said */
  send(command: string, ...args: (string | number | Buffer)[]): Promise<JournalReply>

  run(
    script: JournalScript,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<JournalReply>

  /** What every master says of itself: INFO, by name. */
  info(): Promise<readonly ReadonlyMap<string, string>[]>

  /** Names the node that has a key. */
  nodeOf(key: string): string

  /**
   * Resolves once so many replicas have what was written to a key's node.
   *
   * @param since the session in which it was written
   */
  replicated(key: string, replicas: number, timeoutMs: number, since: number): Promise<void>

  close(): void
}
