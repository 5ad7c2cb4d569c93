import { describe, expect, test } from 'vitest'
import { InvalidMeasurementError, UsageError } from '../../../client/errors.ts'
import type { Tags } from '../../../client/wire/series.ts'
import { observed } from '../observed.ts'

describe('with', () => {
  test('gives the same child for the same tags, whatever their order and kind of value', () => {
    const { z } = observed()
    const hits = z.counter('hits')
    const child = hits.with({ route: '/pay', status: 200 })
    expect(hits.with({ route: '/pay', status: 200 })).toBe(child)
    expect(hits.with({ status: '200', route: '/pay' })).toBe(child)
    expect(hits.with({ route: '/pay' }).with({ status: 200 })).toBe(child)
    expect(z.counter('hits', { tags: { status: 200, route: '/pay' } })).toBe(child)
    expect(hits.with({ route: '/pay', status: 404 })).not.toBe(child)
    expect(hits.with({})).toBe(hits)
  })

  test('takes texts, numbers and booleans, and leaves out what is undefined', async () => {
    const { z, metrics, warnings } = observed()
    const hits = z.counter('hits', { allowTags: ['text', 'number', 'yes'] })
    hits.with({ text: 'a', number: 1.5, yes: true, text2: undefined }).inc()
    await z.flush()
    expect(metrics.series().map(({ tags }) => ({ ...tags }))).toEqual([{ text: 'a', number: '1.5', yes: 'true' }])
    expect(warnings).toEqual([])
    expect(hits.with({ text: undefined })).toBe(hits)
  })

  test('tells a value from a key, and one tag from two', async () => {
    const { z, metrics } = observed()
    const hits = z.counter('hits')
    const handles = [
      hits.with({ a: 'b', c: 'd' }),
      hits.with({ a: 'b' }),
      hits.with({ b: 'a' }),
      hits.with({ a: 'c', b: 'd' }),
    ]
    expect(new Set(handles).size).toBe(4)
    for (const handle of handles) handle.inc()
    await z.flush()
    expect(metrics.sum('hits', { tags: { a: 'b' } })).toBe(2)
    expect(metrics.sum('hits', { tags: { a: 'b', c: 'd' } })).toBe(1)
  })

  test.each<[string, unknown]>([
    ['an object as a value', { tag: {} }],
    ['an object without a prototype as a value', { tag: Object.create(null) }],
    ['null as a value', { tag: null }],
    ['a symbol as a value', { tag: Symbol('s') }],
    ['a line break', { tag: 'a\nb' }],
    ['a NUL', { tag: 'a\0b' }],
    ['a value that is too long', { tag: 'x'.repeat(256) }],
    ['a key that is too long', { ['k'.repeat(129)]: 'x' }],
    ['an empty key', { '': 'x' }],
  ])('leaves out %s, counts it and says so once, and loses no count', async (_, tags) => {
    const { z, metrics, warnings } = observed()
    const hits = z.counter('hits')
    for (let times = 0; times < 3; times++) hits.with({ ...(tags as Tags), route: '/' }).inc()
    await z.flush()
    expect(metrics.sum('hits', { tags: { route: '/' } })).toBe(3)
    expect(z.stats().dropped).toEqual({ tag: 3 })
    expect(warnings).toHaveLength(1)
    expect(warnings[0]?.message).toMatch(/^dropped tags of "hits": /)
  })

  test('counts in the parent when there are too many tags', async () => {
    const { z, metrics, warnings } = observed()
    z.counter('hits')
      .with(Object.fromEntries(Array.from({ length: 33 }, (__, index) => [`t${index}`, index])))
      .inc()
    await z.flush()
    expect(metrics.sum('hits')).toBe(1)
    expect(metrics.series()[0]?.tags).toEqual({})
    expect(warnings[0]?.message).toMatch(/32 at the most, not 33/)
  })

  test('takes nothing but tags without throwing', () => {
    const hits = observed().z.counter('hits')
    for (const tags of [null, undefined, 5, 'text', [1], () => 1, Symbol('s')]) {
      expect(() => hits.with(tags as unknown as Tags).inc()).not.toThrow()
    }
  })

  test('takes no prototype for a tag', async () => {
    const { z, metrics } = observed()
    z.counter('hits')
      .with(JSON.parse('{"__proto__":"a","constructor":"b"}') as Tags)
      .inc()
    await z.flush()
    const [series] = metrics.series()
    expect(Object.entries(series?.tags ?? {})).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ])
  })

  test('drops the tags that the instrument does not allow', async () => {
    const { z, metrics, warnings } = observed()
    const hits = z.counter<string>('hits', { allowTags: ['route'] })
    hits.with({ route: '/', user: 'u17' }).inc()
    hits.with({ route: '/', user: 'u18' }).inc()
    hits.with({ route: '/' }).with({ user: 'u19' }).inc()
    await z.flush()
    expect(metrics.series()).toHaveLength(1)
    expect(metrics.sum('hits', { tags: { route: '/' } })).toBe(3)
    expect(z.stats().dropped).toEqual({ tag: 3 })
    expect(warnings.map(({ message }) => message)).toEqual([
      'dropped tags of "hits": tag key must be one of route, not "user"',
    ])
  })
})

describe('names that no series may have', () => {
  test.each([[''], ['a\nb'], ['a\0b'], ['x'.repeat(256)]])('are refused when the handle is made: %j', (name) => {
    const { z } = observed()
    expect(() => z.counter(name)).toThrow(InvalidMeasurementError)
    expect(() => z.counter('c', { source: `${name}\n` })).toThrow(InvalidMeasurementError)
    expect(() => z.counter('c', { tags: { a: `${name}\n` } })).toThrow(InvalidMeasurementError)
  })

  test.each(['', 'a|b', '#a', '?a', 'l'.repeat(65)])('are refused as a level: %j', (level) => {
    expect(() => observed().z.counter('c', { level })).toThrow(InvalidMeasurementError)
    expect(() => observed({ level })).toThrow(UsageError)
  })

  test('take none of the room that others have', () => {
    const { z } = observed({ maxSeries: 2 })
    for (let index = 0; index < 9; index++) {
      expect(z.record({ type: 'bogus' as 'counter', name: `n${index}`, value: 1 })).toBe(false)
      expect(() => z.counter(`n${index}\n`)).toThrow(InvalidMeasurementError)
    }
    expect(z.counter('one').name).toBe('one')
    expect(z.counter('two').name).toBe('two')
    expect(z.stats().overflowed).toBe(0)
  })
})

describe('past maxSeries', () => {
  test('new series count in zibrato.overflow, and one warning names the tag with the most values', async () => {
    const { z, metrics, warnings } = observed({ maxSeries: 100 })
    const hits = z.counter('hits')
    z.counter('other').with({ region: 'eu' }).inc()
    for (let user = 0; user < 250; user++) hits.with({ user: `u${user}`, plan: user % 3 }).inc(2)
    const db = z.timer('db')
    for (let user = 0; user < 250; user++) db.with({ user }).record(0.5)
    await z.flush()
    expect(warnings).toHaveLength(1)
    expect(warnings[0]?.code).toBe('ZIBRATO_SERIES_LIMIT')
    expect(warnings[0]?.message).toMatch(/over 100 series/)
    expect(warnings[0]?.message).toMatch(/tag "user" of "hits" has the most values, 97/)
    expect(metrics.sum('hits') + metrics.sum('zibrato.overflow', { type: 'counter' })).toBe(500)
    expect(metrics.sum('zibrato.overflow', { type: 'timer' }) + metrics.sum('db')).toBe(125)
    expect(z.stats().overflowed).toBe(250 - 97 + 1 + 250)
    expect(z.stats().series).toBe(102)
  })

  test('those that are there already go on', async () => {
    const { z, metrics } = observed({ maxSeries: 1 })
    const kept = z.counter('kept')
    z.counter('new').inc()
    kept.inc()
    z.counter('kept').inc()
    // a level is no part of a series
    z.counter('kept', { level: 'debug' }).inc()
    await z.flush()
    expect(metrics.sum('kept')).toBe(3)
    expect(metrics.sum('zibrato.overflow')).toBe(1)
  })

  test('a handle made then has no children of its own, however many tags it is given', async () => {
    const { z, metrics } = observed({ maxSeries: 1 })
    z.counter('kept')
    const late = z.counter('late')
    for (let user = 0; user < 50; user++) late.with({ user }).inc()
    for (let user = 0; user < 50; user++) z.record({ type: 'counter', name: 'late', value: 1, tags: { user } })
    for (let user = 0; user < 50; user++)
      z.record({ type: 'counter', name: 'zibrato.overflow', value: 1, tags: { user } })
    await z.flush()
    expect(metrics.sum('zibrato.overflow')).toBe(150)
    expect(z.stats().series).toBe(2)
  })

  test('sources cannot make it grow either', async () => {
    const { z, metrics } = observed({ maxSeries: 10 })
    for (let index = 0; index < 500; index++) z.record({ type: 'counter', name: 'c', value: 1, source: `s${index}` })
    await z.flush()
    expect(metrics.sum('c') + metrics.sum('zibrato.overflow')).toBe(500)
    expect(z.stats().series).toBeLessThanOrEqual(21)
  })

  test('a combined gauge that is new does not disturb', () => {
    const { z } = observed({ maxSeries: 1 })
    z.gauge('kept')
    expect(() => z.gauge('new', { combine: 'sum' }).set(1)).not.toThrow()
    expect(() => z.gauge('new', { combine: 'max' }).with({ a: 1 }).set(1)).not.toThrow()
  })

  test.each([0, -1, Number.NaN])('%d series are no bound', (maxSeries) => {
    expect(() => observed({ maxSeries })).toThrow(/maxSeries/)
  })
})

describe('child', () => {
  test('has other defaults and shares all else', async () => {
    const { z, metrics } = observed({ source: 'shop', tags: { region: 'eu' } })
    const tenant = z.child({ level: 'crit', tags: { tenant: 't1' } })
    const deeper = tenant.child({ source: 'cart', tags: { tenant: 't2', region: undefined } })
    expect([tenant.level, tenant.source, deeper.level, deeper.source]).toEqual(['crit', 'shop', 'crit', 'cart'])
    for (const each of [z, tenant, deeper]) {
      each.counter('c').inc()
      each.record({ type: 'counter', name: 'c', value: 10 })
    }
    await deeper.close()
    expect(metrics.sum('c')).toBe(33)
    expect(metrics.sum('c', { level: 'crit', source: 'shop', tags: { tenant: 't1', region: 'eu' } })).toBe(11)
    expect(metrics.sum('c', { level: 'crit', source: 'cart', tags: { tenant: 't2' } })).toBe(11)
    expect(metrics.sum('c', { source: 'cart', tags: { region: 'eu' } })).toBe(0)
    expect(metrics.sum('c', { level: 'info' })).toBe(11)
    expect(tenant.counter('c')).toBe(z.counter('c', { level: 'crit', tags: { tenant: 't1' } }))
  })

  test('leaves the parent open when it is closed', async () => {
    const { z, metrics } = observed({ flushInterval: 10 })
    await z.child({}).close()
    z.counter('c').inc()
    await expect.poll(() => metrics.sum('c')).toBe(1)
    await z.close()
  })
})
