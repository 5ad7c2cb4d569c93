import type { Writer } from '../wire/bytes.ts'
import type { EncodedKey } from '../wire/series.ts'

/** What takes the entries of a frame: a type's code, a series, and what encodes itself. */
export interface Entries {
  add(type: number, key: EncodedKey, aggregate: { encode(writer: Writer): void }): void
}

/** What a handle records into, where that is more than a number. */
interface Recording {
  /** Writes what was recorded as entries of one series, none when there is nothing, and starts anew. */
  drain(entries: Entries, type: number, key: EncodedKey): void
  clear(): void
}

/** The values of a timer or histogram. */
export interface Samples extends Recording {
  /** Takes a finite value `weight` times; the caller has checked both. */
  add(value: number, weight?: number): void
}

/** The members of a set. */
export interface MemberSet extends Recording {
  add(member: string): void
  /** {@link add} of a text that is there as its UTF-8. */
  addBytes(bytes: Uint8Array, start: number, end: number): void
}

/**
 * What the handles of one recorder record into. `full` makes a frame of the handle at once: for those that keep what they
 * take and must not grow without end.
 */
export interface Aggregates {
  samples(full: () => void): Samples
  members(full: () => void): MemberSet
}
