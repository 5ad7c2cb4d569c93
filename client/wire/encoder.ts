import type { EncodedKey, Type } from './series.ts'

/** Makes the frames of one publisher. What `Entry` is, only it and the aggregates that go with it know. */
export interface Encoder<Entry = unknown> {
  /** Bytes of the entries since the last seal. */
  readonly size: number
  /** What makes entries of a series, until the next call. */
  entry(type: Type, key: EncodedKey): Entry
  /** The frame; the encoder is empty again. */
  seal(level: string, shard: number, seq: number, closedMs: number, spanMs: number): Uint8Array
}
