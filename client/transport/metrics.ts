import { type Aggregate, Sum, createAggregate, mergeAggregate } from '../sketch/aggregate.ts'
import { Distribution } from '../sketch/distribution.ts'
import { Gauge } from '../sketch/gauge.ts'
import { Members } from '../sketch/members.ts'
import { type Series, TYPE_CODE, type Tags, type Type } from '../wire/series.ts'
import { MemoryTransport } from './memory.ts'

/** Which series to look at: those of the name that have at least these tags, and this source, type and level if given. */
export interface MetricsQuery {
  readonly tags?: Tags
  readonly source?: string
  readonly type?: Type
  readonly level?: string
}

/**
 * A transport that keeps what a client sends in memory, and answers what was measured: for the tests of instrumented
 * programs.
 *
 * ```ts
 * const metrics = new MemoryMetrics()
 * const z = new Zibrato({ transport: metrics })
 * checkout(z)
 * await z.flush()
 * assert.equal(metrics.sum('orders'), 1)
 * ```
 */
export class MemoryMetrics extends MemoryTransport {
  /** Adds up what counters, meters, timers and histograms of a name recorded; 0 when nothing was. */
  sum(name: string, query?: MetricsQuery): number {
    let sum = 0
    for (const aggregate of this.#all(name, query)) {
      if (aggregate instanceof Sum) sum += aggregate.value
      else if (!(aggregate instanceof Members)) sum += aggregate.sum
    }
    return sum
  }

  /** How many values timers, histograms and gauges of a name took. */
  count(name: string, query?: MetricsQuery): number {
    let count = 0
    for (const aggregate of this.#all(name, query)) {
      if (aggregate instanceof Distribution || aggregate instanceof Gauge) count += aggregate.count
    }
    return count
  }

  /** The newest reading of gauges of a name; undefined when there is none. */
  last(name: string, query?: MetricsQuery): number | undefined {
    const gauge = this.#merged(name, Gauge, 'gauge', query)
    return gauge === undefined || gauge.length === 0 ? undefined : gauge.value
  }

  /** A quantile, 0 to 1, over timers and histograms of a name; NaN when nothing was recorded. */
  quantile(name: string, q: number, query?: MetricsQuery): number {
    return this.#merged(name, Distribution, 'timer', query)?.quantile(q) ?? Number.NaN
  }

  /** Distinct members over sets of a name. */
  distinct(name: string, query?: MetricsQuery): number {
    return this.#merged(name, Members, 'set', query)?.size ?? 0
  }

  /** Every series seen, once. */
  series(): Series[] {
    const seen = new Map<string, Series>()
    for (const { entries } of this.frames) {
      for (const { series } of entries) seen.set(JSON.stringify(series), series)
    }
    return [...seen.values()]
  }

  /** Forgets everything. */
  reset(): void {
    this.frames.length = 0
  }

  *#all(name: string, query: MetricsQuery = {}): Generator<Aggregate> {
    for (const { level, entries } of this.frames) {
      if (query.level !== undefined && query.level !== level) continue
      for (const { series, aggregate } of entries) if (matches(series, name, query)) yield aggregate
    }
  }

  #merged<Kind extends Aggregate>(
    name: string,
    kind: new () => Kind,
    type: Type,
    query: MetricsQuery | undefined,
  ): Kind | undefined {
    let merged: Aggregate | undefined
    for (const aggregate of this.#all(name, query)) {
      if (!(aggregate instanceof kind)) continue
      merged ??= createAggregate(TYPE_CODE[type])
      mergeAggregate(merged, aggregate)
    }
    return merged as Kind | undefined
  }
}

function matches(series: Series, name: string, { tags = {}, source, type }: MetricsQuery): boolean {
  if (series.name !== name) return false
  if (source !== undefined && series.source !== source) return false
  if (type !== undefined && series.type !== type) return false
  return Object.entries(tags).every(([tag, value]) => value === undefined || series.tags[tag] === String(value))
}
