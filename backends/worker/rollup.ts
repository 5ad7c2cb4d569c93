import { typeOf } from '../../client/sketch/aggregate.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { Gauge } from '../../client/sketch/gauge.ts'
import { Members } from '../../client/sketch/members.ts'
import { Reader, Writer } from '../../client/wire/bytes.ts'
import { decodeKey } from '../../client/wire/frame.ts'
import { TYPE_CODE, parseKey } from '../../client/wire/series.ts'
import type { DistributionRollup, Rollup } from '../backend.ts'
import type { Rates } from '../../client/sketch/rates.ts'
import { saturated } from '../../client/sketch/saturated.ts'

export const DEFAULT_PERCENTILES: readonly number[] = [0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999]

/** How long rollups are decoded at a stretch before other work gets its turn, ms, and after how many that is looked at. */
const SLICE_MS = 5
const SLICE = 64

/** Stands for a distribution without values, which has no encoding of its own; its flags never have this value. */
const IDLE = 0xff

/** `0.999` is called `p999`. */
export function percentileName(quantile: number): `p${number}` {
  const digits = (quantile * 100).toFixed(6).replace(/\.?0+$/, '')
  return `p${digits.replace('.', '')}` as `p${number}`
}

/**
 * Writes one shard's window for the outbox: version u8, start and end (seconds) f64, then per series its type u8, key, and
 * what the rollup is made from. The aggregates travel whole, so that a backend that takes buckets gets them after a
 * restart too.
 */
export class WindowEncoder {
  readonly #writer = new Writer(4096)
  count = 0

  begin(start: number, end: number): void {
    this.#writer.reset()
    this.#writer.u8(1)
    this.#writer.f64(start)
    this.#writer.f64(end)
    this.count = 0
  }

  bytes(): Uint8Array {
    return this.#writer.bytes()
  }

  counter(key: Uint8Array, value: number, total: number): void {
    const writer = this.#entry(TYPE_CODE.counter, key)
    writer.f64(value)
    writer.f64(total)
  }

  meter(key: Uint8Array, count: number, { m1, m5, m15 }: Rates): void {
    const writer = this.#entry(TYPE_CODE.meter, key)
    for (const value of [count, m1, m5, m15]) writer.f64(value)
  }

  /** @param combined the value when it is no single reading's */
  gauge(key: Uint8Array, gauge: Gauge, value: number, combined: boolean): void {
    const writer = this.#entry(TYPE_CODE.gauge, key)
    writer.f64(value)
    writer.u8((combined ? 1 : 0) | (gauge.length > 0 ? 2 : 0))
    if (gauge.length > 0) gauge.encode(writer)
  }

  distribution(type: number, key: Uint8Array, distribution: Distribution): void {
    distribution.encode(this.#entry(type, key))
  }

  /** A timer or histogram that is known and had no data. */
  idleDistribution(type: number, key: Uint8Array): void {
    this.#entry(type, key).u8(IDLE)
  }

  set(key: Uint8Array, members: Members): void {
    members.encode(this.#entry(TYPE_CODE.set, key))
  }

  #entry(type: number, key: Uint8Array): Writer {
    this.count++
    this.#writer.u8(type)
    this.#writer.sized(key)
    return this.#writer
  }
}

/** Reads what a {@link WindowEncoder} wrote, in slices of a few milliseconds. */
export async function decodeWindow(
  bytes: Uint8Array,
  percentiles: readonly number[],
): Promise<{ start: number; end: number; rollups: Rollup[] }> {
  const reader = new Reader(bytes)
  const version = reader.u8()
  if (version !== 1) throw new Error(`outbox: an entry has version ${version}; it was written by a newer zibrato`)
  const start = reader.f64()
  const end = reader.f64()
  const names = percentiles.map((quantile): [`p${number}`, number] => [percentileName(quantile), quantile])
  const rollups: Rollup[] = []
  // small windows come in a row: each gives way once
  let givenWay = Number.NEGATIVE_INFINITY
  while (reader.offset < bytes.length) {
    if (rollups.length % SLICE === 0 && performance.now() - givenWay > SLICE_MS) {
      await new Promise((resolve) => setImmediate(resolve))
      givenWay = performance.now()
    }
    rollups.push(decodeRollup(reader, end, end - start, names))
  }
  return { start, end, rollups }
}

function decodeRollup(
  reader: Reader,
  end: number,
  interval: number,
  percentiles: readonly (readonly [`p${number}`, number])[],
): Rollup {
  const code = reader.u8()
  const type = typeOf(code)
  // named one by one: spreading an object costs more than decoding it
  const { name, source, tags } = parseKey(type, decodeKey(reader.sized()))
  switch (type) {
    case 'counter': {
      const value = reader.f64()
      return { type, name, source, tags, value, rate: saturated(value / interval), total: reader.f64() }
    }
    case 'meter': {
      const count = reader.f64()
      return {
        type,
        name,
        source,
        tags,
        count,
        rate: saturated(count / interval),
        m1: reader.f64(),
        m5: reader.f64(),
        m15: reader.f64(),
      }
    }
    case 'gauge': {
      const value = reader.f64()
      const flags = reader.u8()
      const gauge = new Gauge()
      if ((flags & 2) !== 0) Gauge.decode(reader, gauge)
      const { count, min, max, sum } = gauge
      const readings: (readonly [number, number])[] =
        (flags & 1) !== 0 ? [[end, value]] : gauge.readings().map(([timeMs, read]) => [timeMs / 1000, read] as const)
      // when the value was only said again, there was nothing new to summarise
      if (count === 0) return { type, name, source, tags, value, min: value, max: value, mean: value, count, readings }
      return { type, name, source, tags, value, min, max, mean: saturated(sum / count), count, readings }
    }
    case 'set': {
      const members = new Members()
      // an idle one: no frame holds a set without members, so reading such is left to this
      if (reader.source[reader.offset] === 0 && reader.source[reader.offset + 1] === 0) reader.skip(2)
      else Members.decode(reader, members)
      return { type, name, source, tags, value: members.size, members }
    }
    default: {
      const distribution = new Distribution()
      if (reader.source[reader.offset] === IDLE) reader.skip(1)
      else Distribution.decode(reader, distribution)
      return { type, name, source, tags, ...summarise(distribution, interval, percentiles), distribution }
    }
  }
}

export function summarise(
  distribution: Distribution,
  interval: number,
  percentiles: readonly (readonly [`p${number}`, number])[],
): Omit<DistributionRollup, keyof Rollup | 'distribution'> &
  Pick<DistributionRollup, 'count' | 'rate' | 'sum' | 'min' | 'max' | 'mean' | 'stddev'> {
  const { count, sum, min, max, sumOfSquares } = distribution
  if (count === 0) {
    const idle: Record<`p${number}`, number> = Object.fromEntries(percentiles.map(([name]) => [name, 0]))
    return { count, rate: 0, sum: 0, min: 0, max: 0, mean: 0, stddev: 0, ...idle }
  }
  const mean = saturated(sum / count)
  const quantiles = distribution.quantiles(percentiles.map(([, quantile]) => quantile))
  const named: Record<`p${number}`, number> = {}
  percentiles.forEach(([name], index) => (named[name] = quantiles[index] as number))
  // rounding can leave a difference of equals below zero
  const stddev = Math.sqrt(Math.max(0, saturated(sumOfSquares / count) - saturated(mean * mean)))
  return { count, rate: saturated(count / interval), sum, min, max, mean, stddev, ...named }
}
