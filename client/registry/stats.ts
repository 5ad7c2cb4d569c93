import type { Series, Type } from '../wire/series.ts'

/** The percentiles of timers and histograms, and the share of values that each is at or above. */
export const PERCENTILES = { p50: 0.5, p75: 0.75, p90: 0.9, p95: 0.95, p98: 0.98, p99: 0.99, p999: 0.999 } as const

export interface CounterStats {
  /** All increments less all decrements. */
  readonly value: number
}

export interface GaugeStats {
  /** The newest reading, or what several processes' combine to; NaN when there is none. */
  readonly value: number
}

export interface UniqueStats {
  /** Distinct members within the sliding window. */
  readonly value: number
}

export interface MeterStats {
  /** All events. */
  readonly count: number
  /** Exponentially weighted rates over 1, 5 and 15 minutes, per second, as of the last 5 s tick. */
  readonly m1: number
  readonly m5: number
  readonly m15: number
}

/** `count` and `sum` are of all values ever; the rest is of those within the sliding window, and NaN when there are none. */
export interface HistogramStats extends Readonly<Record<keyof typeof PERCENTILES, number>> {
  readonly count: number
  readonly sum: number
  readonly min: number
  readonly max: number
  readonly mean: number
  readonly stddev: number
}

/** In seconds. */
export interface TimerStats extends MeterStats, HistogramStats {}

/** What is known of a series, by its type. */
export interface StatsOf {
  readonly counter: CounterStats
  readonly meter: MeterStats
  readonly gauge: GaugeStats
  readonly timer: TimerStats
  readonly histogram: HistogramStats
  readonly set: UniqueStats
}

/** One series and what is known of it. `series` is the same object each time. */
export type SeriesStats = {
  [T in Type]: {
    readonly type: T
    readonly series: Series
    readonly stats: StatsOf[T]
    /** Of a counter or meter: whether it ever went down, as far as can be seen. */
    readonly wentDown: boolean
  }
}[Type]
