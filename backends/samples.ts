import { Distribution } from '../client/sketch/distribution.ts'
import { Members } from '../client/sketch/members.ts'
import type { Series, Type } from '../client/wire/series.ts'
import type { Rollup, Window } from './backend.ts'

/** What the sample rollups are computed over, in seconds. */
export const SAMPLE_INTERVAL = 10

const START = 1_700_000_000
const PERCENTILES = { p50: 0.5, p75: 0.75, p90: 0.9, p95: 0.95, p98: 0.98, p99: 0.99, p999: 0.999 }
const NUMBERS = [8e307, -8e307, 5e-324, 2 ** 53, -(2 ** 53), 0.1 + 0.2, 1 / 3, -1e-9, 0]
// one rule of naming or quoting each that some target has
const TEXTS = [
  'with space',
  'dots.and-dashes_9',
  'slash/back\\slash',
  'a:b|c@d#e,f;g=h',
  '"double" \'single\' `back`',
  '{curly} [square] <angle>',
  '%41 %s $HOME ${x} &amp;',
  'tab\there',
  '\u001b[31mred',
  'größe',
  '温度',
  '🚀 ünï\u0301cödé',
  '\u202ereversed',
  '-0',
  '1e5',
  'null',
  '__proto__',
  'constructor',
  'n'.repeat(255),
]

/** A window of the sample interval; the first one unless `index` says which. */
export function sampleWindow(rollups: readonly Rollup[], index = 0): Window {
  const start = START + index * SAMPLE_INTERVAL
  return { start, end: start + SAMPLE_INTERVAL, rollups }
}

/** One rollup of each type, consistent in itself, as a worker makes them. */
export function rollupsOfEveryType(): Rollup[] {
  const tags = { route: '/pay', status: '200' }
  return [
    sampleRollup({ type: 'counter', name: 'orders', source: 'web', tags: {} }, [5]),
    sampleRollup({ type: 'meter', name: 'events', source: 'web', tags }, [120]),
    sampleRollup({ type: 'gauge', name: 'queue', source: 'web', tags: { host: 'a' } }, [3, 9, 4]),
    sampleRollup({ type: 'timer', name: 'db', source: 'web', tags }, [0.012, 0.034, 0.00005, 2.5]),
    sampleRollup({ type: 'histogram', name: 'size', source: 'not_specified', tags: {} }, [512, 0, -7, 90_000]),
    sampleRollup({ type: 'set', name: 'users', source: 'web', tags: {} }, [1, 2, 3]),
  ]
}

/** Counters and timers whose name, source, tag key and tag value are trouble somewhere. */
export function oddlyNamedRollups(): Rollup[] {
  return TEXTS.map((text, index) => {
    const type: Type = index % 2 === 0 ? 'counter' : 'timer'
    return sampleRollup({ type, name: text, source: text, tags: Object.fromEntries([[text.slice(0, 40), text]]) }, [
      index + 1,
    ])
  })
}

/** Counters, gauges and histograms of numbers at the ends of what a double holds. */
export function extremeRollups(): Rollup[] {
  return NUMBERS.flatMap((value, index) =>
    (['counter', 'gauge', 'histogram'] as const).map((type) =>
      sampleRollup({ type, name: `extreme.${index}`, source: 'web', tags: {} }, [value]),
    ),
  )
}

/** Counters, gauges and timers in turn, each a series of its own. */
export function manyRollups(count: number): Rollup[] {
  const types = ['counter', 'gauge', 'timer'] as const
  return Array.from({ length: count }, (_, index) => {
    const series = { type: types[index % 3] as Type, name: `many.${index}`, source: 'web', tags: { i: String(index) } }
    return sampleRollup(series, [index])
  })
}

/** The rollup of a series for the values measured in the first sample window; of a set, its members. */
export function sampleRollup(series: Series, values: readonly number[]): Rollup {
  const sum = values.reduce((total, value) => total + value, 0)
  const rate = sum / SAMPLE_INTERVAL
  switch (series.type) {
    case 'counter':
      return { ...series, type: series.type, value: sum, rate, total: sum * 2 }
    case 'meter':
      return { ...series, type: series.type, count: sum, rate, m1: rate, m5: rate / 2, m15: rate / 4 }
    case 'gauge':
      return {
        ...series,
        type: series.type,
        value: values.at(-1) as number,
        min: Math.min(...values),
        max: Math.max(...values),
        mean: sum / values.length,
        count: values.length,
        readings: values.map((value, index) => [START + index, value]),
      }
    case 'set': {
      const members = new Members()
      for (const value of values) members.add(String(value))
      return { ...series, type: series.type, value: members.size, members }
    }
    case 'timer':
    case 'histogram':
      return { ...series, type: series.type, ...figuresOf(values) }
  }
}

function figuresOf(values: readonly number[]) {
  const distribution = new Distribution()
  for (const value of values) distribution.add(value)
  const { count, sum, min, max } = distribution
  const mean = sum / count
  const spread = values.reduce((total, value) => total + (value - mean) ** 2, 0)
  const quantiles = distribution.quantiles(Object.values(PERCENTILES))
  const percentiles: Record<`p${number}`, number> = {}
  ;(Object.keys(PERCENTILES) as `p${number}`[]).forEach((name, index) => {
    percentiles[name] = quantiles[index] as number
  })
  const rate = count / SAMPLE_INTERVAL
  return { count, rate, sum, min, max, mean, stddev: Math.sqrt(spread / count), ...percentiles, distribution }
}
