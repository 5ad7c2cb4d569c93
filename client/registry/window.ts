/** Parts of a sliding window: what it holds is as old as the window at the most, and four fifths of it at the least. */
const PARTS = 5

interface Mergeable<Self> {
  merge(other: Self): void
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

  #expire(nowMs: number): number {
    const index = Math.floor(nowMs / this.#partMs)
    const parts = this.#parts
    while (parts[0] !== undefined && parts[0].index <= index - PARTS) parts.shift()
    return index
  }
}
