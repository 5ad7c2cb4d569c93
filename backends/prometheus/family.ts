import type { CounterRollup, DistributionRollup, GaugeRollup, MeterRollup, Rollup, SetRollup } from '../backend.ts'
import { percentilesOf } from '../record.ts'
import { boundText, quantileOf } from '../../client/prometheus.ts'

/** What timers and histograms become. */
export type Timers = 'summary' | 'histogram' | 'both' | 'native'

/**
 * How long a number stays without new data: what only ever grows for long, so that its next increment is seen as one; a
 * gauge for minutes; what tells of a single window alone, such as a quantile, hardly longer than that.
 */
export type Life = 'cumulative' | 'gauge' | 'window'

/** One number of a series, of those that every series of its type has. */
export interface Metric {
  /** What the name of its sample ends with. */
  readonly suffix: string
  /** A label of its own. */
  readonly label: 'le' | 'quantile' | undefined
  readonly labelValue: string
  readonly life: Life
  /** Whether what is read is added to what was there. */
  readonly adds: boolean
  /** From a rollup, and, of timers and histograms, the counts up to each bound. NaN when it has none. */
  readonly read: (rollup: Rollup, counts: readonly number[]) => number
}

/** Samples that are told of together, under one name and type. */
export interface Family {
  /** What its name ends with. */
  readonly suffix: string
  /** The same in OpenMetrics, where that of a counter is no part of it. */
  readonly openSuffix: string
  readonly type: 'counter' | 'gauge' | 'summary' | 'histogram'
  readonly unit: 'seconds' | ''
  /** What it is, in words, after type and name. */
  readonly about: string
  readonly metrics: readonly Metric[]
}

/** What all series of a type become. */
export interface Shape {
  /** In the order in which they are told of. */
  readonly families: readonly Family[]
  /** Of all families, one after the other. */
  readonly metrics: readonly Metric[]
  /** Upper bounds that values are counted up to; undefined when they are not. */
  readonly bounds: readonly number[] | undefined
  /** Whether all values are kept, for a native histogram. */
  readonly isNative: boolean
}

export interface ShapeOptions {
  readonly timers: Timers
  /** Upper bounds for timers, ascending. */
  readonly timerBounds: readonly number[]
  /** Upper bounds for histograms, ascending. */
  readonly histogramBounds: readonly number[]
}

/** The shapes of all types; each is made once. */
export class Shapes {
  readonly #options: ShapeOptions
  readonly #made = new Map<string, Shape>()

  constructor(options: ShapeOptions) {
    this.#options = options
  }

  of(rollup: Rollup): Shape {
    const isDistribution = rollup.type === 'timer' || rollup.type === 'histogram'
    const percentiles = isDistribution ? (Object.keys(percentilesOf(rollup)) as `p${number}`[]) : []
    const key = `${rollup.type} ${percentiles.join()}`
    let shape = this.#made.get(key)
    if (shape === undefined) this.#made.set(key, (shape = this.#make(rollup.type, percentiles)))
    return shape
  }

  #make(type: Rollup['type'], percentiles: readonly `p${number}`[]): Shape {
    const { timers, timerBounds, histogramBounds } = this.#options
    const isDistribution = type === 'timer' || type === 'histogram'
    const bounds = type === 'timer' ? timerBounds : histogramBounds
    const families = isDistribution ? distribution(type, timers, bounds, percentiles) : plain(type)
    const metrics = families.flatMap((family) => family.metrics)
    const isCounted = metrics.some(({ label }) => label === 'le')
    const isNative = isDistribution && timers === 'native'
    return { families, metrics, bounds: isCounted ? bounds : undefined, isNative }
  }
}

function plain(type: Exclude<Rollup['type'], 'timer' | 'histogram'>): Family[] {
  switch (type) {
    case 'counter':
      return [counter(false, ({ total }: CounterRollup) => total)]
    case 'meter':
      return [
        counter(true, ({ count }: MeterRollup) => count),
        gauge('_m1', ', per second over 1 minute', 'gauge', ({ m1 }: MeterRollup) => m1),
        gauge('_m5', ', per second over 5 minutes', 'gauge', ({ m5 }: MeterRollup) => m5),
        gauge('_m15', ', per second over 15 minutes', 'gauge', ({ m15 }: MeterRollup) => m15),
      ]
    case 'gauge':
      return [gauge('', '', 'gauge', ({ value }: GaugeRollup) => value)]
    case 'set':
      return [gauge('', ', distinct members of one window', 'window', ({ value }: SetRollup) => value)]
  }
}

function distribution(
  type: 'timer' | 'histogram',
  timers: Timers,
  bounds: readonly number[],
  percentiles: readonly `p${number}`[],
): Family[] {
  const unit = type === 'timer' ? 'seconds' : ''
  const about = unit === '' ? '' : ' in seconds'
  const family = (familyType: Family['type'], metrics: readonly Metric[]): Family => {
    return { suffix: '', openSuffix: '', type: familyType, unit, about, metrics }
  }
  const sumAndCount = [
    metric('_sum', ({ sum }: DistributionRollup) => sum, { life: 'cumulative', adds: true }),
    // the last bucket's where there are any, so that both are equal to the last bit
    metric('_count', ({ count }: DistributionRollup, counts) => counts.at(-1) ?? count, {
      life: 'cumulative',
      adds: true,
    }),
  ]
  switch (timers) {
    case 'native':
      // its samples are no numbers, but have a name and a life as others do
      return [family('histogram', [metric('', () => Number.NaN, { life: 'cumulative' })])]
    case 'summary':
      return [family('summary', [...quantiles('', percentiles), ...sumAndCount])]
    case 'histogram':
      return [family('histogram', [...buckets(bounds), ...sumAndCount])]
    case 'both': {
      const suffix = '_quantile'
      return [
        family('histogram', [...buckets(bounds), ...sumAndCount]),
        { ...family('summary', quantiles(suffix, percentiles)), suffix, openSuffix: suffix, unit: '' },
      ]
    }
  }
}

function buckets(bounds: readonly number[]): Metric[] {
  return [...bounds, Infinity].map((bound, index) =>
    metric('_bucket', (_: Rollup, counts) => counts[index] as number, {
      label: 'le',
      labelValue: boundText(bound),
      life: 'cumulative',
      adds: true,
    }),
  )
}

/** The percentiles that rollups carry, between their least and greatest value. */
function quantiles(suffix: string, percentiles: readonly `p${number}`[]): Metric[] {
  const keys = new Map<number, `p${number}` | 'min' | 'max'>()
  for (const percentile of percentiles) {
    const quantile = quantileOf(percentile)
    if (quantile !== undefined) keys.set(quantile, percentile)
  }
  keys.set(0, 'min').set(1, 'max')
  return [...keys]
    .sort(([left], [right]) => left - right)
    .map(([quantile, key]) =>
      metric(suffix, (rollup: DistributionRollup) => (rollup.count === 0 ? Number.NaN : (rollup[key] ?? Number.NaN)), {
        label: 'quantile',
        labelValue: boundText(quantile),
        life: 'window',
      }),
    )
}

function counter<R>(adds: boolean, read: (rollup: R) => number): Family {
  const metrics = [metric('_total', read, { life: 'cumulative', adds })]
  return { suffix: '_total', openSuffix: '', type: 'counter', unit: '', about: '', metrics }
}

function gauge<R>(suffix: string, about: string, life: Life, read: (rollup: R) => number): Family {
  return { suffix, openSuffix: suffix, type: 'gauge', unit: '', about, metrics: [metric(suffix, read, { life })] }
}

/** @param read from a rollup of the shape's type, the only ones that come */
function metric<R>(
  suffix: string,
  read: (rollup: R, counts: readonly number[]) => number,
  rest: Pick<Metric, 'life'> & Partial<Metric>,
): Metric {
  return { suffix, label: undefined, labelValue: '', adds: false, read: read as Metric['read'], ...rest }
}
