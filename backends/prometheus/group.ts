import { Distribution } from '../../client/sketch/distribution.ts'
import type { Rollup, Window } from '../backend.ts'
import { saturated } from '../../client/sketch/saturated.ts'
import { bucketCounts } from './buckets.ts'
import type { Family, Metric, Shape } from './family.ts'

/** A family of a group, and the names that it has and no other can have beside it. */
export interface Claim {
  readonly group: Group
  readonly family: Family
  /** Where the values of its metrics begin among those of a series. */
  readonly offset: number
}

/** The series of one type whose samples have the same names. */
export class Group {
  /** What all those names begin with. */
  readonly base: string
  /** Type and name as they were measured; of several names the first. */
  readonly type: Rollup['type']
  readonly original: string
  readonly shape: Shape
  readonly claims: readonly Claim[]
  /** By their labels, as text. */
  readonly series: Map<string, PromSeries> = new Map()
  /** Whether a counter or meter ever went down: then its totals are no counters to Prometheus. */
  goesDown = false

  constructor(base: string, { type, name }: Pick<Rollup, 'type' | 'name'>, shape: Shape) {
    this.base = base
    this.type = type
    this.original = name
    this.shape = shape
    let offset = 0
    this.claims = shape.families.map((family) => {
      const claim = { group: this, family, offset }
      offset += family.metrics.length
      return claim
    })
  }
}

/** What is known of one series: its numbers after the newest window it had data in. */
export class PromSeries {
  /** Type, name, source and tags as they were measured. */
  readonly key: string
  /** As they stand between braces. */
  readonly labels: string
  readonly group: Group
  /** One for each metric of its shape. */
  readonly values: number[]
  /** All values of a timer or histogram, where native histograms are made. */
  readonly native: Distribution | undefined
  /** End of the newest window, seconds since the epoch. */
  end = 0
  /** When that came, by the registry's clock. */
  heardMs = 0
  /** Whether a negative value ever came, which takes the meaning from a sum as a counter. */
  isNegative = false
  /** What the values were before a window that does not follow on the one before; undefined when it does. */
  former: { readonly values: readonly number[]; readonly native: Distribution | undefined } | undefined

  constructor(key: string, labels: string, group: Group) {
    this.key = key
    this.labels = labels
    this.group = group
    this.values = group.shape.metrics.map(({ adds }) => (adds ? 0 : Number.NaN))
    this.native = group.shape.isNative ? new Distribution() : undefined
  }

  /** Takes the series' rollup of a window; once, however often it comes. */
  take(rollup: Rollup, { start, end }: Pick<Window, 'start' | 'end'>, keepsFormer: boolean): void {
    if (end <= this.end) return
    if (keepsFormer) this.former = this.end === start ? undefined : this.#formerly(rollup)
    this.end = end
    const { metrics, bounds } = this.group.shape
    const counts = bounds !== undefined && 'distribution' in rollup ? bucketCounts(rollup.distribution, bounds) : []
    for (let index = 0; index < metrics.length; index++) {
      const { adds, read } = metrics[index] as Metric
      const value = read(rollup, counts)
      this.values[index] = adds ? saturated((this.values[index] as number) + value) : value
    }
    if (rollup.type === 'counter') this.group.goesDown ||= rollup.value < 0 || rollup.total < 0
    else if (rollup.type === 'meter') this.group.goesDown ||= rollup.count < 0
    else if (rollup.type === 'timer' || rollup.type === 'histogram') {
      this.isNegative ||= rollup.min < 0
      this.native?.merge(rollup.distribution)
    }
  }

  #formerly(rollup: Rollup): PromSeries['former'] {
    let native: Distribution | undefined
    if (this.native !== undefined) (native = new Distribution()).merge(this.native)
    // the total alone is known without having seen what came before
    const values = rollup.type === 'counter' ? [rollup.total - rollup.value] : this.values.slice()
    return { values, native }
  }
}
