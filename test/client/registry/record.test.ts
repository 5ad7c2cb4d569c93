import { describe, expect, test } from 'vitest'
import { Distribution } from '../../../client/sketch/distribution.ts'
import { Gauge } from '../../../client/sketch/gauge.ts'
import type { Measurement } from '../../../client/measurement.ts'
import { observed } from '../observed.ts'

describe('record', () => {
  test('goes where the handle of the same name goes', async () => {
    const { z, metrics } = observed()
    z.counter('c', { level: 'crit', source: 's', tags: { a: 1 } }).inc()
    for (let times = 0; times < 3; times++) {
      expect(z.record({ type: 'counter', level: 'crit', source: 's', tags: { a: '1' }, name: 'c', value: 2 })).toBe(
        true,
      )
    }
    await z.flush()
    expect(metrics.series()).toHaveLength(1)
    expect(metrics.sum('c')).toBe(7)
    expect(z.stats().series).toBe(1)
  })

  test('takes every type, set also as unique', async () => {
    const { z, metrics } = observed()
    const types = ['counter', 'meter', 'gauge', 'timer', 'histogram', 'set', 'unique'] as const
    for (const type of types) expect(z.record({ type, name: type, value: 123 })).toBe(true)
    z.record({ type: 'set', name: 'set', value: 'u17' })
    z.record({ type: 'unique', name: 'set', value: 'u18' })
    await z.flush()
    expect(metrics.sum('counter')).toBe(123)
    expect(metrics.sum('meter')).toBe(123)
    expect(metrics.last('gauge')).toBe(123)
    expect(metrics.quantile('timer', 1)).toBe(123)
    expect(metrics.quantile('histogram', 1)).toBe(123)
    expect(metrics.distinct('set')).toBe(3)
    expect(metrics.distinct('unique')).toBe(1)
    expect(metrics.series().map(({ type }) => type)).not.toContain('unique')
  })

  test('weighs by 1 / rate what was sampled', async () => {
    const { z, metrics } = observed()
    z.record({ type: 'counter', name: 'c', value: 3, rate: 0.1 })
    z.record({ type: 'meter', name: 'm', value: 1, rate: 0.25 })
    z.record({ type: 'timer', name: 't', value: 2, rate: 0.5 })
    z.record({ type: 'timer', name: 't', value: 1 })
    z.record({ type: 'histogram', name: 'h', value: 2, rate: 0.5 })
    await z.flush()
    expect(metrics.sum('c')).toBeCloseTo(30)
    expect(metrics.sum('m')).toBe(4)
    expect(metrics.count('t')).toBe(3)
    expect(metrics.sum('t')).toBe(5)
    expect(metrics.quantile('t', 0.3)).toBe(1)
    expect(metrics.quantile('t', 0.5)).toBe(2)
    expect(metrics.count('h')).toBe(2)
  })

  test.each([
    ['s', 12],
    ['ms', 0.012],
    ['us', 0.000012],
    ['ns', 0.000000012],
  ] as const)('turns a timer of 12 %s into seconds', async (unit, seconds) => {
    const { z, metrics } = observed()
    z.record({ type: 'timer', name: 't', value: 12, unit })
    await z.flush()
    expect(metrics.sum('t')).toBe(seconds)
  })

  test('notes when a gauge was read, to the millisecond', async () => {
    const { z, metrics } = observed()
    z.record({ type: 'gauge', name: 'g', value: 1, timestamp: 1_700_000_000.123 })
    await z.flush()
    const gauge = metrics.frames[0]?.entries[0]?.aggregate as Gauge
    expect(gauge.readings()).toEqual([[1_700_000_000_123, 1]])
  })

  test.each<[string, unknown]>([
    ['no value', { type: 'counter', name: 'c' }],
    ['NaN', { type: 'counter', name: 'c', value: Number.NaN }],
    ['a text for a number', { type: 'gauge', name: 'c', value: '5' }],
    ['NaN as a member', { type: 'set', name: 'c', value: Number.NaN }],
    ['an object as a member', { type: 'set', name: 'c', value: {} }],
    ['no name', { type: 'counter', value: 1 }],
    ['an empty name', { type: 'counter', name: '', value: 1 }],
    ['a name that is no text', { type: 'counter', name: Object.create(null), value: 1 }],
    ['no type', { name: 'c', value: 1 }],
    ['an unknown type', { type: 'average', name: 'c', value: 1 }],
    ['a type of a prototype', { type: 'constructor', name: 'c', value: 1 }],
    ['a type that is a bigint', { type: 5n, name: 'c', value: 1 }],
    ['a rate of 0', { type: 'counter', name: 'c', value: 1, rate: 0 }],
    ['a rate over 1', { type: 'counter', name: 'c', value: 1, rate: 1.1 }],
    ['a rate whose weight no double holds', { type: 'timer', name: 'c', value: 1, rate: 1e-310 }],
    ['a rate that is a text', { type: 'counter', name: 'c', value: 1, rate: '1' }],
    ['an unknown unit', { type: 'timer', name: 'c', value: 1, unit: 'h' }],
    ['a unit of a prototype', { type: 'timer', name: 'c', value: 1, unit: 'toString' }],
    ['a unit that is no timer’s', { type: 'counter', name: 'c', value: 1, unit: 'ms' }],
    ['a timestamp in ms', { type: 'gauge', name: 'c', value: 1, timestamp: 1.7e13 }],
    ['a negative timestamp', { type: 'gauge', name: 'c', value: 1, timestamp: -1 }],
    ['a level with a bar', { type: 'counter', name: 'c', value: 1, level: 'a|b' }],
    ['a level that is no text', { type: 'counter', name: 'c', value: 1, level: 5 }],
    ['a source with a line break', { type: 'counter', name: 'c', value: 1, source: 'a\n' }],
    ['tags that are a list', { type: 'counter', name: 'c', value: 1, tags: ['a'] }],
    ['tags that are null', { type: 'counter', name: 'c', value: 1, tags: null }],
    ['a tag that is an object', { type: 'counter', name: 'c', value: 1, tags: { a: {} } }],
    ['null', null],
    ['undefined', undefined],
    ['a text', 'c:1|c'],
    ['a number', 5],
    ['a symbol', Symbol('s')],
  ])('refuses %s without throwing, counts it, and says so once', async (_, measurement) => {
    const { z, metrics, warnings } = observed()
    for (let times = 0; times < 2; times++) expect(z.record(measurement as Measurement)).toBe(false)
    z.record({ type: 'counter', name: 'good', value: 1 })
    await z.flush()
    expect(metrics.series().map(({ name }) => name)).toEqual(['good'])
    expect(z.stats().dropped).toEqual({ invalid: 2 })
    expect(warnings).toHaveLength(1)
  })

  test('complains of a thousand names at the most', () => {
    const { z, warnings } = observed()
    for (let index = 0; index < 1_500; index++) z.record({ type: 'counter', name: `n${index}`, value: Number.NaN })
    expect(warnings).toHaveLength(1_000)
    expect(z.stats().dropped).toEqual({ invalid: 1_500 })
  })

  test('goes on when it has seen more series than it remembers', async () => {
    const { z, metrics } = observed({ maxSeries: 20 })
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 100; index++) {
        z.record({ type: 'counter', name: `n${index % 15}`, value: 1, level: `l${index % 7}`, source: 's' })
      }
    }
    await z.flush()
    let sum = metrics.sum('zibrato.overflow')
    for (let index = 0; index < 15; index++) sum += metrics.sum(`n${index}`)
    expect(sum).toBe(300)
  })

  test('keeps as many weighted samples as there are', async () => {
    const { z, metrics } = observed()
    for (let index = 1; index <= 500; index++) z.record({ type: 'timer', name: 't', value: index, rate: 0.5 })
    await z.flush()
    const distribution = metrics.frames[0]?.entries[0]?.aggregate as Distribution
    expect(distribution.count).toBe(1_000)
    expect(Math.abs(distribution.quantile(0.5) - 250)).toBeLessThan(2.5)
  })
})
