import type { Rollup } from '../../../backends/backend.ts'
import { DEFAULT_PERCENTILES, percentileName } from '../../../backends/worker/rollup.ts'
import { type EncodedKey, type Type, parseKey } from '../../../client/wire/series.ts'
import { seriesOf } from './owner.ts'

export interface Measured {
  readonly type: Type
  readonly key: EncodedKey
  readonly values: readonly number[]
  readonly timesMs: readonly number[]
}

interface Known {
  readonly type: Type
  readonly key: EncodedKey
  values: number[]
  timesMs: number[]
  total: number
  /** 1, 5 and 15 minutes; undefined before the first window. */
  rates: number[] | undefined
  endMs: number
  live: boolean
}

/** What rollups should be, computed from every single measurement, with none of the shard's means. */
export class Model {
  readonly #intervalMs: number
  readonly #series = new Map<string, Known>()

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
  }

  measure({ type, key, values, timesMs }: Measured): void {
    const id = seriesOf(parseKey(type, new TextDecoder().decode(key.bytes)))
    let known = this.#series.get(id)
    if (known === undefined) {
      known = { type, key, values: [], timesMs: [], total: 0, rates: undefined, endMs: 0, live: false }
      this.#series.set(id, known)
    }
    known.values.push(...values)
    known.timesMs.push(...timesMs)
  }

  /** The window's rollups by series; percentiles are exact. */
  commit(endMs: number): Map<string, Partial<Record<string, unknown>>> {
    const rollups = new Map<string, Partial<Record<string, unknown>>>()
    for (const [id, known] of this.#series) {
      if (known.values.length === 0 && !known.live) continue
      rollups.set(id, this.#rollup(known, endMs))
      known.values = []
      known.timesMs = []
    }
    return rollups
  }

  #rollup(known: Known, endMs: number): Partial<Record<string, unknown>> {
    const { type, values } = known
    const interval = this.#intervalMs / 1000
    const sum = values.reduce((all, value) => all + value, 0)
    if (type === 'counter') return { value: sum, rate: sum / interval, total: (known.total += sum) }
    if (type === 'set') return { value: new Set(values).size }
    if (type === 'meter') return this.#meter(known, sum, endMs)
    const extremes = {
      min: Math.min(...values),
      max: Math.max(...values),
      count: values.length,
      mean: sum / values.length,
    }
    if (type === 'gauge') {
      const seconds = new Map<number, [number, number]>()
      values.forEach((value, index) => {
        const timeMs = known.timesMs[index] as number
        const second = Math.floor(timeMs / 1000)
        const [keptMs, kept] = seconds.get(second) ?? [0, 0]
        if (timeMs > keptMs || (timeMs === keptMs && value > kept)) seconds.set(second, [timeMs, value])
      })
      const readings = [...seconds.values()].sort(([left], [right]) => left - right).slice(-64)
      return {
        ...extremes,
        value: readings.at(-1)?.[1],
        readings: readings.map(([timeMs, value]) => [timeMs / 1000, value]),
      }
    }
    const sorted = values.toSorted((left, right) => left - right)
    const quantiles = DEFAULT_PERCENTILES.map((q): [string, number] => [
      percentileName(q),
      sorted[Math.ceil(q * sorted.length - 1e-9) - 1] as number,
    ])
    return { ...extremes, sum, rate: values.length / interval, ...Object.fromEntries(quantiles) }
  }

  /** Ticks of 5 s, as Dropwizard and Tapes have them. */
  #meter(known: Known, count: number, endMs: number): Partial<Record<string, unknown>> {
    const rate = count / (this.#intervalMs / 1000)
    if (known.rates === undefined) {
      known.rates = [rate, rate, rate]
    } else {
      for (let timeMs = known.endMs + 5_000; timeMs <= endMs; timeMs += 5_000) {
        const current = timeMs > endMs - this.#intervalMs ? rate : 0
        known.rates = known.rates.map((mean, index) => {
          const minutes = [1, 5, 15][index] as number
          return mean + (current - mean) * (1 - Math.exp(-5 / 60 / minutes))
        })
      }
    }
    known.endMs = endMs
    const [m1, m5, m15] = known.rates as [number, number, number]
    known.live = Math.abs(m15) >= 1 / 900
    return { count, rate, m1, m5, m15 }
  }
}

/** Differences between what a shard emitted and what it should have; empty when there are none. */
export function differences(
  rollups: readonly Rollup[],
  expected: Map<string, Partial<Record<string, unknown>>>,
): string[] {
  const found: string[] = []
  const seen = new Set<string>()
  for (const rollup of rollups) {
    const id = seriesOf(rollup)
    if (seen.has(id)) found.push(`${id} came twice`)
    seen.add(id)
    const wanted = expected.get(id)
    if (wanted === undefined) {
      found.push(`${id} was not expected`)
      continue
    }
    for (const [figure, value] of Object.entries(wanted)) {
      const got = (rollup as unknown as Record<string, unknown>)[figure]
      if (!isSame(figure, got, value, Number(wanted['count']))) {
        found.push(`${id}.${figure}: ${JSON.stringify(got)} instead of ${JSON.stringify(value)}`)
      }
    }
  }
  for (const id of expected.keys()) if (!seen.has(id)) found.push(`${id} is missing`)
  return found
}

function isSame(figure: string, got: unknown, wanted: unknown, count: number): boolean {
  if (typeof wanted !== 'number') return JSON.stringify(got) === JSON.stringify(wanted)
  const error = Math.abs((got as number) - wanted)
  if (/^m\d/.test(figure)) return error <= 1e-9 * Math.max(1, Math.abs(wanted))
  if (/^p\d/.test(figure) && count > 64) return error <= 0.01 * Math.abs(wanted)
  if (figure === 'mean' || figure === 'rate') return error <= 1e-12 * Math.max(1, Math.abs(wanted))
  return error === 0
}
