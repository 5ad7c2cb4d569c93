import type { DistributionRollup, Rollup, Window } from '../backend.ts'
import type { Batch } from '../batches.ts'
import type { Percentile } from '../percentiles.ts'
import { cleanName } from './names.ts'
import { valuesText } from './points.ts'

/** Datadog's codes of types. */
const COUNT = 1
const GAUGE = 3

/** JSON of series on its way into one post; `size` is its length in characters. */
abstract class SeriesBatch implements Batch {
  readonly #parts: string[] = []
  /** Whole seconds: Datadog knows no less. */
  protected readonly time: number
  size = 0

  constructor({ end }: Window) {
    this.time = Math.floor(end)
  }

  abstract add(rollup: Rollup): void

  /** The request's body. */
  body(): string {
    return `{"series":[${this.#parts.join()}]}`
  }

  protected push(part: string): void {
    this.#parts.push(part)
    this.size += part.length + 1
  }
}

/** For `/api/v2/series`. */
export class MetricBatch extends SeriesBatch {
  readonly #interval: number
  readonly #percentiles: readonly Percentile[]

  constructor(window: Window, percentiles: readonly Percentile[]) {
    super(window)
    this.#interval = Math.max(1, Math.round(window.end - window.start))
    this.#percentiles = percentiles
  }

  add(rollup: Rollup): void {
    const tail = tailOf(rollup)
    const { name } = rollup
    switch (rollup.type) {
      case 'counter':
        this.#count(name, rollup.value, tail)
        break
      case 'gauge':
      case 'set':
        this.#gauge(name, rollup.value, tail)
        break
      case 'meter':
        this.#count(name, rollup.count, tail)
        for (const rate of ['m1', 'm5', 'm15'] as const) this.#gauge(cleanName(`${name}.${rate}`), rollup[rate], tail)
        break
      case 'timer':
      case 'histogram':
        this.#distribution(rollup, tail)
        break
    }
  }

  #distribution({ type, name, distribution, mean }: DistributionRollup, tail: string): void {
    const { count, sum, min, max } = distribution
    this.#count(cleanName(`${name}.count`), count, tail)
    this.#count(cleanName(`${name}.sum`), sum, tail)
    // known, and without data in this window
    if (count === 0) return
    const unit = type === 'timer' ? `,"unit":"second"${tail}` : tail
    this.#gauge(cleanName(`${name}.min`), min, unit)
    this.#gauge(cleanName(`${name}.max`), max, unit)
    this.#gauge(cleanName(`${name}.avg`), mean, unit)
    if (this.#percentiles.length === 0) return
    const values = distribution.quantiles(this.#percentiles.map(({ quantile }) => quantile))
    this.#percentiles.forEach((percentile, index) => {
      this.#gauge(cleanName(`${name}.${percentile.name}`), values[index] as number, unit)
    })
  }

  #count(metric: string, value: number, tail: string): void {
    this.#metric(metric, COUNT, value, `,"interval":${this.#interval}${tail}`)
  }

  #gauge(metric: string, value: number, tail: string): void {
    this.#metric(metric, GAUGE, value, tail)
  }

  // names hold nothing that JSON would escape
  #metric(metric: string, type: number, value: number, tail: string): void {
    this.push(`{"metric":"${metric}","type":${type},"points":[{"timestamp":${this.time},"value":${value}}]${tail}}`)
  }
}

/** For `/api/v1/distribution_points`. */
export class PointBatch extends SeriesBatch {
  readonly #mostValues: number

  constructor(window: Window, mostValues: number) {
    super(window)
    this.#mostValues = mostValues
  }

  add(rollup: Rollup): void {
    if (rollup.type !== 'timer' && rollup.type !== 'histogram') return
    const { name, source, distribution } = rollup
    if (distribution.count === 0) return
    const values = valuesText(distribution, this.#mostValues)
    const host = source === '' ? '' : `,"host":${JSON.stringify(source)}`
    this.push(
      `{"metric":"${name}","type":"distribution","points":[[${this.time},[${values}]]]${host}${tagsOf(rollup)}}`,
    )
  }
}

function tailOf(rollup: Rollup): string {
  const { source } = rollup
  return tagsOf(rollup) + (source === '' ? '' : `,"resources":[{"type":"host","name":${JSON.stringify(source)}}]`)
}

function tagsOf({ tags }: Rollup): string {
  const list = Object.keys(tags)
  return list.length === 0 ? '' : `,"tags":${JSON.stringify(list)}`
}
