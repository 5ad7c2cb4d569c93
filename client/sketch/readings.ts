import type { Writer } from '../wire/bytes.ts'
import type { GaugeReadings } from './aggregates.ts'
import { MAX_READINGS, SUMMARISED } from './combine.ts'

type Reading = [timeMs: number, value: number]

/**
 * What a gauge's handle records: its readings, at most one per second of the clock, the newest 64; and count, min, max and sum
 * of all that were made. Times are whole milliseconds since the epoch. Of two readings in a second the later stays, of two at
 * one time the one that came last. What merges and decodes them is `Gauge`, which programs that only record do without.
 */
export class Readings implements GaugeReadings<() => Writer> {
  #readings: Reading[] = []
  #count = 0
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY
  #sum = 0

  /** Takes a finite value read at a time; the caller has checked both. */
  add(value: number, timeMs: number): void {
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
  drain(entry: () => Writer, flags: number): void {
    this.#thin()
    const writer = entry()
    const count = this.#count
    const isSummarised = count !== this.#readings.length
    writer.u8(flags | (isSummarised ? SUMMARISED : 0))
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
    this.clear()
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
