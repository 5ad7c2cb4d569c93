import { afterEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../../client/clock.ts'
import { UsageError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import { Registry } from '../../../client/registry/index.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import { until } from '../../until.ts'

const open: Zibrato[] = []

afterEach(async () => {
  for (const z of open.splice(0)) await z.close()
})

function published(options: { flushInterval?: number } = {}): {
  registry: Registry
  clock: ManualClock
  metrics: MemoryMetrics
  z: Zibrato
} {
  const clock = new ManualClock()
  const registry = new Registry({ clock, source: 'shop', tags: { region: 'eu' } })
  const metrics = new MemoryMetrics()
  const z = new Zibrato({ registry, transport: metrics, ...options })
  open.push(z)
  return { registry, clock, metrics, z }
}

describe('a registry that a client publishes', () => {
  test('feeds both from one recording, and looking takes nothing away', async () => {
    const { registry, metrics, z } = published()
    const orders = registry.counter('orders')
    expect(z.counter('orders')).toBe(orders)
    const db = registry.timer('db')
    for (let round = 1; round <= 3; round++) {
      orders.inc(5)
      db.record(round)
      z.unique('users').add(round)
      registry.meter('hits').mark(2)
      registry.gauge('queue').set(round)
      expect(registry.statsOf(orders).value).toBe(5 * round)
      expect(registry.statsOf(db)).toMatchObject({ count: round, max: round, p999: round })
      await z.flush()
      expect(registry.statsOf(orders).value).toBe(5 * round)
      expect(registry.statsOf(db)).toMatchObject({ count: round, min: 1, max: round, p999: round })
      expect(registry.statsOf(registry.unique('users')).value).toBe(round)
      expect(registry.statsOf(registry.meter('hits')).count).toBe(2 * round)
      expect(registry.statsOf(registry.gauge('queue')).value).toBe(round)
    }
    const shop = { source: 'shop', tags: { region: 'eu' } }
    expect(metrics.sum('orders', shop)).toBe(15)
    expect(metrics.count('db', shop)).toBe(3)
    expect(metrics.distinct('users', shop)).toBe(3)
    expect(metrics.sum('hits', shop)).toBe(6)
    expect(metrics.last('queue', shop)).toBe(3)
  })

  test('knows what is recorded by other ways too: one-shot measurements, children, decorators', async () => {
    const { registry, metrics, z } = published()
    z.record({ type: 'counter', name: 'shots', value: 2 })
    z.child({ tags: { tenant: 't1' } })
      .counter('shots')
      .inc(3)
    z.wrapCounted(() => 1, { name: 'calls' })()
    expect(JSON.parse(JSON.stringify(registry.getStats()))).toEqual({
      shots: { value: 2, series: [{ source: 'shop', tags: { region: 'eu', tenant: 't1' }, value: 3 }] },
      calls: { value: 1 },
    })
    await z.flush()
    expect(metrics.sum('shots')).toBe(5)
  })

  test('refuses a client the same name for two types, and drops such one-shot measurements', () => {
    const { registry, z } = published()
    registry.counter('a')
    expect(() => z.timer('a')).toThrow(UsageError)
    expect(z.record({ type: 'timer', name: 'a', value: 1 })).toBe(false)
    expect(z.stats().dropped['invalid']).toBe(1)
  })

  test('reads rates and windows by when frames are made', async () => {
    const { registry, clock, z } = published()
    registry.meter('hits').mark(50)
    clock.advance(5_000)
    await z.flush()
    expect(registry.statsOf(registry.meter('hits')).m1).toBe(10)
  })

  test('sends what it held before it forgets it', () => {
    const { registry, metrics, z } = published()
    registry.counter('a').inc(3)
    z.record({ type: 'counter', name: 'a', value: 4 })
    registry.remove('a')
    expect(metrics.sum('a')).toBe(7)
    z.record({ type: 'counter', name: 'a', value: 5 })
    expect(registry.statsOf(registry.counter('a')).value).toBe(5)
    registry.clear()
    expect(metrics.sum('a')).toBe(12)
  })

  test('sends each measurement at once for a client without a flush interval', async () => {
    const { registry, metrics } = published({ flushInterval: 0 })
    registry.counter('a').inc(3)
    expect(metrics.sum('a')).toBe(3)
    expect(registry.statsOf(registry.counter('a')).value).toBe(3)
    registry.counter('b').inc()
    await until(() => metrics.sum('b') === 1)
  })

  test('is read alone again once its client is closed, and may then have another', async () => {
    const { registry, metrics, z } = published()
    const a = registry.counter('a')
    a.inc()
    expect(() => new Zibrato({ registry, transport: new MemoryMetrics() })).toThrow('a client publishes it already')
    await z.close()
    a.inc()
    expect(registry.statsOf(a).value).toBe(2)
    const others = new MemoryMetrics()
    await using next = new Zibrato({ registry, transport: others })
    a.inc()
    await next.flush()
    expect([metrics.sum('a'), others.sum('a'), registry.statsOf(a).value]).toEqual([1, 1, 3])
    expect(() => new Zibrato({ registry: new Registry(), transport: metrics, source: 'x' })).toThrow(
      'Zibrato: source belongs to the registry; give it to new Registry({ source }) instead',
    )
  })

  test('must be given to a client that sends at once before it has instruments', () => {
    const registry = new Registry()
    registry.counter('a')
    expect(() => new Zibrato({ registry, transport: new MemoryMetrics(), flushInterval: 0 })).toThrow(
      'give it to the client before the first of them is made',
    )
    expect(() => new Zibrato({ registry, url: 'tcp://127.0.0.1:1', format: 'text', exitHooks: false })).toThrow(
      'give it to the client before the first of them is made',
    )
  })
})

describe('a registry that takes in what other processes published', () => {
  test('adds their counters, merges their percentiles, and keeps what is its own', async () => {
    const registry = new Registry()
    registry.counter('a').inc()
    for (let process = 0; process < 4; process++) {
      const metrics = new MemoryMetrics()
      await using z = new Zibrato({ transport: metrics })
      z.counter('a').inc(10)
      for (let value = 1; value <= 100; value++) z.timer('db').record(value / 100)
      z.unique('users').add(process)
      z.unique('users').add('shared')
      z.meter('hits').mark(3)
      await z.flush()
      for (const frame of metrics.frames) expect(registry.takeIn(frame)).toBe(0)
    }
    const stats = JSON.parse(JSON.stringify(registry.getStats())) as Record<string, Record<string, number>>
    expect(stats['a']).toEqual({ value: 41 })
    expect(stats['users']).toEqual({ value: 5 })
    expect(stats['hits']).toMatchObject({ count: 12 })
    expect(stats['db']).toMatchObject({ count: 400, min: 0.01, max: 1 })
    expect(Math.abs((stats['db']?.['p50'] ?? 0) - 0.5)).toBeLessThan(0.005)
  })

  test('combines gauges as they say, with its own, and without those of a process that is gone', async () => {
    const clock = new ManualClock()
    const registry = new Registry({ clock })
    const publishers: string[] = []
    registry.gauge('sum', { combine: 'sum' }).set(100)
    for (const value of [1, 2, 3]) {
      const metrics = new MemoryMetrics()
      await using z = new Zibrato({ transport: metrics, clock })
      for (const combine of ['sum', 'min', 'max', 'last'] as const) z.gauge(combine, { combine }).set(value)
      clock.advance(1)
      await z.flush()
      for (const frame of metrics.frames) registry.takeIn(frame)
      publishers.push(metrics.frames[0]?.publisher ?? '')
    }
    const values = (): unknown => JSON.parse(JSON.stringify(registry.getStats()))
    expect(values()).toEqual({ sum: { value: 106 }, min: { value: 1 }, max: { value: 3 }, last: { value: 3 } })
    registry.forget(publishers[0] ?? '')
    expect(values()).toEqual({ sum: { value: 105 }, min: { value: 2 }, max: { value: 3 }, last: { value: 3 } })
    clock.advance(60_000)
    expect(values()).toMatchObject({ sum: { value: 100 }, min: { value: null }, last: { value: 3 } })
  })

  test('leaves out, and counts, what has the name of another type', async () => {
    const registry = new Registry()
    registry.counter('a').inc()
    const metrics = new MemoryMetrics()
    await using z = new Zibrato({ transport: metrics })
    z.timer('a').record(1)
    z.counter('b').inc()
    await z.flush()
    expect(metrics.frames.reduce((left, frame) => left + registry.takeIn(frame), 0)).toBe(1)
    expect(JSON.parse(JSON.stringify(registry.getStats()))).toEqual({ a: { value: 1 }, b: { value: 1 } })
  })

  test('folds what is over its bound into the overflow series', async () => {
    const registry = new Registry({ maxSeries: 1 })
    const metrics = new MemoryMetrics()
    await using z = new Zibrato({ transport: metrics })
    for (const name of ['a', 'b', 'c']) z.counter(name).inc()
    await z.flush()
    for (const frame of metrics.frames) registry.takeIn(frame)
    const { zibrato } = registry.getStats<{ zibrato: { overflow: { counter: { value: number } } } }>()
    expect(zibrato.overflow.counter.value).toBe(2)
  })
})
