import { describe, expect, test } from 'vitest'
import { Zibrato } from '../../../client/platform/node.ts'
import { ManualClock } from '../../../client/clock.ts'
import { UsageError } from '../../../client/errors.ts'
import type { Gauge as GaugeAggregate } from '../../../client/sketch/gauge.ts'
import { observed } from '../observed.ts'

const NO_NUMBERS: readonly [string, unknown][] = [
  ['NaN', Number.NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['a text', '5'],
  ['null', null],
  ['an object', {}],
  ['an object without a prototype', Object.create(null)],
  ['an array', [1]],
  ['a bigint', 5n],
  ['a symbol', Symbol('five')],
  ['a boolean', true],
  ['a function', () => 5],
]

describe('each instrument', () => {
  test('records what it is for', async () => {
    const { z, metrics } = observed()
    const orders = z.counter('orders')
    orders.inc()
    orders.inc(5)
    orders.dec()
    orders.dec(0.5)
    z.meter('events').mark()
    z.meter('events').mark(4)
    z.gauge('queue').set(7)
    z.timer('db').record(0.012)
    z.timer('db').recordMs(12)
    z.histogram('size').record(512)
    for (const member of ['u17', 'u18', 'u17', 17, 17n]) z.unique('users').add(member)
    await z.flush()
    expect(metrics.sum('orders')).toBe(4.5)
    expect(metrics.sum('events')).toBe(5)
    expect(metrics.last('queue')).toBe(7)
    expect(metrics.sum('db')).toBe(0.024)
    expect(metrics.count('db')).toBe(2)
    expect(metrics.quantile('size', 0.5)).toBe(512)
    expect(metrics.distinct('users')).toBe(3)
  })

  test('has the names of Zibrato 0.2 when it is given none', () => {
    const { z } = observed()
    expect([z.counter().name, z.timer().name, z.gauge().name]).toEqual(['default_counter', 'default_timer', 'default'])
    expect([z.histogram().name, z.meter().name, z.unique().name]).toEqual(['default', 'default', 'default'])
    expect(z.counter().source).toBe('not_specified')
    expect(z.counter().level).toBe('info')
  })

  test('starts anew after each frame', async () => {
    const { z, metrics } = observed()
    for (const round of [1, 2, 3]) {
      z.counter('c').inc(round)
      z.histogram('h').record(round)
      z.unique('u').add(`member ${round}`)
      await z.flush()
    }
    await z.flush()
    expect(metrics.frames.flatMap(({ entries }) => entries).length).toBe(9)
    expect(metrics.sum('c')).toBe(6)
    expect(metrics.count('h')).toBe(3)
    expect(metrics.distinct('u')).toBe(3)
  })

  test('is the same handle for the same series and level, and another for another', () => {
    const { z } = observed()
    const handle = z.counter('c', { tags: { a: '1', b: 2 }, source: 'web', level: 'debug' })
    expect(z.counter('c', { tags: { b: '2', a: 1 }, source: 'web', level: 'debug' })).toBe(handle)
    expect(z.counter('c', { tags: { b: '2', a: 1 }, source: 'web', level: 'info' })).not.toBe(handle)
    expect(z.counter('c', { tags: { b: '2' }, source: 'web', level: 'debug' })).not.toBe(handle)
    expect(z.meter('c')).not.toBe(z.counter('c'))
  })

  test.each(NO_NUMBERS)('drops %s, counts it and says so once', async (_, value) => {
    const { z, metrics, warnings } = observed()
    const number = value as number
    const recorders: [string, () => void][] = [
      ['counter', () => z.counter('counter').inc(number)],
      ['down', () => z.counter('down').dec(number)],
      ['meter', () => z.meter('meter').mark(number)],
      ['gauge', () => z.gauge('gauge').set(number)],
      ['timer', () => z.timer('timer').record(number)],
      ['timer.ms', () => z.timer('timer.ms').recordMs(number)],
      ['histogram', () => z.histogram('histogram').record(number)],
      ['scope', () => z.counter('scope').scope(number).stop()],
    ]
    for (const [, record] of recorders) for (let times = 0; times < 3; times++) expect(record).not.toThrow()
    await z.flush()
    expect(metrics.frames).toEqual([])
    expect(z.stats().dropped).toEqual({ value: 3 * recorders.length })
    expect(warnings.map(({ code }) => code)).toEqual(recorders.map(() => 'ZIBRATO_DROPPED'))
    for (const [name] of recorders) {
      expect(warnings.filter(({ message }) => message.includes(JSON.stringify(name)))).toHaveLength(1)
    }
  })

  test.each([Number.NaN, Infinity, null, undefined, {}, Symbol('u')])(
    'takes no member %s into a set',
    async (member) => {
      const { z, metrics } = observed()
      z.unique('users').add(member as string)
      await z.flush()
      expect(metrics.frames).toEqual([])
      expect(z.stats().dropped).toEqual({ value: 1 })
    },
  )

  test('survives a sum that no double holds, and takes no neighbour along', async () => {
    const { z, metrics } = observed()
    for (const tag of Array.from({ length: 64 }, (_, index) => index)) z.counter('fine', { tags: { tag } }).inc(2)
    for (const name of ['large', 'larger']) {
      z.counter(name).inc(Number.MAX_VALUE)
      z.counter(name).inc(Number.MAX_VALUE)
      z.meter(name).mark(-Number.MAX_VALUE)
      z.meter(name).mark(-Number.MAX_VALUE)
      z.histogram(name).record(Number.MAX_VALUE)
      z.histogram(name).record(Number.MAX_VALUE)
      z.gauge(name).set(Number.MAX_VALUE)
    }
    await z.flush()
    expect(metrics.sum('fine')).toBe(128)
    expect(metrics.sum('large', { type: 'counter' })).toBe(Number.MAX_VALUE)
    expect(metrics.sum('large', { type: 'meter' })).toBe(-Number.MAX_VALUE)
  })
})

describe('a gauge', () => {
  test('of 0 stays 0', async () => {
    const { z, metrics } = observed()
    z.gauge('queue').set(0)
    await z.flush()
    expect(metrics.last('queue')).toBe(0)
  })

  test('keeps the last of several readings in one millisecond', async () => {
    const { z, metrics } = observed({ clock: new ManualClock() })
    for (const value of [5, 9, 3]) z.gauge('queue').set(value)
    await z.flush()
    expect(metrics.last('queue')).toBe(3)
    expect(metrics.count('queue')).toBe(3)
  })

  test('notes when it was read', async () => {
    const clock = new ManualClock(1_700_000_000_000)
    const { z, metrics } = observed({ clock })
    z.gauge('queue').set(1)
    clock.advance(2_500)
    z.gauge('queue').set(2)
    z.gauge('queue').setAt(0.5, 1_699_999_000_000)
    await z.flush()
    const [entry] = metrics.frames[0]?.entries ?? []
    expect((entry?.aggregate as GaugeAggregate | undefined)?.readings()).toEqual([
      [1_699_999_000_000, 0.5],
      [1_700_000_000_000, 1],
      [1_700_000_002_500, 2],
    ])
  })

  test.each([Number.NaN, -1, 1e16])('refuses the time %d', async (time) => {
    const { z, metrics } = observed()
    z.gauge('queue').setAt(1, time)
    await z.flush()
    expect(metrics.frames).toEqual([])
  })

  test('may record elsewhere while it is observed, also where each measurement leaves at once', async () => {
    const { z, metrics } = observed({ flushInterval: 0 })
    const reads = z.counter('reads')
    for (let index = 0; index < 100; index++) {
      z.gauge(`g${index}`).observe(() => {
        reads.inc()
        return index
      })
    }
    await z.flush()
    expect(metrics.sum('reads')).toBe(100)
    for (let index = 0; index < 100; index++) expect(metrics.last(`g${index}`)).toBe(index)
  })

  test('cannot combine in two ways', () => {
    const { z } = observed()
    const sum = z.gauge('queue', { combine: 'sum' })
    expect(sum.combine).toBe('sum')
    expect(z.gauge('queue', { combine: 'sum' })).toBe(sum)
    expect(() => z.gauge('queue', { combine: 'max' })).toThrow(UsageError)
    expect(() => z.gauge('queue')).toThrow(/combine of "queue" must be one of sum, not "last"/)
    expect(sum.with({ shard: 1 }).combine).toBe('sum')
  })

  test('cannot combine in a way that there is none of', () => {
    const { z } = observed()
    expect(() => z.gauge('queue', { combine: 'average' as 'sum' })).toThrow(
      /combine of "queue" must be one of last, sum, min, max, not "average"/,
    )
  })

  test('that is combined says its value again with each frame, and one that is not does not', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    z.gauge('sum', { combine: 'sum' }).set(4)
    z.gauge('last').set(4)
    for (let frame = 0; frame < 3; frame++) {
      await z.flush()
      clock.advance(5_000)
    }
    const entries = metrics.frames.flatMap((frame) => frame.entries)
    expect(entries.filter(({ series }) => series.name === 'sum')).toHaveLength(3)
    expect(entries.filter(({ series }) => series.name === 'last')).toHaveLength(1)
    expect(metrics.last('sum')).toBe(4)
    // said again is not read again
    expect(metrics.count('sum')).toBe(1)
  })

  test('is read with each frame while it is observed', async () => {
    const { z, metrics } = observed({ clock: new ManualClock() })
    let value = 1
    const stop = z.gauge('heap').observe(() => value++)
    await z.flush()
    expect(metrics.last('heap')).toBe(1)
    metrics.reset()
    await z.flush()
    expect(metrics.last('heap')).toBe(2)
    metrics.reset()
    const stopSecond = z.gauge('heap').observe(() => 100)
    // a function that was replaced has nothing to stop
    stop()
    await z.flush()
    expect(metrics.last('heap')).toBe(100)
    metrics.reset()
    stopSecond()
    await z.flush()
    expect(metrics.last('heap')).toBeUndefined()
  })

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('boom')
      },
    ],
    // oxlint-disable-next-line no-throw-literal
    [
      'throws what is no error',
      () => {
        throw Object.create(null)
      },
    ],
    ['answers NaN', () => Number.NaN],
    ['answers a text', () => '7'],
    ['answers a promise', () => Promise.resolve(7)],
  ])('whose observer %s is left out, counted and said once', async (_, read) => {
    const { z, metrics, warnings } = observed()
    z.gauge('heap').observe(read as () => number)
    z.counter('c').inc()
    await z.flush()
    await z.flush()
    expect(metrics.sum('c')).toBe(1)
    expect(metrics.last('heap')).toBeUndefined()
    expect(Object.values(z.stats().dropped)).toEqual([2])
    expect(warnings).toHaveLength(1)
  })
})

describe('scopes', () => {
  test('count and time when their block ends', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    {
      using _counted = z.counter('orders').scope(2)
      using _timed = z.timer('db').start()
      clock.advance(250)
      await z.flush()
      expect(metrics.frames).toEqual([])
    }
    await z.flush()
    expect(metrics.sum('orders')).toBe(2)
    expect(metrics.sum('db')).toBe(0.25)
  })

  test('record once however often they are stopped', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    const timed = z.timer('db').start()
    clock.advance(100)
    expect(timed.stop()).toBe(0.1)
    clock.advance(100)
    expect(timed.stop()).toBe(0.1)
    const counted = z.counter('orders').scope()
    counted.stop()
    counted.stop()
    counted[Symbol.dispose]()
    await z.flush()
    expect(metrics.sum('db')).toBe(0.1)
    expect(metrics.count('db')).toBe(1)
    expect(metrics.sum('orders')).toBe(1)
  })

  test('record nothing once cancelled', async () => {
    const { z, metrics } = observed()
    {
      using timed = z.timer('db').start()
      using counted = z.counter('orders').scope()
      timed.cancel()
      counted.cancel()
      expect(timed.stop()).toBeGreaterThanOrEqual(0)
    }
    await z.flush()
    expect(metrics.frames).toEqual([])
  })

  test('record also when their block throws', async () => {
    const { z, metrics } = observed()
    expect(() => {
      using _ = z.counter('orders').scope()
      throw new Error('no stock')
    }).toThrow('no stock')
    await z.flush()
    expect(metrics.sum('orders')).toBe(1)
  })

  test('take the time from their own clock if there is one', async () => {
    let elapsed = 5
    const { z, metrics } = observed({ clock: { now: () => 1_700_000_000_000, elapsed: () => elapsed } })
    const timed = z.timer('db').start()
    elapsed += 1_500
    expect(timed.stop()).toBe(1.5)
    await z.flush()
    expect(metrics.frames[0]?.closedMs).toBe(1_700_000_000_000)
  })
})

describe('flushInterval', () => {
  test('of 0 sends each measurement at once', () => {
    const { z, metrics } = observed({ flushInterval: 0 })
    z.counter('c').inc()
    z.counter('c').inc(2)
    z.gauge('g').set(1)
    z.counter('c').with({ a: 1 }).inc(4)
    z.record({ type: 'timer', name: 't', value: 1 })
    expect(metrics.frames).toHaveLength(5)
    expect(metrics.sum('c')).toBe(7)
    expect(metrics.frames.every(({ entries }) => entries.length === 1)).toBe(true)
  })

  test('sends without being asked', async () => {
    const { z, metrics } = observed({ flushInterval: 10 })
    z.counter('c').inc()
    await expect.poll(() => metrics.sum('c')).toBe(1)
    await z.close()
  })

  test.each(['soon', -1, Number.NaN])('refuses %j', (flushInterval) => {
    expect(() => new Zibrato({ transport: observed().metrics, flushInterval })).toThrow(UsageError)
  })
})
