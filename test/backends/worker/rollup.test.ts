import { describe, expect, it } from 'vitest'
import type { GaugeRollup } from '../../../backends/backend.ts'
import { Rates } from '../../../client/sketch/rates.ts'
import { DEFAULT_PERCENTILES, WindowEncoder, decodeWindow, percentileName } from '../../../backends/worker/rollup.ts'
import { Gauge } from '../../../client/sketch/gauge.ts'
import { Members } from '../../../client/sketch/members.ts'
import { utf8 } from '../../../client/wire/bytes.ts'
import { TYPE_CODE, seriesKey } from '../../../client/wire/series.ts'
import { distributionOf, membersOf } from './frames.ts'

const START = 1_700_000_000
const key = utf8(seriesKey('näme', 'web', { region: 'eu', __proto__x: '1' }))
const identity = { name: 'näme', source: 'web' }

function encoded(write: (encoder: WindowEncoder) => void, interval = 10): Uint8Array {
  const encoder = new WindowEncoder()
  encoder.begin(START, START + interval)
  write(encoder)
  return encoder.bytes()
}

describe('the name of a percentile', () => {
  it.each([
    [0.5, 'p50'],
    [0.95, 'p95'],
    [0.99, 'p99'],
    [0.999, 'p999'],
    [0.9999, 'p9999'],
    [0.125, 'p125'],
    [0.1, 'p10'],
    [0.05, 'p5'],
    [0.29, 'p29'],
    [0.57, 'p57'],
  ])('of %s is %s', (quantile, name) => {
    expect(percentileName(quantile)).toBe(name)
  })
})

describe('an encoded window', () => {
  it('gives every type back as the rollup it was', async () => {
    const rates = new Rates()
    rates.advance(20, START + 10, 10)
    const gauge = new Gauge()
    gauge.set(3, START * 1000 + 1_500)
    gauge.set(5, START * 1000 + 2_500)
    const bytes = encoded((encoder) => {
      encoder.counter(key, 5, 50)
      encoder.meter(key, 20, rates)
      encoder.gauge(key, gauge, gauge.value, false)
      encoder.distribution(TYPE_CODE.timer, key, distributionOf([4, 1, 2, 3]))
      encoder.distribution(TYPE_CODE.histogram, key, distributionOf([7]))
      encoder.set(key, membersOf(['a', 'b', 'c']))
      expect(encoder.count).toBe(6)
    })
    const { start, end, rollups } = await decodeWindow(bytes, DEFAULT_PERCENTILES)
    expect([start, end]).toEqual([START, START + 10])
    expect(rollups).toMatchObject([
      { type: 'counter', value: 5, rate: 0.5, total: 50 },
      { type: 'meter', count: 20, rate: 2, m1: 2, m5: 2, m15: 2 },
      {
        type: 'gauge',
        value: 5,
        min: 3,
        max: 5,
        mean: 4,
        count: 2,
        readings: [
          [START + 1.5, 3],
          [START + 2.5, 5],
        ],
      },
      {
        type: 'timer',
        count: 4,
        rate: 0.4,
        sum: 10,
        min: 1,
        max: 4,
        mean: 2.5,
        stddev: Math.sqrt(1.25),
        p50: 2,
        p75: 3,
        p90: 4,
        p95: 4,
        p98: 4,
        p99: 4,
        p999: 4,
      },
      { type: 'histogram', count: 1, stddev: 0, p50: 7, p999: 7 },
      { type: 'set', value: 3 },
    ])
    for (const { name, source, tags } of rollups) {
      expect({ name, source, tags: { ...tags } }).toEqual({ ...identity, tags: { region: 'eu', __proto__x: '1' } })
    }
  })

  it('keeps the aggregates, for backends that take buckets', async () => {
    const values = Array.from({ length: 1_000 }, (_, index) => index / 7)
    const bytes = encoded((encoder) => {
      encoder.distribution(TYPE_CODE.timer, key, distributionOf(values))
      encoder.set(key, membersOf(values.map(String)))
    })
    const [timer, set] = (await decodeWindow(bytes, [])).rollups
    expect(timer?.type === 'timer' && timer.distribution.positive?.total).toBe(999)
    expect(set?.type === 'set' && set.members.size).toBe(1_000)
  })

  it('computes the percentiles that are asked for, and no others', async () => {
    const values = Array.from({ length: 60 }, (_, index) => index + 1)
    const bytes = encoded((encoder) => encoder.distribution(TYPE_CODE.timer, key, distributionOf(values)))
    const [rollup] = (await decodeWindow(bytes, [0.125, 0.9999])).rollups
    expect(rollup).toMatchObject({ p125: 8, p9999: 60 })
    expect(rollup).not.toHaveProperty('p50')
  })

  it('tells a combined gauge by one reading at its end, and its extremes by what was read', async () => {
    const gauge = new Gauge('sum')
    gauge.set(3, START * 1000)
    const bytes = encoded((encoder) => {
      encoder.gauge(key, gauge, 12, true)
      encoder.gauge(key, new Gauge('sum'), 9, true)
    })
    const [read, repeated] = (await decodeWindow(bytes, [])).rollups as GaugeRollup[]
    expect(read).toMatchObject({ value: 12, min: 3, max: 3, mean: 3, count: 1, readings: [[START + 10, 12]] })
    expect(repeated).toMatchObject({ value: 9, min: 9, max: 9, mean: 9, count: 0, readings: [[START + 10, 9]] })
  })

  it('holds sets without members, between others', async () => {
    const bytes = encoded((encoder) => {
      encoder.set(key, new Members())
      encoder.set(key, membersOf(['a']))
      encoder.set(key, new Members())
    })
    expect((await decodeWindow(bytes, [])).rollups).toMatchObject([{ value: 0 }, { value: 1 }, { value: 0 }])
  })

  it('has rates per second whatever its length', async () => {
    const write = (encoder: WindowEncoder): void => encoder.counter(key, 5, 5)
    expect((await decodeWindow(encoded(write, 0.25), [])).rollups).toMatchObject([{ rate: 20 }])
    expect((await decodeWindow(encoded(write, 60), [])).rollups).toMatchObject([{ rate: 5 / 60 }])
  })

  it('of a large shard gives way to other work while it is read', async () => {
    const distribution = distributionOf(Array.from({ length: 500 }, (_, index) => 1.1 ** index))
    const bytes = encoded((encoder) => {
      for (let index = 0; index < 2_000; index++) encoder.distribution(TYPE_CODE.timer, key, distribution)
    })
    let turns = 0
    let reading = true
    const count = (): void => {
      turns++
      if (reading) setImmediate(count)
    }
    setImmediate(count)
    expect((await decodeWindow(bytes, DEFAULT_PERCENTILES)).rollups).toHaveLength(2_000)
    reading = false
    expect(turns).toBeGreaterThan(3)
  })

  it('of a newer version is refused, and says why', async () => {
    const bytes = encoded(() => {})
    bytes[0] = 2
    await expect(decodeWindow(bytes, [])).rejects.toThrow(/version 2.*newer zibrato/)
  })
})
