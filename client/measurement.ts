import type { Tags, Type } from './wire/series.ts'

/** One recorded value before aggregation; the same in code and in HTTP JSON. */
export interface Measurement<Level extends string = string> {
  readonly type: Type | 'unique'
  readonly name: string
  /** A member of a set may be a text; everything else is a finite number. */
  readonly value: number | string
  readonly level?: Level | undefined
  readonly source?: string | undefined
  readonly tags?: Tags | undefined
  /** Seconds since the epoch at which a gauge was read. Default: now. */
  readonly timestamp?: number | undefined
  /** The share of events that were measured, over 0 up to 1: what is left out is estimated. Default 1. */
  readonly rate?: number | undefined
  /** Unit of a timer's value. Default `s`. */
  readonly unit?: TimeUnit | undefined
}

export type TimeUnit = 's' | 'ms' | 'us' | 'ns'

/** Of each unit, how many are a second. */
export const PER_SECOND: Readonly<Record<TimeUnit, number>> = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 }
