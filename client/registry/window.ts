import type { Reader, Writer } from '../wire/bytes.ts'

/** Parts of a sliding window: what it holds is as old as the window at the most, and four fifths of it at the least. */
const PARTS = 5

interface Mergeable<Self> {
  merge(other: Self): void
  encode(writer: Writer): void
}

interface Part<Aggregate> {
  readonly index: number
  readonly aggregate: Aggregate
}

/** The aggregates of the newest parts of time. The oldest goes as time passes, whether or not anything comes. */
export class SlidingWindow<Aggregate extends Mergeable<Aggregate>> {
  readonly #create: () => Aggregate
  readonly #partMs: number
  readonly #parts: Part<Aggregate>[] = []

  constructor(create: () => Aggregate, spanMs: number) {
    this.#create = create
    this.#partMs = spanMs / PARTS
  }

  /** Where what is recorded now belongs. */
  current(nowMs: number): Aggregate {
    const index = this.#expire(nowMs)
    const newest = this.#parts.at(-1)
    if (newest !== undefined && newest.index >= index) return newest.aggregate
    const aggregate = this.#create()
    this.#parts.push({ index, aggregate })
    return aggregate
  }

  /** Adds up what the window holds. */
  mergeInto(sum: Aggregate, nowMs: number): void {
    this.#expire(nowMs)
    for (const { aggregate } of this.#parts) sum.merge(aggregate)
  }

  /** Number of parts varint; of each its index f64, and its aggregate. */
  encode(writer: Writer): void {
    writer.varint(this.#parts.length)
    for (const { index, aggregate } of this.#parts) {
      writer.f64(index)
      aggregate.encode(writer)
    }
  }

  /** Takes over what {@link encode} wrote; `decode` merges an aggregate into an empty one. */
  restore(reader: Reader, decode: (reader: Reader, into: Aggregate) => void): void {
    this.#parts.length = 0
    for (let left = reader.varint(); left > 0; left--) {
      const part = { index: reader.f64(), aggregate: this.#create() }
      decode(reader, part.aggregate)
      this.#parts.push(part)
    }
  }

  #expire(nowMs: number): number {
    const index = Math.floor(nowMs / this.#partMs)
    const parts = this.#parts
    while (parts[0] !== undefined && parts[0].index <= index - PARTS) parts.shift()
    return index
  }
}
