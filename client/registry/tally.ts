import type { Gauge as GaugeHandle } from '../instruments/gauge.ts'
import type { Instrument } from '../instruments/instrument.ts'
import { type Aggregate, Sum } from '../sketch/aggregate.ts'
import { Combined } from '../sketch/combined.ts'
import { Distribution } from '../sketch/distribution.ts'
import type { Gauge } from '../sketch/gauge.ts'
import { Members } from '../sketch/members.ts'
import type { Readings } from '../sketch/readings.ts'
import { saturated } from '../sketch/saturated.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import type { Series, Type } from '../wire/series.ts'
import { PERCENTILES, type SeriesStats, type StatsOf } from './stats.ts'
import { TickingRates } from './ticking.ts'
import { SlidingWindow } from './window.ts'

/** When something was recorded; ms on the registry's clock for durations. */
export interface Span {
  readonly sinceMs: number
  readonly nowMs: number
}

/** Who else than this process recorded it. */
export interface Origin {
  /** 16 hex digits. */
  readonly publisher: string
  /** How often it publishes, ms. */
  readonly spanMs: number
}

/** What a registry knows of one series: what was cleared from its handles, of all levels, and came from elsewhere. */
export abstract class Tally<T extends Type = Type> {
  /** Of the series: its type and key. */
  readonly id: string
  readonly type: T
  readonly series: Series
  /** Whether it has the registry's own source and tags. */
  readonly plain: boolean
  readonly handles: Instrument[] = []

  constructor(id: string, type: T, series: Series, plain: boolean) {
    this.id = id
    this.type = type
    this.series = series
    this.plain = plain
  }

  /** Takes what a handle recorded, which is about to be cleared. */
  abstract take(recorded: Instrument['recorded'], span: Span): void

  /** Takes what another process recorded. */
  abstract merge(aggregate: Aggregate, span: Span, origin: Origin): void

  /** Forgets what only counts while its process lives. */
  forget(_publisher: string): void {}

  /** What is known, with what its handles hold that was not cleared yet. */
  abstract read(nowMs: number): StatsOf[T]

  /** Writes what is known, but for what its handles hold. */
  abstract encode(writer: Writer): void

  /** Takes over what {@link encode} wrote. */
  abstract restore(reader: Reader): void

  get wentDown(): boolean {
    return false
  }

  stats(nowMs: number): SeriesStats {
    const { type, series, wentDown } = this
    return { type, series, stats: this.read(nowMs), wentDown } as SeriesStats
  }
}

/** A running sum. */
class Total {
  value = 0
  wentDown = false

  add(amount: number): void {
    this.value = saturated(this.value + amount)
    if (amount < 0) this.wentDown = true
  }

  encode(writer: Writer): void {
    writer.f64(this.value)
    writer.u8(this.wentDown ? 1 : 0)
  }

  restore(reader: Reader): void {
    this.value = reader.f64()
    this.wentDown = reader.u8() === 1
  }

  /** With what some handles still hold. */
  with(handles: readonly Instrument[]): number {
    let value = this.value
    for (const handle of handles) value += handle.recorded as number
    return saturated(value)
  }
}

class CounterTally extends Tally<'counter'> {
  readonly #total = new Total()

  take(recorded: Instrument['recorded']): void {
    this.#total.add(recorded as number)
  }

  merge(aggregate: Aggregate): void {
    this.#total.add((aggregate as Sum).value)
  }

  read(): StatsOf['counter'] {
    return { value: this.#total.with(this.handles) }
  }

  encode(writer: Writer): void {
    this.#total.encode(writer)
  }

  restore(reader: Reader): void {
    this.#total.restore(reader)
  }

  override get wentDown(): boolean {
    return this.#total.wentDown || this.handles.some(({ recorded }) => (recorded as number) < 0)
  }
}

class MeterTally extends Tally<'meter'> {
  readonly #total = new Total()
  readonly #rates: TickingRates

  constructor(id: string, series: Series, plain: boolean, nowMs: number) {
    super(id, 'meter', series, plain)
    this.#rates = new TickingRates(nowMs)
  }

  take(recorded: Instrument['recorded'], span: Span): void {
    this.#add(recorded as number, span)
  }

  merge(aggregate: Aggregate, span: Span): void {
    this.#add((aggregate as Sum).value, span)
  }

  read(nowMs: number): StatsOf['meter'] {
    const { m1, m5, m15 } = this.#rates.at(nowMs)
    return { count: this.#total.with(this.handles), m1, m5, m15 }
  }

  encode(writer: Writer): void {
    this.#total.encode(writer)
    this.#rates.encode(writer)
  }

  restore(reader: Reader): void {
    this.#total.restore(reader)
    this.#rates.restore(reader)
  }

  override get wentDown(): boolean {
    return this.#total.wentDown || this.handles.some(({ recorded }) => (recorded as number) < 0)
  }

  #add(count: number, { sinceMs, nowMs }: Span): void {
    this.#total.add(count)
    this.#rates.add(count, sinceMs, nowMs)
  }
}

class GaugeTally extends Tally<'gauge'> {
  #value = Number.NaN
  #timeMs = 0
  #others: Combined | undefined

  take(recorded: Instrument['recorded']): void {
    this.#newer(...(recorded as Readings).newest)
  }

  merge(aggregate: Aggregate, { nowMs }: Span, { publisher, spanMs }: Origin): void {
    const gauge = aggregate as Gauge
    if (gauge.combine === 'last') {
      this.#newer(gauge.time, gauge.value)
      return
    }
    this.#others ??= new Combined(gauge.combine)
    this.#others.combine = gauge.combine
    this.#others.hear(publisher, gauge.value, gauge.time, nowMs, spanMs)
  }

  override forget(publisher: string): void {
    this.#others?.forget(publisher)
  }

  read(nowMs: number): StatsOf['gauge'] {
    for (const handle of this.handles) {
      ;(handle as unknown as GaugeHandle).observeNow()
      this.#newer(...(handle.recorded as Readings).newest)
    }
    return { value: this.#others?.value(nowMs, this.#value) ?? this.#value }
  }

  encode(writer: Writer): void {
    writer.f64(this.#value)
    writer.f64(this.#timeMs)
    writer.u8(this.#others === undefined ? 0 : 1)
    this.#others?.encode(writer)
  }

  restore(reader: Reader): void {
    this.#value = reader.f64()
    this.#timeMs = reader.f64()
    this.#others = reader.u8() === 1 ? Combined.decode(reader) : undefined
  }

  #newer(timeMs: number, value: number): void {
    // no reading has the time 0
    if (timeMs === 0 || timeMs < this.#timeMs) return
    this.#timeMs = timeMs
    this.#value = value
  }
}

class SetTally extends Tally<'set'> {
  readonly #window: SlidingWindow<Members>

  constructor(id: string, series: Series, plain: boolean, windowMs: number) {
    super(id, 'set', series, plain)
    this.#window = new SlidingWindow(() => new Members(), windowMs)
  }

  take(recorded: Instrument['recorded'], { nowMs }: Span): void {
    this.#window.current(nowMs).merge(recorded as Members)
  }

  merge(aggregate: Aggregate, { nowMs }: Span): void {
    this.#window.current(nowMs).merge(aggregate as Members)
  }

  read(nowMs: number): StatsOf['set'] {
    const members = new Members()
    for (const held of this.#window.held(nowMs)) members.merge(held)
    for (const { recorded } of this.handles) members.merge(recorded as Members)
    return { value: members.size }
  }

  encode(writer: Writer): void {
    this.#window.encode(writer)
  }

  restore(reader: Reader): void {
    this.#window.restore(reader, (from, into) => Members.decode(from, into))
  }
}

const QUANTILES = Object.values(PERCENTILES)

// where what a window holds is added up, over and over
const scratch = new Distribution()

/** All that some hold, valid until the next call; of one alone it is that one. */
function allOf(parts: readonly Distribution[]): Distribution {
  if (parts.length === 1) return parts[0] as Distribution
  scratch.clear()
  for (const part of parts) scratch.merge(part)
  return scratch
}

abstract class DistributionTally<T extends 'timer' | 'histogram'> extends Tally<T> {
  readonly #window: SlidingWindow<Distribution>
  #count = 0
  #sum = 0

  constructor(id: string, type: T, series: Series, plain: boolean, windowMs: number) {
    super(id, type, series, plain)
    this.#window = new SlidingWindow(() => new Distribution(), windowMs)
  }

  take(recorded: Instrument['recorded'], span: Span): void {
    this.add(recorded as Distribution, span)
  }

  merge(aggregate: Aggregate, span: Span): void {
    this.add(aggregate as Distribution, span)
  }

  encode(writer: Writer): void {
    writer.f64(this.#count)
    writer.f64(this.#sum)
    this.#window.encode(writer)
  }

  restore(reader: Reader): void {
    this.#count = reader.f64()
    this.#sum = reader.f64()
    this.#window.restore(reader, (from, into) => Distribution.decode(from, into))
  }

  protected add(distribution: Distribution, { nowMs }: Span): void {
    this.#count += distribution.count
    this.#sum = saturated(this.#sum + distribution.sum)
    this.#window.current(nowMs).merge(distribution)
  }

  protected readWindow(nowMs: number): StatsOf['histogram'] {
    let count = this.#count
    let sum = this.#sum
    const parts = [...this.#window.held(nowMs)]
    for (const { recorded } of this.handles) {
      const distribution = recorded as Distribution
      if (distribution.count === 0) continue
      count += distribution.count
      sum = saturated(sum + distribution.sum)
      parts.push(distribution)
    }
    const all = allOf(parts)
    const [p50, p75, p90, p95, p98, p99, p999] = all.quantiles(QUANTILES) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    if (all.count === 0) {
      const none = Number.NaN
      return { count, sum, min: none, max: none, mean: none, stddev: none, p50, p75, p90, p95, p98, p99, p999 }
    }
    const { min, max } = all
    const mean = saturated(all.sum / all.count)
    // rounding can leave a difference of equals below zero
    const variance = Math.max(0, saturated(all.sumOfSquares / all.count) - saturated(mean * mean))
    return { count, sum, min, max, mean, stddev: Math.sqrt(variance), p50, p75, p90, p95, p98, p99, p999 }
  }
}

class HistogramTally extends DistributionTally<'histogram'> {
  read(nowMs: number): StatsOf['histogram'] {
    return this.readWindow(nowMs)
  }
}

class TimerTally extends DistributionTally<'timer'> {
  readonly #rates: TickingRates

  constructor(id: string, series: Series, plain: boolean, windowMs: number, nowMs: number) {
    super(id, 'timer', series, plain, windowMs)
    this.#rates = new TickingRates(nowMs)
  }

  read(nowMs: number): StatsOf['timer'] {
    const { m1, m5, m15 } = this.#rates.at(nowMs)
    return { m1, m5, m15, ...this.readWindow(nowMs) }
  }

  override encode(writer: Writer): void {
    super.encode(writer)
    this.#rates.encode(writer)
  }

  override restore(reader: Reader): void {
    super.restore(reader)
    this.#rates.restore(reader)
  }

  protected override add(distribution: Distribution, span: Span): void {
    super.add(distribution, span)
    this.#rates.add(distribution.count, span.sinceMs, span.nowMs)
  }
}

/** An empty tally. */
export function createTally(id: string, series: Series, plain: boolean, windowMs: number, nowMs: number): Tally {
  switch (series.type) {
    case 'counter':
      return new CounterTally(id, 'counter', series, plain)
    case 'meter':
      return new MeterTally(id, series, plain, nowMs)
    case 'gauge':
      return new GaugeTally(id, 'gauge', series, plain)
    case 'set':
      return new SetTally(id, series, plain, windowMs)
    case 'histogram':
      return new HistogramTally(id, 'histogram', series, plain, windowMs)
    case 'timer':
      return new TimerTally(id, series, plain, windowMs, nowMs)
  }
}
