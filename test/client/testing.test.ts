import { readFileSync } from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import { Zibrato, VERSION, UsageError } from '../../client/index.ts'
import { ManualClock, MemoryMetrics } from '../../client/testing.ts'
import { observed } from './observed.ts'

describe('MemoryMetrics', () => {
  test('answers by name, tags, source, type and level', async () => {
    const { z, metrics } = observed()
    z.counter('n', { level: 'debug', source: 'web', tags: { a: 1, b: 'x' } }).inc(1)
    z.counter('n', { level: 'debug', source: 'web', tags: { a: 2, b: 'x' } }).inc(2)
    z.counter('n', { source: 'job' }).inc(4)
    z.meter('n').mark(8)
    z.timer('n').record(16)
    z.unique('n').add('u')
    z.gauge('n').set(32)
    await z.flush()
    expect(metrics.sum('n', { tags: { a: 1 } })).toBe(1)
    expect(metrics.sum('n', { tags: { b: 'x', missing: undefined } })).toBe(3)
    expect(metrics.sum('n', { level: 'debug' })).toBe(3)
    expect(metrics.sum('n', { source: 'job' })).toBe(4)
    expect(metrics.sum('n', { type: 'meter' })).toBe(8)
    expect(metrics.sum('n', { type: 'timer' })).toBe(16)
    expect(metrics.last('n')).toBe(32)
    expect(metrics.distinct('n')).toBe(1)
    expect(metrics.count('n')).toBe(2)
    expect(metrics.series()).toHaveLength(7)
  })

  test('has answers for what was never measured', () => {
    const metrics = new MemoryMetrics()
    expect(metrics.sum('n')).toBe(0)
    expect(metrics.count('n')).toBe(0)
    expect(metrics.last('n')).toBeUndefined()
    expect(metrics.quantile('n', 0.5)).toBeNaN()
    expect(metrics.distinct('n')).toBe(0)
    expect(metrics.series()).toEqual([])
  })

  test('merges frames, and forgets them when it is reset', async () => {
    const { z, metrics } = observed()
    for (let frame = 1; frame <= 3; frame++) {
      z.timer('t').record(frame)
      z.unique('u').add(`m${frame % 2}`)
      z.gauge('g').set(frame)
      await z.flush()
    }
    expect(metrics.quantile('t', 0.5)).toBe(2)
    expect(metrics.distinct('u')).toBe(2)
    expect(metrics.last('g')).toBe(3)
    metrics.reset()
    expect(metrics.quantile('t', 0.5)).toBeNaN()
    expect(metrics.series()).toEqual([])
    z.counter('c').inc()
    await z.close()
    expect(metrics.sum('c')).toBe(1)
  })
})

test('a ManualClock turns only by hand', async () => {
  const clock = new ManualClock(1_000)
  const { z, metrics } = observed({ clock })
  const running = z.timer('t').start()
  clock.advance(1_500)
  expect(clock.now()).toBe(2_500)
  expect(running.stop()).toBe(1.5)
  z.gauge('g').set(1)
  await z.flush()
  expect(metrics.frames[0]?.closedMs).toBe(2_500)
  expect(metrics.frames.map(({ spanMs }) => spanMs)).toEqual(metrics.frames.map(() => 1_500))
})

describe('warnings', () => {
  test('reach the diagnostics channel and onWarning', () => {
    const heard: unknown[] = []
    const listener = (warning: unknown): void => void heard.push(warning)
    subscribe('zibrato:warning', listener)
    const { z, warnings } = observed()
    z.counter('c').inc(Number.NaN)
    unsubscribe('zibrato:warning', listener)
    expect(heard).toEqual(warnings)
    expect(heard).toEqual([
      { code: 'ZIBRATO_DROPPED', message: 'dropped measurements of "c": value must be a finite number, not NaN' },
    ])
  })

  test('do no harm where onWarning throws', async () => {
    const { z, metrics } = observed({
      maxSeries: 1,
      onWarning: () => {
        throw new Error('a listener of poor quality')
      },
    })
    z.counter('c').inc(Number.NaN)
    z.counter('c').inc()
    z.counter('d').with({ a: '\n' }).inc()
    await z.close()
    expect(metrics.sum('c') + metrics.sum('zibrato.overflow')).toBe(2)
  })
})

describe('a client', () => {
  test('is closed once, by close or by await using', async () => {
    let closed = 0
    const metrics = new MemoryMetrics()
    metrics.close = () => Promise.resolve(void closed++)
    {
      await using z = new Zibrato({ transport: metrics })
      z.counter('c').inc()
      await Promise.all([z.close(), z.close()])
      await z.close()
    }
    expect(closed).toBe(1)
    expect(metrics.sum('c')).toBe(1)
    await using other = new Zibrato({ transport: metrics })
    other.counter('c').inc()
    await other[Symbol.asyncDispose]()
    expect(metrics.sum('c')).toBe(2)
  })

  test('takes defaults from the environment', () => {
    process.env['ZIBRATO_LEVEL'] = 'crit'
    process.env['ZIBRATO_SOURCE'] = 'env'
    try {
      const { z } = observed()
      expect([z.level, z.source]).toEqual(['crit', 'env'])
      expect(observed({ level: 'a', source: 'b' }).z.counter('c')).toMatchObject({ level: 'a', source: 'b' })
    } finally {
      delete process.env['ZIBRATO_LEVEL']
      delete process.env['ZIBRATO_SOURCE']
    }
  })

  test.each([
    [{ url: 'ftp://host' }, /neither tcp/],
    [{ url: 'tcp://host' }, /neither tcp/],
    [{ url: 'https://' }, /https:\/\/host/],
    [{ url: 'https://user:hunter2@host' }, /a secret as token/],
    [{ port: Number.NaN }, /neither tcp/],
    [{ source: 'a\n' }, /line break/],
    [{ tags: { a: '\n' } }, /line break/],
    [{ waitingBytes: -1 }, /waitingBytes/],
    [{ closeTimeout: 'soon' }, /duration/],
  ])('refuses options that make no sense: %j', (options, message) => {
    expect(() => new Zibrato(options)).toThrow(UsageError)
    expect(() => new Zibrato(options)).toThrow(message)
    expect(() => new Zibrato(options)).not.toThrow(/hunter2/)
  })

  test('knows its version', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    expect(VERSION).toBe(version)
  })
})
