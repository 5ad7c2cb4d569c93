import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../client/clock.ts'
import { InvalidMeasurementError, UsageError } from '../../../client/errors.ts'
import {
  type MeterStats,
  Registry,
  type RegistryOptions,
  type TimerStats,
  clear,
  counter,
  defaultRegistry,
  gauge,
  getStats,
  histogram,
  meter,
  remove,
  timer,
  unique,
} from '../../../client/registry/index.ts'

const MINUTE_MS = 60_000

function turned(options: RegistryOptions = {}): { registry: Registry; clock: ManualClock } {
  const clock = new ManualClock()
  return { registry: new Registry({ clock, ...options }), clock }
}

/** As JSON has it: without the null prototypes. */
function plain(stats: object): unknown {
  return JSON.parse(JSON.stringify(stats))
}

function percentiles(p50: number, p75: number, above: number): Record<string, number> {
  return { p50, p75, p90: above, p95: above, p98: above, p99: above, p999: above }
}

describe('a registry', () => {
  test('gives the same instrument for the same name, and another registry another', () => {
    const { registry } = turned()
    expect(registry.timer('some.timer')).toBe(registry.timer('some.timer'))
    expect(registry.counter('a', { tags: { x: 1 } })).toBe(registry.counter('a').with({ x: 1 }))
    expect(turned().registry.timer('some.timer')).not.toBe(registry.timer('some.timer'))
  })

  test.each(['counter', 'meter', 'timer', 'histogram', 'gauge', 'unique'] as const)(
    'refuses a %s under the name of another type, and names both',
    (type) => {
      const { registry } = turned()
      registry[type]('a.b')
      const other = type === 'counter' ? 'timer' : 'counter'
      expect(() => registry[other]('a.b')).toThrow(UsageError)
      expect(() => registry[other]('a.b', { tags: { x: 1 } })).toThrow(
        `registry: "a.b" is a ${type} already and cannot be a ${other} too; use another name for one of them`,
      )
      expect(registry[type]('a.b')).toBe(registry[type]('a.b'))
    },
  )

  test('refuses names that no series may have, and options that make no sense', () => {
    const { registry } = turned()
    expect(() => registry.counter('')).toThrow(InvalidMeasurementError)
    expect(() => new Registry({ window: 0 })).toThrow('registry: a window of 0 holds nothing')
    expect(() => new Registry({ maxSeries: 0 })).toThrow('registry: maxSeries 0 makes no sense')
    expect(() => new Registry({ source: 'a\nb' })).toThrow('registry: source')
    expect(() => new Registry({ level: 'a|b' })).toThrow('registry: level')
  })

  test('answers what every type of instrument has to say, nested by the dots of names', () => {
    const { registry, clock } = turned()
    registry.counter('my.orders').inc(5)
    registry.counter('my.orders').dec(2)
    registry.meter('my.events').mark(10)
    registry.gauge('my.queue').set(0)
    registry.gauge('my.heap', () => 12)
    registry.unique('my.users').add('u1')
    registry.unique('my.users').add('u2')
    for (const value of [1, 2, 3, 4]) registry.histogram('my.size').record(value)
    registry.timer('my.timer').recordMs(250)
    clock.advance(5_000)
    expect(plain(registry.getStats())).toEqual({
      my: {
        orders: { value: 3 },
        events: { count: 10, m1: 2, m5: 2, m15: 2 },
        queue: { value: 0 },
        heap: { value: 12 },
        users: { value: 2 },
        size: {
          count: 4,
          sum: 10,
          min: 1,
          max: 4,
          mean: 2.5,
          stddev: Math.sqrt(1.25),
          ...percentiles(2, 3, 4),
        },
        timer: {
          count: 1,
          m1: 0.2,
          m5: 0.2,
          m15: 0.2,
          sum: 0.25,
          min: 0.25,
          max: 0.25,
          mean: 0.25,
          stddev: 0,
          ...percentiles(0.25, 0.25, 0.25),
        },
      },
    })
  })

  test('types what the caller knows of its names', () => {
    const { registry } = turned()
    registry.timer('my.timer').record(1)
    const count: number = registry.getStats<{ my: { timer: TimerStats } }>().my.timer.count
    expect(count).toBe(1)
    const stats: MeterStats = registry.statsOf(registry.meter('hits'))
    expect(stats.count).toBe(0)
    expect(registry.statsOf(registry.timer('my.timer')).p99).toBe(1)
    expect(() => registry.statsOf(turned().registry.counter('a'))).toThrow('"a" is no instrument of it')
  })

  test('answers the same in slices', async () => {
    const { registry } = turned()
    for (let index = 0; index < 300; index++) registry.histogram(`h.${index % 7}.${index}`).record(index)
    expect(plain(await registry.getStatsAsync())).toEqual(plain(registry.getStats()))
  })

  test('says of values that nobody recorded lately that there are none, as null in JSON', () => {
    const { registry } = turned()
    const { count, min, p99 } = registry.statsOf(registry.histogram('size'))
    expect({ count, min, p99 }).toEqual({ count: 0, min: Number.NaN, p99: Number.NaN })
    expect(registry.statsOf(registry.gauge('g'))).toEqual({ value: Number.NaN })
    expect(plain(registry.getStats())).toMatchObject({ size: { count: 0, p99: null }, g: { value: null } })
  })

  test('lets percentiles decay without traffic, and keeps counts', () => {
    const { registry, clock } = turned()
    const size = registry.histogram('size')
    size.record(1000)
    registry.tick()
    clock.advance(3 * MINUTE_MS)
    for (let index = 0; index < 9; index++) size.record(1)
    expect(registry.statsOf(size)).toMatchObject({ count: 10, max: 1000, p50: 1, p999: 1000 })
    clock.advance(2 * MINUTE_MS)
    expect(registry.statsOf(size)).toMatchObject({ count: 10, sum: 1009, max: 1, p999: 1 })
    clock.advance(3 * MINUTE_MS)
    expect(registry.statsOf(size)).toMatchObject({ count: 10, sum: 1009, max: Number.NaN, p50: Number.NaN })
  })

  test('counts distinct members of the window', () => {
    const { registry, clock } = turned({ window: '1m' })
    const users = registry.unique('users')
    users.add('a')
    users.add('b')
    registry.tick()
    clock.advance(40_000)
    users.add('b')
    expect(registry.statsOf(users).value).toBe(2)
    clock.advance(30_000)
    expect(registry.statsOf(users).value).toBe(1)
    clock.advance(MINUTE_MS)
    expect(registry.statsOf(users).value).toBe(0)
  })

  test('holds no value longer than its window, and none shorter than four fifths of it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ afterMs: fc.nat(30_000), value: fc.integer({ min: 1, max: 1000 }) }), { minLength: 1 }),
        (steps) => {
          const { registry, clock } = turned({ window: '1m' })
          const size = registry.histogram('size')
          const recorded: { atMs: number; value: number }[] = []
          for (const { afterMs, value } of steps) {
            clock.advance(afterMs)
            registry.tick()
            size.record(value)
            recorded.push({ atMs: clock.now(), value })
            const { max } = registry.statsOf(size)
            const since = (ageMs: number): number[] =>
              recorded.filter(({ atMs }) => clock.now() - atMs < ageMs).map((each) => each.value)
            expect(max).toBeGreaterThanOrEqual(Math.max(...since(48_000)))
            expect(max).toBeLessThanOrEqual(Math.max(...since(MINUTE_MS)))
          }
        },
      ),
    )
  })

  test('moves rates in ticks of 5 s, as Tapes does, whenever one looks', () => {
    const { registry, clock } = turned()
    const hits = registry.meter('hits')
    // what Tapes' meter answers for 60 marks, then a minute of none
    let expected = 12
    hits.mark(60)
    expect(registry.statsOf(hits)).toEqual({ count: 60, m1: 0, m5: 0, m15: 0 })
    clock.advance(5_000)
    registry.tick()
    expect(registry.statsOf(hits).m1).toBe(12)
    for (let tick = 0; tick < 12; tick++) {
      clock.advance(5_000)
      expected -= expected * (1 - Math.exp(-5 / 60))
      if (tick % 5 === 0) registry.tick()
    }
    expect(registry.statsOf(hits).m1).toBeCloseTo(expected, 9)
    hits.mark(30)
    clock.advance(5_000)
    expected += (6 - expected) * (1 - Math.exp(-5 / 60))
    expect(registry.statsOf(hits).m1).toBeCloseTo(expected, 9)
  })

  test('reads a gauge’s function whenever somebody looks, and outlives its errors', () => {
    const { registry, clock } = turned()
    let value = 1
    const heap = registry.gauge('heap', () => value)
    expect(registry.statsOf(heap).value).toBe(1)
    value = 2
    expect(registry.statsOf(heap).value).toBe(2)
    clock.advance(1)
    registry.gauge('heap', {
      read: () => {
        throw new Error('no')
      },
    })
    expect(registry.statsOf(heap).value).toBe(2)
    expect(registry.dropped).toEqual({ observer: 1 })
    registry.gauge('heap', { read: () => 3 })
    expect(registry.statsOf(heap).value).toBe(3)
  })

  test('lists what has other tags or sources than itself beside the numbers of the name', () => {
    const { registry } = turned({ tags: { region: 'eu' }, source: 'shop' })
    const hits = registry.counter('hits')
    hits.inc()
    hits.with({ status: 200 }).inc(2)
    registry.counter('hits', { source: 'other' }).inc(3)
    expect(plain(registry.getStats())).toEqual({
      hits: {
        value: 1,
        series: [
          { source: 'shop', tags: { region: 'eu', status: '200' }, value: 2 },
          { source: 'other', tags: { region: 'eu' }, value: 3 },
        ],
      },
    })
  })

  test('adds the levels of a series up, which are no part of it', () => {
    const { registry } = turned()
    registry.counter('a').inc()
    registry.counter('a', { level: 'crit' }).inc(2)
    expect(plain(registry.getStats())).toEqual({ a: { value: 3 } })
    expect(registry.size).toBe(1)
  })

  test('puts a dot before what follows a name that has a number, or its list, there already', () => {
    const { registry } = turned()
    registry.counter('a.value.value').inc(1)
    registry.counter('a.value').inc(2)
    registry.counter('a.b').inc(3)
    registry.counter('a').inc(4)
    registry.counter('a.series').inc(5)
    registry.counter('a').with({ x: 1 }).inc(6)
    registry.counter('.a').inc(7)
    registry.counter('a..value').inc(8)
    expect(plain(registry.getStats())).toEqual({
      a: {
        value: 4,
        series: [{ source: 'not_specified', tags: { x: '1' }, value: 6 }],
        '.value': { value: 2, '.value': { value: 1 } },
        b: { value: 3 },
        '.series': { value: 5 },
        '': { value: { value: 8 } },
      },
      '': { a: { value: 7 } },
    })
  })

  test('is polluted by no name and no tag', () => {
    const { registry } = turned()
    for (const name of [
      '__proto__',
      '__proto__.polluted',
      'constructor.prototype.polluted',
      'a.__proto__',
      'toString',
    ]) {
      registry.counter(name).inc(7)
    }
    registry
      .counter('a.__proto__')
      .with({ ['__proto__']: 'x', constructor: 'y' })
      .inc()
    const stats = registry.getStats()
    expect(Object.keys(stats)).toEqual(['__proto__', 'toString', 'a', 'constructor'])
    expect((stats as unknown as Record<string, { polluted: { value: number } }>)['__proto__']?.polluted.value).toBe(7)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(Object.getPrototypeOf({})).toBe(Object.prototype)
    expect(JSON.stringify(stats)).toContain('"tags":{"__proto__":"x","constructor":"y"}')
  })

  test('keeps every series apart and whole, whatever names are', () => {
    const segment = fc.oneof(
      fc.constantFrom('a', 'value', 'series', 'count', '', '__proto__', 'constructor'),
      fc.string(),
    )
    const name = fc
      .array(segment, { minLength: 1, maxLength: 4 })
      .map((segments) =>
        segments
          .join('.')
          .replaceAll(/[\0\r\n]/g, '_')
          .toWellFormed(),
      )
      .filter((text) => text !== '')
    fc.assert(
      fc.property(fc.uniqueArray(name, { minLength: 1, maxLength: 20 }), (names) => {
        const { registry } = turned()
        names.forEach((each, index) => registry.counter(each).inc(index + 1))
        const found: number[] = []
        const collect = (node: unknown): void => {
          for (const [key, value] of Object.entries(node as object)) {
            if (key === 'value' && typeof value === 'number') found.push(value)
            else collect(value)
          }
        }
        collect(registry.getStats())
        expect(found.sort((left, right) => left - right)).toEqual(names.map((_, index) => index + 1))
      }),
    )
  })

  test('removes a name with all of its tags, and what is asked for then starts anew', () => {
    const { registry } = turned()
    const old = registry.counter('a')
    old.inc()
    old.with({ x: 1 }).inc()
    registry.counter('b').inc()
    expect(registry.remove('a')).toBe(true)
    expect(registry.remove('a')).toBe(false)
    old.inc()
    expect(plain(registry.getStats())).toEqual({ b: { value: 1 } })
    registry.timer('a').record(1)
    expect(registry.statsOf(registry.timer('a')).count).toBe(1)
    registry.clear()
    expect(plain(registry.getStats())).toEqual({})
    expect(registry.size).toBe(0)
    expect(registry.counter('a')).not.toBe(old)
  })

  test('folds what is over its bound into one series for each type', () => {
    const warnings: string[] = []
    const { registry } = turned({ maxSeries: 2, onWarning: ({ code }) => warnings.push(code) })
    for (const name of ['a', 'b', 'c', 'd']) registry.counter(name).inc()
    registry.timer('t').record(1)
    expect(plain(registry.getStats())).toMatchObject({
      a: { value: 1 },
      b: { value: 1 },
      zibrato: { overflow: { counter: { value: 2 }, timer: { count: 1 } } },
    })
    expect(warnings).toEqual(['ZIBRATO_SERIES_LIMIT'])
  })

  test('has a default one behind the functions of its module', () => {
    try {
      counter('c').inc()
      meter('m').mark()
      timer('t').record(1)
      histogram('h').record(1)
      gauge('g', () => 4)
      unique('u').add(1)
      expect(Object.keys(getStats())).toEqual(['c', 'm', 't', 'h', 'g', 'u'])
      expect(getStats<{ g: { value: number } }>().g.value).toBe(4)
      expect(defaultRegistry.counter('c')).toBe(counter('c'))
      expect(remove('c')).toBe(true)
    } finally {
      clear()
    }
    expect(plain(getStats())).toEqual({})
  })
})
