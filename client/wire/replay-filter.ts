import { InvalidFrameError } from '../errors.ts'
import { Reader, Writer } from './bytes.ts'
import type { Publisher } from './frame.ts'
import { mix32 } from './hash.ts'

/** Missing ranges that a filter keeps per (publisher, level); past that the lowest is given up. */
export const MAX_RANGES = 64

const MAX_LEVELS = 1000

/** Publishers between two chances for others to run. */
const SLICE = 4_096

/** How long a publisher is remembered, in ms of receive time: twice as long as any sender retries. */
export const REMEMBERED_MS = 600_000

export interface ReplayFilterOptions {
  /** (publisher, level) pairs kept at the most, and 1,000 levels; new ones are refused beyond. Default 1,000,000. */
  readonly maxPublishers?: number
}

/**
 * Tells frames that are new from those that were merged before, for one shard: per (publisher, level), the highest seq and
 * the ranges missing below it. What lies below the first seq seen is missing too, and counts once if it comes; but it was
 * perhaps never meant for this shard's group, or merged before its publisher was forgotten, so it is not counted as lost.
 *
 * Columns instead of objects: most publishers at the edge live for seconds, and a hundred thousand of them are remembered.
 */
export class ReplayFilter {
  /** Frames that will never come: of ranges given up or forgotten. */
  lost = 0
  #size = 0
  #places = new Int32Array(32)
  #highs = new Uint32Array(16)
  #lows = new Uint32Array(16)
  #levels = new Uint16Array(16)
  #firsts = new Float64Array(16)
  #highests = new Float64Array(16)
  #seenMs = new Float64Array(16)
  // 1 while all below the first seq is missing, as it mostly is for ever: a range that takes no memory
  #below = new Uint8Array(16)
  // the other ranges, [from, to, from, to, ...] inclusive and ascending, only for those who miss something
  #missing = new Map<number, number[]>()
  #levelNames: string[] = []
  #levelCodes = new Map<string, number>()
  #changed = new Set<number>()
  // time of the last forgetting, for those who restore
  #forgotMs = 0
  readonly #maxPublishers: number

  constructor({ maxPublishers = 1_000_000 }: ReplayFilterOptions = {}) {
    this.#maxPublishers = maxPublishers
  }

  /** (publisher, level) pairs remembered. */
  get size(): number {
    return this.#size
  }

  /** Seqs missing between the first and the highest seen, of all publishers. */
  get missing(): number {
    let count = 0
    for (const [slot, ranges] of this.#missing) count += countFrom(ranges, this.#firsts[slot] as number)
    return count
  }

  /**
   * Takes note of a frame received.
   *
   * @returns `new`: merge it; `replay`: it was merged before; `refused`: the filter is full, and this publisher unknown
   */
  admit(publisher: Publisher, level: string, seq: number, nowMs: number): 'new' | 'replay' | 'refused' {
    const known = this.#levelCodes.get(level)
    let slot = known === undefined ? -1 : this.#find(publisher.high, publisher.low, known)
    if (slot < 0) {
      if (this.#size >= this.#maxPublishers || (known ?? this.#levelNames.length) >= MAX_LEVELS) return 'refused'
      slot = this.#insert(publisher.high, publisher.low, this.#levelCode(level), seq, nowMs)
      this.#below[slot] = seq > 1 ? 1 : 0
      this.#changed.add(slot)
      return 'new'
    }
    this.#seenMs[slot] = Math.max(nowMs, this.#seenMs[slot] as number)
    this.#changed.add(slot)
    const highest = this.#highests[slot] as number
    if (seq > highest) {
      if (seq > highest + 1) this.#miss(slot, highest + 1, seq - 1)
      this.#highests[slot] = seq
      return 'new'
    }
    return this.#fill(slot, seq) ? 'new' : 'replay'
  }

  /** Whether {@link admit} would take a frame for a replay; `unknown` when it has not heard of its publisher. */
  judge(publisher: Publisher, level: string, seq: number): 'new' | 'replay' | 'unknown' {
    const code = this.#levelCodes.get(level)
    const slot = code === undefined ? -1 : this.#find(publisher.high, publisher.low, code)
    if (slot < 0) return 'unknown'
    if (seq > (this.#highests[slot] as number)) return 'new'
    if (this.#below[slot] === 1 && seq < (this.#firsts[slot] as number)) return 'new'
    const ranges = this.#missing.get(slot) ?? []
    for (let index = 0; index < ranges.length; index += 2) {
      if (seq >= (ranges[index] as number) && seq <= (ranges[index + 1] as number)) return 'new'
    }
    return 'replay'
  }

  /** Forgets publishers not heard of for 10 minutes; what they still owed is lost. */
  forget(nowMs: number): void {
    Array.from(this.forgetting(nowMs))
  }

  /** {@link forget} in slices; no frame may be admitted until it is through. */
  *forgetting(nowMs: number): Generator<void, void> {
    this.#forgotMs = Math.max(nowMs, this.#forgotMs)
    this.lost += yield* this.#dropping(nowMs)
  }

  /** Drops publishers not heard of for 10 minutes; answers what they owed. */
  *#dropping(nowMs: number): Generator<void, number> {
    let gone = 0
    let owed = 0
    for (let slot = 0; slot < this.#size; slot++) if (nowMs - (this.#seenMs[slot] as number) > REMEMBERED_MS) gone++
    if (gone === 0) return 0
    const old = { size: this.#size, missing: this.#missing, changed: this.#changed, names: this.#levelNames }
    const { highs, lows, levels, firsts, highests, seenMs, below } = this.#columns()
    this.#size = 0
    this.#missing = new Map()
    this.#changed = new Set()
    this.#levelNames = []
    this.#levelCodes = new Map()
    this.#reserve(old.size - gone)
    for (let slot = 0; slot < old.size; slot++) {
      if (slot % SLICE === SLICE - 1) yield
      const ranges = old.missing.get(slot)
      if (nowMs - (seenMs[slot] as number) > REMEMBERED_MS) {
        if (ranges !== undefined) owed += countFrom(ranges, firsts[slot] as number)
        continue
      }
      const kept = this.#insert(
        highs[slot] as number,
        lows[slot] as number,
        this.#levelCode(old.names[levels[slot] as number] as string),
        firsts[slot] as number,
        seenMs[slot] as number,
      )
      this.#highests[kept] = highests[slot] as number
      this.#below[kept] = below[slot] as number
      if (ranges !== undefined) this.#missing.set(kept, ranges)
      if (old.changed.has(slot)) this.#changed.add(kept)
    }
    return owed
  }

  /**
   * Writes lost f64, time of the last forgetting (ms) varint, number varint, and for each publisher and level: high u32,
   * low u32, level text, first, highest, seen (ms) varint, number of ranges varint, and their bounds as distances, varint.
   *
   * @param what `changed`: those touched since the last call; `all`: everyone
   */
  encode(writer: Writer, what: 'changed' | 'all'): void {
    Array.from(this.encoding(writer, what))
  }

  /** {@link encode} in slices; no frame may be admitted until it is through. */
  *encoding(writer: Writer, what: 'changed' | 'all'): Generator<void, void> {
    const slots = what === 'all' ? Array.from({ length: this.#size }, (_, slot) => slot) : [...this.#changed]
    writer.f64(this.lost)
    writer.varint(Math.round(this.#forgotMs))
    writer.varint(slots.length)
    for (const [index, slot] of slots.entries()) {
      if (index % SLICE === SLICE - 1) yield
      writer.u32(this.#highs[slot] as number)
      writer.u32(this.#lows[slot] as number)
      writer.text(this.#levelNames[this.#levels[slot] as number] as string)
      writer.varint(this.#firsts[slot] as number)
      writer.varint(this.#highests[slot] as number)
      writer.varint(Math.round(this.#seenMs[slot] as number))
      const others = this.#missing.get(slot) ?? []
      const ranges = this.#below[slot] === 1 ? [1, (this.#firsts[slot] as number) - 1, ...others] : others
      writer.varint(ranges.length / 2)
      let previous = 0
      for (const bound of ranges) {
        writer.varint(bound - previous)
        previous = bound
      }
    }
    this.#changed.clear()
  }

  /** Takes over what {@link encode} wrote; a later one overrides an earlier. */
  restore(reader: Reader): void {
    Array.from(this.restoring(reader))
  }

  /** {@link restore} in slices. */
  *restoring(reader: Reader): Generator<void, void> {
    this.lost = reader.finite()
    this.#forgotMs = reader.varint()
    const count = reader.varint()
    for (let index = 0; index < count; index++) {
      if (index % SLICE === SLICE - 1) yield
      const high = reader.u32()
      const low = reader.u32()
      const code = this.#levelCode(reader.text())
      const first = reader.varint()
      const highest = reader.varint()
      const seenMs = reader.varint()
      let slot = this.#find(high, low, code)
      if (slot < 0) slot = this.#insert(high, low, code, first, seenMs)
      this.#firsts[slot] = first
      this.#highests[slot] = highest
      this.#seenMs[slot] = seenMs
      const bounds = reader.varint() * 2
      if (bounds > MAX_RANGES * 2) throw new InvalidFrameError(`replay filter: ${bounds / 2} ranges were written`)
      const ranges: number[] = []
      let previous = 0
      for (let bound = 0; bound < bounds; bound++) ranges.push((previous += reader.varint()))
      this.#below[slot] = ranges[0] === 1 && ranges[1] === first - 1 ? 1 : 0
      if (this.#below[slot] === 1) ranges.splice(0, 2)
      if (ranges.length > 0) this.#missing.set(slot, ranges)
      else this.#missing.delete(slot)
    }
    // what these owed is in `lost` already
    yield* this.#dropping(this.#forgotMs)
  }

  #miss(slot: number, from: number, to: number): void {
    const ranges = this.#missing.get(slot)
    if (ranges === undefined) {
      this.#missing.set(slot, [from, to])
      return
    }
    ranges.push(from, to)
    this.#bound(slot, ranges)
  }

  #bound(slot: number, ranges: number[]): void {
    if (ranges.length / 2 + (this.#below[slot] as number) <= MAX_RANGES) return
    // the lowest is given up
    if (this.#below[slot] === 1) this.#below[slot] = 0
    else this.lost += countFrom(ranges.splice(0, 2), this.#firsts[slot] as number)
  }

  /** Takes a seq out of the missing ranges; false when it is in none. */
  #fill(slot: number, seq: number): boolean {
    const first = this.#firsts[slot] as number
    if (seq < first && this.#below[slot] === 1) {
      this.#below[slot] = 0
      this.#missing.set(slot, [1, first - 1, ...(this.#missing.get(slot) ?? [])])
    }
    const ranges = this.#missing.get(slot)
    if (ranges === undefined) return false
    for (let index = 0; index < ranges.length; index += 2) {
      const from = ranges[index] as number
      const to = ranges[index + 1] as number
      if (seq < from) return false
      if (seq > to) continue
      if (from === to) ranges.splice(index, 2)
      else if (seq === from) ranges[index] = from + 1
      else if (seq === to) ranges[index + 1] = to - 1
      else ranges.splice(index, 2, from, seq - 1, seq + 1, to)
      if (ranges.length === 0) this.#missing.delete(slot)
      else this.#bound(slot, ranges)
      return true
    }
    return false
  }

  #levelCode(level: string): number {
    const known = this.#levelCodes.get(level)
    if (known !== undefined) return known
    const code = this.#levelNames.length
    this.#levelNames.push(level)
    this.#levelCodes.set(level, code)
    return code
  }

  #start(high: number, low: number, level: number): number {
    // publishers of other makes may count instead of drawing 8 random bytes
    return mix32(high ^ Math.imul(low, 0x9e3779b1) ^ level) & (this.#places.length - 1)
  }

  #find(high: number, low: number, level: number): number {
    const mask = this.#places.length - 1
    let place = this.#start(high, low, level)
    for (;;) {
      const slot = (this.#places[place] as number) - 1
      if (slot < 0) return -1
      if (this.#highs[slot] === high && this.#lows[slot] === low && this.#levels[slot] === level) return slot
      place = (place + 1) & mask
    }
  }

  #insert(high: number, low: number, level: number, first: number, seenMs: number): number {
    const slot = this.#size
    if (slot === this.#highs.length) this.#reserve(slot * 2)
    this.#highs[slot] = high
    this.#lows[slot] = low
    this.#levels[slot] = level
    this.#firsts[slot] = first
    this.#highests[slot] = first
    this.#seenMs[slot] = seenMs
    this.#size = slot + 1
    this.#place(slot)
    return slot
  }

  #place(slot: number): void {
    const mask = this.#places.length - 1
    let place = this.#start(this.#highs[slot] as number, this.#lows[slot] as number, this.#levels[slot] as number)
    while (this.#places[place] !== 0) place = (place + 1) & mask
    this.#places[place] = slot + 1
  }

  #columns(): Record<'firsts' | 'highests' | 'seenMs', Float64Array> &
    Record<'highs' | 'lows', Uint32Array> & { levels: Uint16Array; below: Uint8Array } {
    return {
      below: this.#below,
      highs: this.#highs,
      lows: this.#lows,
      levels: this.#levels,
      firsts: this.#firsts,
      highests: this.#highests,
      seenMs: this.#seenMs,
    }
  }

  /** Columns of room for `count`, holding what is there up to `size`. */
  #reserve(count: number): void {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(16, count)))
    const { highs, lows, levels, firsts, highests, seenMs, below } = this.#columns()
    const size = this.#size
    this.#highs = new Uint32Array(capacity)
    this.#lows = new Uint32Array(capacity)
    this.#levels = new Uint16Array(capacity)
    this.#firsts = new Float64Array(capacity)
    this.#highests = new Float64Array(capacity)
    this.#seenMs = new Float64Array(capacity)
    this.#below = new Uint8Array(capacity)
    this.#highs.set(highs.subarray(0, size))
    this.#lows.set(lows.subarray(0, size))
    this.#levels.set(levels.subarray(0, size))
    this.#firsts.set(firsts.subarray(0, size))
    this.#highests.set(highests.subarray(0, size))
    this.#seenMs.set(seenMs.subarray(0, size))
    this.#below.set(below.subarray(0, size))
    this.#places = new Int32Array(capacity * 2)
    for (let slot = 0; slot < size; slot++) this.#place(slot)
  }
}

function countFrom(ranges: readonly number[], first: number): number {
  let count = 0
  for (let index = 0; index < ranges.length; index += 2) {
    const from = Math.max(first, ranges[index] as number)
    count += Math.max(0, (ranges[index + 1] as number) - from + 1)
  }
  return count
}
