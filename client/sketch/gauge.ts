import { InvalidFrameError } from '../errors.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import { COMBINES, type Combine, MAX_READINGS, REPEATED, SUMMARISED } from './combine.ts'

export { COMBINES, type Combine, MAX_READINGS } from './combine.ts'

const COMBINE_BITS = 3

/**
 * The aggregate of a gauge: its readings, at most one per second of the clock, the newest 64; and count, min, max and sum
 * of all that were seen. Times are milliseconds since the epoch. Of two readings in a second the later stays, of two at
 * one time the larger value. Where two aggregates combine differently, the later of {@link COMBINES} wins.
 */
export class Gauge {
  combine: Combine
  count = 0
  min: number = Number.POSITIVE_INFINITY
  max: number = Number.NEGATIVE_INFINITY
  sum = 0
  // ascending by time
  #times = new Float64Array(4)
  #values = new Float64Array(4)
  #length = 0
  // whether some reading may be a repeat, so that readings alone do not tell count, min, max and sum
  #hasRepeats = false

  constructor(combine: Combine = 'last') {
    this.combine = combine
  }

  /** Readings kept, in a window of this aggregate's own. */
  get length(): number {
    return this.#length
  }

  /** Time of the newest reading, or 0. */
  get time(): number {
    return this.#length === 0 ? 0 : (this.#times[this.#length - 1] as number)
  }

  /** Value of the newest reading, or NaN. */
  get value(): number {
    return this.#length === 0 ? Number.NaN : (this.#values[this.#length - 1] as number)
  }

  /** [time in ms, value], oldest first. */
  readings(): [number, number][] {
    return Array.from({ length: this.#length }, (_, index): [number, number] => [
      this.#times[index] as number,
      this.#values[index] as number,
    ])
  }

  clear(): void {
    this.count = 0
    this.min = Number.POSITIVE_INFINITY
    this.max = Number.NEGATIVE_INFINITY
    this.sum = 0
    this.#length = 0
    this.#hasRepeats = false
  }

  /** Takes a finite value read at a time; the caller has checked both. */
  set(value: number, timeMs: number): void {
    this.#note(value)
    this.#read(whole(timeMs), value)
  }

  merge(other: Gauge): void {
    this.#combineWith(COMBINES.indexOf(other.combine))
    this.#hasRepeats ||= other.#hasRepeats
    this.count += other.count
    this.sum += other.sum
    if (other.min < this.min) this.min = other.min
    if (other.max > this.max) this.max = other.max
    for (let index = 0; index < other.#length; index++) {
      this.#read(other.#times[index] as number, other.#values[index] as number)
    }
  }

  /**
   * combine u8 (| 0x40: the one reading repeats an earlier one and counts for nothing; | 0x80: count, min, max, sum
   * follow); number u8; readings: time varint, the first in full and then distances, value f64; count min max sum f64, all 0
   * when every reading is a repeat.
   */
  encode(writer: Writer): void {
    const summarised = this.#hasRepeats || this.count !== this.#length
    writer.u8(COMBINES.indexOf(this.combine) | (summarised ? SUMMARISED : 0))
    this.#encodeReadings(writer)
    if (!summarised) return
    writer.finite(this.count)
    writer.f64(this.count === 0 ? 0 : this.min)
    writer.f64(this.count === 0 ? 0 : this.max)
    writer.finite(this.sum)
  }

  #encodeReadings(writer: Writer): void {
    writer.u8(this.#length)
    let previous = 0
    for (let index = 0; index < this.#length; index++) {
      const time = this.#times[index] as number
      writer.varint(time - previous)
      writer.f64(this.#values[index] as number)
      previous = time
    }
  }

  /** What a live publisher sends of a combined gauge that was not set again: the value, still true at `timeMs`. */
  static encodeRepeat(writer: Writer, combine: Combine, value: number, timeMs: number): void {
    writer.u8(COMBINES.indexOf(combine) | REPEATED)
    writer.u8(1)
    writer.varint(whole(timeMs))
    writer.f64(value)
  }

  /** Merges an encoded gauge; `into` undefined only checks it. */
  static decode(reader: Reader, into: Gauge | undefined): void {
    const flags = reader.u8()
    const length = reader.u8()
    const summarised = (flags & SUMMARISED) !== 0
    const repeated = (flags & REPEATED) !== 0
    if (
      (flags & ~(COMBINE_BITS | REPEATED | SUMMARISED)) !== 0 ||
      length === 0 ||
      length > MAX_READINGS ||
      (repeated && (summarised || length !== 1))
    ) {
      throw new InvalidFrameError(`frame: a gauge has the flags ${flags} and ${length} readings`)
    }
    if (into !== undefined) {
      into.#combineWith(flags & COMBINE_BITS)
      into.#hasRepeats ||= repeated || summarised
    }
    let time = 0
    let count = 0
    let sum = 0
    let min = Number.POSITIVE_INFINITY
    let max = Number.NEGATIVE_INFINITY
    for (let index = 0; index < length; index++) {
      const distance = reader.varint()
      if (index > 0 && distance === 0) throw new InvalidFrameError('frame: a gauge repeats a time')
      time += distance
      if (time > Number.MAX_SAFE_INTEGER) throw new InvalidFrameError('frame: a gauge was read too late')
      const value = reader.finite()
      if (!repeated) {
        count++
        sum += value
        if (value < min) min = value
        if (value > max) max = value
      }
      if (into !== undefined) into.#read(time, value)
    }
    if (summarised) {
      count = reader.finite()
      min = reader.finite()
      max = reader.finite()
      sum = reader.finite()
      if (count < 0 || min > max)
        throw new InvalidFrameError(`frame: a gauge has count ${count}, min ${min}, max ${max}`)
    }
    if (into === undefined || count === 0) return
    into.count += count
    into.sum += sum
    if (min < into.min) into.min = min
    if (max > into.max) into.max = max
  }

  #combineWith(code: number): void {
    if (code > COMBINES.indexOf(this.combine)) this.combine = COMBINES[code] as Combine
  }

  #note(value: number): void {
    this.count++
    this.sum += value
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
  }

  #read(time: number, value: number): void {
    const times = this.#times
    const values = this.#values
    const second = Math.floor(time / 1000)
    let place = this.#length
    while (place > 0 && Math.floor((times[place - 1] as number) / 1000) > second) place--
    if (place > 0 && Math.floor((times[place - 1] as number) / 1000) === second) {
      const kept = times[place - 1] as number
      if (time > kept || (time === kept && value > (values[place - 1] as number))) {
        times[place - 1] = time
        values[place - 1] = value
      }
      return
    }
    if (this.#length === MAX_READINGS) {
      if (place === 0) return
      times.copyWithin(0, 1, place)
      values.copyWithin(0, 1, place)
      times[place - 1] = time
      values[place - 1] = value
      return
    }
    if (this.#length === times.length) {
      this.#times = new Float64Array(times.length * 2)
      this.#times.set(times)
      this.#values = new Float64Array(values.length * 2)
      this.#values.set(values)
    }
    this.#times.copyWithin(place + 1, place, this.#length)
    this.#values.copyWithin(place + 1, place, this.#length)
    this.#times[place] = time
    this.#values[place] = value
    this.#length++
  }
}

// times travel as varints
function whole(timeMs: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(timeMs)))
}
