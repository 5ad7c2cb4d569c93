import type { DistributionRollup, GaugeRollup, Rollup, Window } from '../backend.ts'
import type { Batch } from '../batches.ts'
import type { Percentile } from '../percentiles.ts'
import { cleanName } from './names.ts'

/** Measurements that one series can become: a gauge keeps no more seconds than this. */
export const MOST_SECONDS = 64

/** Librato refuses a whole request for a number beyond it. */
const LARGEST = 1e126

/** What the samples of a second, or of a window, come to. */
interface Summary {
  count: number
  sum: number
  min: number
  max: number
}

export interface BatchShape {
  /** `metrics`: gauges with a source; `measurements`: with tags. */
  readonly api: 'metrics' | 'measurements'
  readonly percentiles: readonly Percentile[]
}

/** Measurements of one window, on their way into one post. */
export class LibratoBatch implements Batch {
  readonly #shape: BatchShape
  readonly #time: number
  readonly #measurements: object[] = []

  constructor({ end }: Window, shape: BatchShape) {
    this.#shape = shape
    this.#time = Math.floor(end)
  }

  get size(): number {
    return this.#measurements.length
  }

  /** The request's body. */
  body(): string {
    const { api } = this.#shape
    if (api === 'metrics') return JSON.stringify({ gauges: this.#measurements, counters: [] })
    return JSON.stringify({ time: this.#time, measurements: this.#measurements })
  }

  add(rollup: Rollup): void {
    switch (rollup.type) {
      case 'counter':
      case 'set':
        this.#value(rollup, '', rollup.value)
        break
      case 'meter':
        this.#value(rollup, '', rollup.count)
        for (const rate of ['m1', 'm5', 'm15'] as const) this.#value(rollup, `.${rate}`, rollup[rate])
        break
      case 'gauge':
        this.#gauge(rollup)
        break
      case 'timer':
      case 'histogram':
        this.#distribution(rollup)
        break
    }
  }

  /** Each second that was read has its measurement; one that several gauges share is summarised. */
  #gauge(rollup: GaugeRollup): void {
    if (rollup.readings.length === 0) {
      this.#value(rollup, '', rollup.value)
      return
    }
    const seconds = new Map<number, Summary>()
    for (const [time, value] of rollup.readings) {
      const second = Math.floor(time)
      const there = seconds.get(second)
      if (there === undefined) seconds.set(second, { count: 1, sum: value, min: value, max: value })
      else {
        there.count++
        there.sum += value
        there.min = Math.min(there.min, value)
        there.max = Math.max(there.max, value)
      }
    }
    const kept = seconds.size <= MOST_SECONDS ? [...seconds] : newest(seconds)
    for (const [second, summary] of kept) {
      if (summary.count === 1) this.#value(rollup, '', summary.sum, second)
      else this.#push(rollup, '', summaryOf(summary), second)
    }
  }

  #distribution(rollup: DistributionRollup): void {
    const { distribution, stddev } = rollup
    // known, and without data in this window
    if (distribution.count === 0) return
    const { percentiles, api } = this.#shape
    const squares = distribution.sumOfSquares
    const spread =
      api === 'measurements' ? { stddev: bounded(stddev) } : squares <= LARGEST ? { sum_squares: squares } : {}
    this.#push(rollup, '', { ...summaryOf(distribution), ...spread })
    const values = percentiles.length === 0 ? [] : distribution.quantiles(percentiles.map(({ quantile }) => quantile))
    percentiles.forEach(({ name }, index) => this.#value(rollup, `.${name}`, values[index] as number))
  }

  #value(rollup: Rollup, suffix: string, value: number, time: number = this.#time): void {
    this.#push(rollup, suffix, { value: bounded(value) }, time)
  }

  #push({ name, source, tags }: Rollup, suffix: string, figures: object, time: number = this.#time): void {
    const full = suffix === '' ? name : cleanName(name + suffix)
    this.#measurements.push(
      this.#shape.api === 'metrics'
        ? { name: full, source, measure_time: time, ...figures }
        : { name: full, tags, ...(time === this.#time ? {} : { time }), ...figures },
    )
  }
}

function newest(seconds: ReadonlyMap<number, Summary>): [number, Summary][] {
  return [...seconds].sort(([left], [right]) => left - right).slice(-MOST_SECONDS)
}

function summaryOf({ count, sum, min, max }: Summary): Summary {
  return { count: bounded(count), sum: bounded(sum), min: bounded(min), max: bounded(max) }
}

function bounded(value: number): number {
  return Math.min(LARGEST, Math.max(-LARGEST, value))
}
