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
  #over: Part<Aggregate> | undefined

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

  /** What the window holds, in two aggregates at the most, which stay the window's own. */
  held(nowMs: number): readonly Aggregate[] {
    const index = this.#expire(nowMs)
    const parts = this.#parts
    const isCurrent = parts.at(-1)?.index === index
    const closed = isCurrent ? parts.length - 1 : parts.length
    if (closed < 2) return parts.map(({ aggregate }) => aggregate)
    // parts that are over change no more, so they are added up once for all who look while the current one lasts
    if (this.#over?.index !== index) {
      const aggregate = this.#create()
      for (let part = 0; part < closed; part++) aggregate.merge((parts[part] as Part<Aggregate>).aggregate)
      this.#over = { index, aggregate }
    }
    const over = this.#over.aggregate
    return isCurrent ? [over, (parts.at(-1) as Part<Aggregate>).aggregate] : [over]
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
    while (parts[0] !== undefined && parts[0].index <= index - PARTS) {
      parts.shift()
      this.#over = undefined
    }
    return index
  }
}
