import { DEFAULT_SOURCE } from '../../client/wire/series.ts'
import type {
  CounterRollup,
  DistributionRollup,
  GaugeRollup,
  MeterRollup,
  Rollup,
  SetRollup,
  Window,
} from '../backend.ts'
import { pacer } from '../../client/pace.ts'
import { type ExponentialHistogram, MOST_COUNTED, histogramOf, mergeHistograms } from './buckets.ts'
import type { Attributes, Metric, NumberPoint, Payload, Temporality } from './model.ts'
import { Streams } from './streams.ts'

/** Counters and meters of which it is kept when their counting began; about 200 bytes each. */
const MOST_TOTALS = 1_000_000
/** Counters that are known to go down. */
const MOST_FALLING = 100_000

export interface PointOptions {
  readonly temporality: Temporality
  /** Whether each reading of a gauge becomes a point, at its own time. */
  readonly readings: boolean
  /** Buckets of one sign that a histogram has at most. */
  readonly buckets: number
  /** Timers and histograms of which a running total is kept. */
  readonly histograms: number
}

interface Distributed {
  readonly histogram: ExponentialHistogram
  readonly sum: number
  readonly min: number
  readonly max: number
}

/** Turns rollups into data points. Where those are cumulative, it remembers what a rollup does not say. */
export class Points {
  readonly #options: PointOptions
  readonly #totals = new Streams<number>(MOST_TOTALS)
  readonly #histograms: Streams<Distributed>
  /** Names of counters and meters that went down; the oldest first. */
  readonly #falling = new Set<string>()

  constructor(options: PointOptions) {
    this.#options = options
    this.#histograms = new Streams(options.histograms)
  }

  /**
   * To be called before a window is converted: finds what goes down in it, because all series of one name are of one kind.
   */
  async begin({ rollups }: Window): Promise<void> {
    const breathe = pacer()
    for (const rollup of rollups) {
      if (fallsIn(rollup)) this.#noteFalling(rollup.name)
      const pause = breathe()
      if (pause !== undefined) await pause
    }
  }

  /** Adds what a rollup of the window becomes. Doing so again adds the same again. */
  add(rollup: Rollup, window: Window, payload: Payload): void {
    const attributes = attributesOf(rollup)
    switch (rollup.type) {
      case 'counter':
        return this.#counter(rollup, attributes, window, payload)
      case 'meter':
        return this.#meter(rollup, attributes, window, payload)
      case 'gauge':
        return this.#gauge(rollup, attributes, window, payload)
      case 'set':
        return this.#set(rollup, attributes, window, payload)
      case 'timer':
      case 'histogram':
        return this.#distribution(rollup, attributes, window, payload)
    }
  }

  #noteFalling(name: string): void {
    this.#falling.delete(name)
    this.#falling.add(name)
    for (const oldest of this.#falling) {
      if (this.#falling.size <= MOST_FALLING) return
      this.#falling.delete(oldest)
    }
  }

  #counter(rollup: CounterRollup, attributes: Attributes, window: Window, payload: Payload): void {
    const { name, value, total } = rollup
    const metric = this.#sum(name)
    const { start, end: time } = window
    if (this.#options.temporality === 'delta') {
      payload.number(metric, { attributes, start, time, value })
      return
    }
    const key = keyOf(rollup)
    // all of it was counted in this window
    const begins = total === value ? start : this.#totals.get(key)?.start
    if (begins !== undefined) this.#totals.set(key, { start: begins, end: time, state: total })
    payload.number(metric, { attributes, start: begins, time, value: total })
  }

  #meter(rollup: MeterRollup, attributes: Attributes, window: Window, payload: Payload): void {
    const { name, count } = rollup
    let point: NumberPoint = { attributes, start: window.start, time: window.end, value: count }
    if (this.#options.temporality === 'cumulative') {
      const key = keyOf(rollup)
      const stream = updated(this.#totals, key, count, window, (total) => finite(total + count))
      point = { ...point, start: stream.start, value: stream.state }
    }
    payload.number(this.#sum(name), point)
    for (const rate of ['m1', 'm5', 'm15'] as const) {
      const metric: Metric = { name: `${name}.${rate}`, unit: '1/s', kind: 'gauge', monotonic: false }
      payload.number(metric, { attributes, start: undefined, time: window.end, value: rollup[rate] })
    }
  }

  #gauge({ name, value, readings }: GaugeRollup, attributes: Attributes, window: Window, payload: Payload): void {
    const metric: Metric = { name, unit: '', kind: 'gauge', monotonic: false }
    if (!this.#options.readings || readings.length === 0) {
      payload.number(metric, { attributes, start: undefined, time: window.end, value })
      return
    }
    for (const [time, read] of readings) payload.number(metric, { attributes, start: undefined, time, value: read })
  }

  #set({ name, value }: SetRollup, attributes: Attributes, window: Window, payload: Payload): void {
    const metric: Metric = { name, unit: '', kind: 'gauge', monotonic: false }
    payload.number(metric, { attributes, start: undefined, time: window.end, value })
  }

  #distribution(rollup: DistributionRollup, attributes: Attributes, window: Window, payload: Payload): void {
    const { type, name, sum, min, max, distribution } = rollup
    const { buckets, temporality } = this.#options
    const metric: Metric = { name, unit: type === 'timer' ? 's' : '', kind: 'histogram', monotonic: false }
    const fresh: Distributed = { histogram: histogramOf(distribution, buckets), sum, min, max }
    const { start, state } =
      temporality === 'delta'
        ? { start: window.start, state: fresh }
        : updated(this.#histograms, keyOf(rollup), fresh, window, (total) => merged(total, fresh, buckets))
    const filled = state.histogram.count > 0
    payload.histogram(metric, {
      ...state.histogram,
      attributes,
      start,
      time: window.end,
      sum: filled && state.min < 0 ? undefined : state.sum,
      min: filled ? state.min : undefined,
      max: filled ? state.max : undefined,
    })
  }

  #sum(name: string): Metric {
    return { name, unit: '', kind: 'sum', monotonic: !this.#falling.has(name) }
  }
}

/**
 * The stream of a key with this window in it, once however often it is asked for. It begins anew where `merge` answers
 * undefined.
 */
function updated<State>(
  streams: Streams<State>,
  key: string,
  fresh: State,
  { start, end }: Window,
  merge: (state: State) => State | undefined,
): { start: number; state: State } {
  const known = streams.get(key)
  if (known !== undefined && known.end === end) return known
  const state = known === undefined ? undefined : merge(known.state)
  const stream =
    known === undefined || state === undefined ? { start, end, state: fresh } : { start: known.start, end, state }
  streams.set(key, stream)
  return stream
}

function merged(total: Distributed, fresh: Distributed, buckets: number): Distributed | undefined {
  // of nothing, least and greatest say nothing
  if (fresh.histogram.count === 0) return total
  if (total.histogram.count === 0) return fresh
  const sum = total.sum + fresh.sum
  if (total.histogram.count + fresh.histogram.count > MOST_COUNTED || !Number.isFinite(sum)) return undefined
  return {
    histogram: mergeHistograms(total.histogram, fresh.histogram, buckets),
    sum,
    min: Math.min(total.min, fresh.min),
    max: Math.max(total.max, fresh.max),
  }
}

function finite(total: number): number | undefined {
  return Number.isFinite(total) ? total : undefined
}

function fallsIn(rollup: Rollup): boolean {
  if (rollup.type === 'counter') return rollup.value < 0 || rollup.total < 0
  return rollup.type === 'meter' && rollup.count < 0
}

/** The tags, and the source under `source`; a tag of that name is called `tag_source`. */
function attributesOf({ source, tags }: Rollup): Attributes {
  const attributes: [string, string][] = source === DEFAULT_SOURCE ? [] : [['source', source]]
  for (const tag in tags) attributes.push([attributeName(tag, tags), tags[tag] as string])
  return attributes
}

function attributeName(tag: string, tags: Readonly<Record<string, string>>): string {
  if (tag !== 'source') return tag
  let name = `tag_${tag}`
  while (name in tags) name = `tag_${name}`
  return name
}

function keyOf({ type, name, source, tags }: Rollup): string {
  let key = `${type}\0${name}\0${source}`
  for (const tag in tags) key += `\0${tag}\0${tags[tag]}`
  return key
}
