import type { ShardLog } from '../ledger.ts'
import { BUNDLE_OVERHEAD } from './record.ts'

const MIN_CAPACITY = 16

/** Where some entries lie: columns by number, counted from `first`. */
export interface EntryRange {
  readonly first: number
  readonly offsets: Float64Array
  readonly lengths: Uint32Array
}

/** Where the entries of one shard lie in the log: 12 bytes an entry, so that a long log is not held in memory. */
export class EntryIndex implements ShardLog {
  next = 1
  bytes = 0
  #first = 1
  // where the first entry stands in the columns
  #head = 0
  #offsets = new Float64Array(MIN_CAPACITY)
  #lengths = new Uint32Array(MIN_CAPACITY)

  /** Number of the oldest entry kept; `next` when there is none. */
  get first(): number {
    return this.#first
  }

  /** Where a bundle's bytes start. */
  offset(number: number): number {
    return this.#offsets[this.#head + number - this.#first] as number
  }

  length(number: number): number {
    return this.#lengths[this.#head + number - this.#first] as number
  }

  push(offset: number, length: number): number {
    let place = this.#head + this.next - this.#first
    if (place === this.#offsets.length) {
      this.#resize()
      place = this.next - this.#first
    }
    this.#offsets[place] = offset
    this.#lengths[place] = length
    this.bytes += length + BUNDLE_OVERHEAD
    return this.next++
  }

  trim(through: number): void {
    while (this.#first <= through && this.#first < this.next) {
      this.bytes -= (this.#lengths[this.#head++] as number) + BUNDLE_OVERHEAD
      this.#first++
    }
    // a shard restored from its snapshot starts behind entries it never had
    if (through >= this.next) this.#first = this.next = through + 1
    if (this.#offsets.length > 1024 && (this.next - this.#first) * 4 < this.#offsets.length) this.#resize()
  }

  /** A copy of the columns as they are. */
  range(): EntryRange {
    const end = this.#head + this.next - this.#first
    return {
      first: this.#first,
      offsets: this.#offsets.slice(this.#head, end),
      lengths: this.#lengths.slice(this.#head, end),
    }
  }

  /** The log was rewritten: the entries of `range` lie at its offsets now, later ones `distance` further. */
  move(range: EntryRange, distance: number): void {
    const known = range.first + range.offsets.length
    for (let number = this.#first; number < this.next; number++) {
      const place = this.#head + number - this.#first
      this.#offsets[place] =
        number < known ? (range.offsets[number - range.first] as number) : (this.#offsets[place] as number) + distance
    }
  }

  #resize(): void {
    const { offsets, lengths } = this.range()
    const capacity = Math.max(MIN_CAPACITY, offsets.length * 2)
    this.#offsets = new Float64Array(capacity)
    this.#lengths = new Uint32Array(capacity)
    this.#offsets.set(offsets)
    this.#lengths.set(lengths)
    this.#head = 0
  }
}
