import type { Type } from '../client/wire/series.ts'
import type { DistributionRollup, Rollup, Window } from './backend.ts'

/**
 * A rollup as plain JSON, for backends that write objects. `time` is the window's end and `interval` its length, both in
 * seconds; what follows `tags` depends on the type:
 *
 * ```
 * counter           value rate total
 * gauge             value min max mean count readings
 * timer, histogram  count rate sum min max mean stddev p50 p75 ...
 * meter             count rate m1 m5 m15
 * set               value
 * ```
 */
export interface RollupRecord {
  readonly time: number
  readonly interval: number
  readonly type: Type
  readonly name: string
  readonly source: string
  readonly tags: Readonly<Record<string, string>>
  readonly [figure: string]: unknown
}

/** One rollup of a window as {@link RollupRecord}; its keys are in the order shown there. */
export function recordOf(window: Pick<Window, 'start' | 'end'>, rollup: Rollup): RollupRecord {
  const { type, name, source, tags } = rollup
  const time = window.end
  // fractions of a second that are not powers of two leave noise in the difference
  const interval = Math.round((window.end - window.start) * 1000) / 1000
  // written out, because spreading the common part takes ten times as long
  switch (rollup.type) {
    case 'counter': {
      const { value, rate, total } = rollup
      return { time, interval, type, name, source, tags, value, rate, total }
    }
    case 'gauge': {
      const { value, min, max, mean, count, readings } = rollup
      return { time, interval, type, name, source, tags, value, min, max, mean, count, readings }
    }
    case 'timer':
    case 'histogram': {
      const { count, rate, sum, min, max, mean, stddev } = rollup
      const figures = { time, interval, type, name, source, tags, count, rate, sum, min, max, mean, stddev }
      return addPercentiles(figures, rollup)
    }
    case 'meter': {
      const { count, rate, m1, m5, m15 } = rollup
      return { time, interval, type, name, source, tags, count, rate, m1, m5, m15 }
    }
    case 'set':
      return { time, interval, type, name, source, tags, value: rollup.value }
  }
}

/** The percentiles that a timer or histogram carries, in its own order. */
export function percentilesOf(rollup: DistributionRollup): Record<`p${number}`, number> {
  return addPercentiles({}, rollup)
}

function addPercentiles<T extends object>(to: T, rollup: DistributionRollup): T & Record<`p${number}`, number> {
  const all = to as T & Record<`p${number}`, number>
  for (const key in rollup) {
    if (isPercentile(key)) (all as Record<`p${number}`, number>)[key] = rollup[key] as number
  }
  return all
}

function isPercentile(key: string): key is `p${number}` {
  const digit = key.charCodeAt(1)
  return key.charCodeAt(0) === 112 && digit >= 48 && digit <= 57
}
