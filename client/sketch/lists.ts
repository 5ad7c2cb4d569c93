import type { Writer } from '../wire/bytes.ts'
import { type Hash64, hashMemberBytes } from '../wire/hash.ts'
import { utf8 } from '../wire/bytes.ts'
import type { EncodedKey } from '../wire/series.ts'
import type { Aggregates, Entries, MemberSet, Samples } from './aggregates.ts'

/** Values, and hashes of members, that one entry of a frame may list. */
const ENTRY_VALUES = 64
const ENTRY_HASHES = 1024
/** Values past which a list becomes a frame before the next flush: 32 kB. */
const MOST_VALUES = 4096

/** The values of a timer or histogram as they are, 64 in an entry. */
class Values implements Samples {
  readonly #full: () => void
  readonly #values: number[] = []
  readonly #weights: number[] = []

  constructor(full: () => void) {
    this.#full = full
  }

  add(value: number, weight = 1): void {
    this.#weights.push(weight)
    if (this.#values.push(value) >= MOST_VALUES) this.#full()
  }

  drain(entries: Entries, type: number, key: EncodedKey): void {
    while (this.#values.length > 0) {
      const values = this.#values.splice(0, ENTRY_VALUES)
      const weights = this.#weights.splice(0, ENTRY_VALUES)
      entries.add(type, key, { encode: (writer) => encodeValues(writer, values, weights) })
    }
  }

  clear(): void {
    this.#values.length = this.#weights.length = 0
  }
}

/** As a distribution does that is no sketch. */
function encodeValues(writer: Writer, values: readonly number[], weights: readonly number[]): void {
  const sum = (of: (value: number) => number): number =>
    values.reduce((all, value, index) => all + of(value) * (weights[index] as number), 0)
  const isWeighted = weights.some((weight) => weight !== 1)
  writer.u8(isWeighted ? 2 : 0)
  writer.finite(sum(() => 1))
  writer.finite(sum((value) => value))
  writer.f64(Math.min(...values))
  writer.f64(Math.max(...values))
  writer.finite(sum((value) => value * value))
  writer.varint(values.length)
  for (const value of isWeighted ? values.concat(weights) : values) writer.f64(value)
}

/** The members of a set as their hashes, 1,024 in an entry. */
class Hashes implements MemberSet {
  readonly #full: () => void
  readonly #hashes = new Set<bigint>()

  constructor(full: () => void) {
    this.#full = full
  }

  add(member: string): void {
    const bytes = utf8(member)
    this.addBytes(bytes, 0, bytes.length)
  }

  addBytes(bytes: Uint8Array, start: number, end: number): void {
    const hash: Hash64 = { high: 0, low: 0 }
    hashMemberBytes(bytes, start, end, hash)
    this.#hashes.add((BigInt(hash.high >>> 0) << 32n) | BigInt(hash.low >>> 0))
    if (this.#hashes.size >= ENTRY_HASHES) this.#full()
  }

  drain(entries: Entries, type: number, key: EncodedKey): void {
    if (this.#hashes.size > 0) entries.add(type, key, this)
    this.clear()
  }

  clear(): void {
    this.#hashes.clear()
  }

  encode(writer: Writer): void {
    writer.u8(0)
    writer.varint(this.#hashes.size)
    for (const hash of [...this.#hashes].sort((left, right) => (left < right ? -1 : 1))) {
      writer.u32(Number(hash >> 32n))
      writer.u32(Number(hash & 0xffffffffn))
    }
  }
}

/**
 * Aggregates that list what they took, in place of sketches: less code to load, and nothing lost to rounding. For programs
 * that flush often, as the edge does after each request; a list that grows all the same becomes a frame before the flush.
 */
export const LISTS: Aggregates = {
  samples: (full) => new Values(full),
  members: (full) => new Hashes(full),
}
