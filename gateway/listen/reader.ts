/** Reads StatsD lines. Never throws, and keeps no hold of the bytes. */
export interface LineReader {
  /** Takes one datagram, or a part of a stream that ends at a line break: `bytes` from `start` (0) up to `end` (all). */
  packet(bytes: Uint8Array, start?: number, end?: number): void
}

/** Lines that do not reach the reader, by why. */
export interface Faults {
  /** Longer than {@link MAX_LINE_BYTES}: skipped up to their end. */
  tooLong: number
  /** Cut off: the connection broke, or was closed, before their end came. */
  cut: number
  /** What is neither lines nor packets behind their length: the connection is closed. */
  unframed: number
}

/** Bytes of a line, its line break included, and of a packet on a stream. */
export const MAX_LINE_BYTES = 65_536

/** Takes what a connection sends, in whatever pieces it comes. */
export interface StreamReader {
  /** False when what comes makes no sense any more: the connection is to be closed. */
  push(bytes: Uint8Array): boolean
  /** The peer has said all it had to say: what it left without a line break is a line too. */
  end(): void
  /** The connection broke: what is there of a line may not be all of it. */
  cut(): void
}
