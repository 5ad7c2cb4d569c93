import type { Writer } from '../wire/bytes.ts'
import { COMBINES, type Combine } from './combine.ts'

/** Readings that a gauge keeps. */
export const MAX_READINGS = 64

/** Flags beside the code of `combine`. */
export const REPEATED = 0x40
export const SUMMARISED = 0x80

type Reading = [timeMs: number, value: number]

/**
 * What a gauge's handle records: its readings, at most one per second of the clock, the newest 64; and count, min, max and sum
 * of all that were made. Times are whole milliseconds since the epoch. Of two readings in a second the later stays, of two at
 * one time the one that came last. What merges and decodes them is `Gauge`, which programs that only record do without.
 */
export class Readings {
  readonly combine: Combine
  #readings: Reading[] = []
  #count = 0
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY
  #sum = 0

  constructor(combine: Combine) {
    this.combine = combine
  }

  /** Takes a finite value read at a time; the caller has checked both. */
  set(value: number, timeMs: number): void {
    this.#count++
    this.#sum += value
    if (value < this.#min) this.#min = value
    if (value > this.#max) this.#max = value
    const last = this.#readings.at(-1)
    // most come within the second of the one before
    if (last !== undefined && secondOf(last[0]) === secondOf(timeMs)) {
      if (timeMs >= last[0]) {
        last[0] = timeMs
        last[1] = value
      }
    } else if (this.#readings.push([timeMs, value]) >= MAX_READINGS * 2) this.#thin()
  }

  /** The newest reading; [0, NaN] when there is none. */
  get newest(): readonly [timeMs: number, value: number] {
    this.#thin()
    return this.#readings.at(-1) ?? [0, Number.NaN]
  }

  /** As {@link Gauge} does. */
  encode(writer: Writer): void {
    this.#thin()
    const count = this.#count
    const isSummarised = count !== this.#readings.length
    writer.u8(COMBINES.indexOf(this.combine) | (isSummarised ? SUMMARISED : 0))
    writer.u8(this.#readings.length)
    let previousMs = 0
    for (const [timeMs, value] of this.#readings) {
      writer.varint(timeMs - previousMs)
      writer.f64(value)
      previousMs = timeMs
    }
    if (isSummarised) {
      writer.finite(count)
      writer.f64(this.#min)
      writer.f64(this.#max)
      writer.finite(this.#sum)
    }
  }

  clear(): void {
    this.#readings = []
    this.#count = this.#sum = 0
    this.#min = Number.POSITIVE_INFINITY
    this.#max = Number.NEGATIVE_INFINITY
  }

  /** Puts the readings in order of time, one for a second, the newest of them. */
  #thin(): void {
    this.#readings.sort((left, right) => left[0] - right[0])
    const seconds = new Map(this.#readings.map((reading) => [secondOf(reading[0]), reading]))
    this.#readings = [...seconds.values()].slice(-MAX_READINGS)
  }
}

function secondOf(timeMs: number): number {
  return Math.floor(timeMs / 1000)
}

/** What a live publisher sends of a combined gauge that was not set again: the value, still true at `timeMs`. */
export function encodeRepeat(writer: Writer, combine: Combine, value: number, timeMs: number): void {
  writer.u8(COMBINES.indexOf(combine) | REPEATED)
  writer.u8(1)
  writer.varint(timeMs)
  writer.f64(value)
}
