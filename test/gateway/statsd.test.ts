import { describe, expect, test } from 'vitest'
import { UsageError } from '../../client/errors.ts'
import { decodeFrame } from '../../client/wire/frame.ts'
import { StatsdIntake } from '../../gateway/ingest/statsd.ts'
import { until } from '../until.ts'
import { StatsdHarness } from './statsd-harness.ts'

describe('a StatsD intake', () => {
  test('makes frames of a publisher of its own, at its level, numbered', () => {
    const harness = new StatsdHarness({ level: 'udp' })
    harness.send('a:1|c')
    harness.intake.flush()
    harness.clock.advance(250)
    harness.send('a:2|c')
    harness.intake.flush()
    harness.intake.flush()
    const frames = harness.frames.map(({ bytes }) => decodeFrame(bytes))
    expect(frames.map(({ level, seq, spanMs }) => [level, seq, spanMs])).toEqual([
      ['udp', 1, 0],
      ['udp', 2, 250],
    ])
    expect(frames[1]?.publisher).toBe(frames[0]?.publisher)
    const other = new StatsdHarness()
    other.send('a:1|c')
    other.intake.close()
    expect(decodeFrame(other.frames[0]?.bytes as Uint8Array).publisher).not.toBe(frames[0]?.publisher)
    expect(harness.taken()).toEqual({ 'counter a': { sum: 3 } })
  })

  test('makes them as often as it is told, until it is closed', () => {
    let call: (() => void) | undefined
    let intervalMs = 0
    const harness = new StatsdHarness({
      flushMs: 100,
      every: (ms, then) => {
        intervalMs = ms
        call = then
        return () => (call = undefined)
      },
    })
    harness.send('a:1|c')
    call?.()
    expect(harness.frames).toHaveLength(1)
    expect(intervalMs).toBe(100)
    harness.intake.close()
    expect(call).toBeUndefined()
  })

  test('does so by the clock when nothing else is given', async () => {
    let taken = 0
    const intake = new StatsdIntake({
      flushMs: 5,
      full: () => false,
      offer: (frames) => {
        taken += frames.length
        return true
      },
    })
    intake.packet(Buffer.from('a:1|c'))
    await until(() => taken > 0)
    intake.close()
    expect(taken).toBe(1)
  })

  test('reads only the part of the bytes that it is given, and keeps no hold of them', () => {
    const harness = new StatsdHarness()
    const bytes = Buffer.from('xa:1|c\nb:2|cx')
    harness.intake.packet(bytes, 1, bytes.length - 1)
    harness.intake.packet(bytes, 4, 4)
    bytes.fill(0)
    harness.intake.packet(new Uint8Array(0))
    harness.intake.close()
    expect(harness.taken()).toEqual({ 'counter a': { sum: 1 }, 'counter b': { sum: 2 } })
    expect(harness.intake.stats()).toMatchObject({ packets: 3, bytes: 11, lines: 2, metrics: 2, bad: 0 })
  })

  test('refuses options that make no sense', () => {
    const make = (options: object) => () => new StatsdHarness(options)
    expect(make({ level: 'a|b' })).toThrow(UsageError)
    expect(make({ flushMs: 0 })).toThrow(UsageError)
    expect(make({ flushMs: Number.NaN })).toThrow(UsageError)
    expect(make({ maxSeries: 0 })).toThrow(UsageError)
    expect(make({ maxSeries: 1e9 })).toThrow(UsageError)
  })

  test('takes nothing more once closed, and may be closed again', () => {
    const harness = new StatsdHarness()
    harness.send('a:1|c')
    harness.intake.close()
    harness.send('a:1|c')
    harness.intake.close()
    expect(harness.taken()).toEqual({ 'counter a': { sum: 1 } })
  })
})

describe('while the ring is full', () => {
  test('an intake adds up and makes no frames, and loses nothing', () => {
    const harness = new StatsdHarness()
    harness.full = true
    for (let round = 0; round < 100; round++) {
      harness.send('a:1|c', `b:${round}|ms`, `c:${round}|g`, `d:${round}|s`)
      harness.intake.flush()
    }
    expect(harness.frames).toEqual([])
    harness.full = false
    harness.intake.flush()
    expect(harness.taken()).toMatchObject({
      'counter a': { sum: 100 },
      'timer b': { count: 100, min: 0, max: 0.099 },
      'gauge c': { count: 100, max: 99 },
      'set d': { count: 100 },
    })
    expect(harness.frames.every(({ seq }) => seq === 1)).toBe(true)
  })

  test('frames that it refused are offered again as they are, before others', () => {
    const harness = new StatsdHarness()
    harness.refuses = true
    harness.send('a:1|c')
    harness.intake.flush()
    harness.send('a:2|c')
    harness.intake.flush()
    harness.intake.flush()
    harness.refuses = false
    harness.intake.flush()
    expect(harness.frames.map(({ seq }) => seq)).toEqual([1, 2])
    expect(harness.taken()).toEqual({ 'counter a': { sum: 3 } })
  })

  test('closing offers what is left all the same; what is refused then is lost, counted and said', () => {
    const taking = new StatsdHarness()
    taking.full = true
    taking.send('a:1|c')
    taking.intake.close()
    expect(taking.taken()).toEqual({ 'counter a': { sum: 1 } })
    const refusing = new StatsdHarness()
    refusing.refuses = true
    refusing.send('a:1|c')
    refusing.intake.flush()
    refusing.send('a:1|c')
    refusing.intake.close()
    expect(refusing.intake.stats().lostFrames).toBe(2)
    expect(refusing.warnings).toEqual(['statsd: 2 frames were lost at the end, because the ring is full'])
  })
})

describe('of bad lines', () => {
  test('one is shown at most every 10 s, with how many there were', () => {
    const harness = new StatsdHarness()
    harness.send('a:x|c', 'a:1|y')
    expect(harness.warnings).toEqual([])
    harness.intake.flush()
    const first =
      'statsd: 2 bad lines were passed over, such as "a:x|c": its value is not a decimal number that a double holds'
    expect(harness.warnings).toEqual([expect.stringContaining(first)])
    harness.clock.advance(9_999)
    harness.send('b:1|y', 'c:1|y')
    harness.intake.flush()
    harness.send('d')
    expect(harness.warnings).toHaveLength(1)
    harness.clock.advance(1)
    harness.intake.flush()
    harness.intake.flush()
    expect(harness.warnings[1]).toBe(
      'statsd: 3 bad lines were passed over, such as "b:1|y": its type is none of c, m, g, ms, h, d and s',
    )
    expect(harness.warnings).toHaveLength(2)
    harness.send('e')
    harness.intake.close()
    expect(harness.warnings[2]).toBe('statsd: 1 bad line was passed over, such as "e": it is not name:value|type')
    expect(harness.intake.stats()).toMatchObject({ bad: 6, lines: 6, metrics: 0 })
  })

  test('the one that is shown is short and has nothing in it that disturbs a terminal or a log', () => {
    const harness = new StatsdHarness()
    harness.send(`a"\\\x1b[31m\r\u202e\u2028\u00e9${'x'.repeat(1_000)}`)
    harness.intake.close()
    const [warning = ''] = harness.warnings
    expect(warning).toContain('"a\\"\\\\\\u{1b}[31m\\u{d}\\u{202e}\\u{2028}\u00e9xxx')
    expect(warning).toMatch(/xxx\.\.\.": it is not name:value\|type$/)
    expect(warning.length).toBeLessThan(300)
  })

  test('those are told of that come while the ring is full', () => {
    const harness = new StatsdHarness()
    harness.full = true
    harness.send('a')
    harness.intake.flush()
    expect(harness.warnings).toHaveLength(1)
  })
})

describe('beyond the bound on series', () => {
  test('new ones count in zibrato.overflow, once per type, and those that are known go on', () => {
    const harness = new StatsdHarness({ maxSeries: 3 })
    for (let index = 0; index < 10; index++) harness.send(`a${index}:1|c`)
    harness.send('a0:5|c', 'b:1|g', 'b:+2|g', 'c:1|ms', 'c:2|ms', 'd:x|s')
    harness.intake.close()
    expect(harness.taken()).toMatchObject({
      'counter a0': { sum: 6 },
      'counter a1': { sum: 1 },
      'counter a2': { sum: 1 },
      'counter zibrato.overflow': { sum: 7 },
      'gauge zibrato.overflow': { count: 2, max: 3 },
      'timer zibrato.overflow': { count: 2, sum: 0.003 },
      'set zibrato.overflow': { count: 1 },
    })
    expect(harness.intake.stats().overflowed).toBe(12)
    expect(harness.warnings).toEqual([expect.stringMatching(/^statsd: over 3 series: "a3" and other new ones count/)])
  })

  test('series that had no values for a while make room for new ones; those that had stay', () => {
    const harness = new StatsdHarness({ maxSeries: 100 })
    const round = (prefix: string): void => {
      for (let index = 0; index < 60; index++) harness.send(`${prefix}${index}:1|c|#k:v,l:w`)
      harness.send('live:1|c|#k:v,l:w', 'live:1|c|#l:w,k:v', 'level:+1|g')
      harness.intake.flush()
      harness.clock.advance(10_000)
    }
    for (let deploy = 0; deploy < 20; deploy++) {
      round(`deploy${deploy}.`)
      round(`deploy${deploy}.`)
      round('')
    }
    const taken = harness.taken()
    expect(harness.intake.stats().overflowed).toBeLessThan(500)
    expect(taken['counter live k=v l=w']).toEqual({ sum: 120 })
    expect(taken['gauge level']).toMatchObject({ count: 60, max: 60 })
    expect(harness.intake.stats().series).toBeLessThan(105)
    const total = Object.values(taken).reduce(
      (sum, outcome) => sum + (outcome.readings === undefined ? (outcome.sum ?? 0) : 0),
      0,
    )
    expect(total).toBe(60 * 62)
  })

  test('the value of a gauge is known although its handle was forgotten', () => {
    const harness = new StatsdHarness({ maxSeries: 10 })
    harness.send('level:40|g|#k:v', 'gone:1|c')
    const idle = (): void => {
      for (let index = 0; index < 8; index++) harness.send(`other${index}:1|c`)
      harness.intake.flush()
      harness.clock.advance(10_000)
    }
    idle()
    expect(harness.intake.stats().series).toBe(10)
    idle()
    idle()
    idle()
    expect(harness.intake.stats().series).toBe(8)
    harness.send('level:+2|g|#k:v')
    harness.intake.close()
    expect(harness.taken()['gauge level k=v']).toMatchObject({ count: 2, min: 40, max: 42 })
  })

  test('values of forgotten gauges are known in bounded number, the newest', () => {
    const harness = new StatsdHarness({ maxSeries: 10 })
    for (let round = 0; round < 10; round++) {
      for (let index = 0; index < 10; index++) harness.send(`g${round}.${index}:100|g`)
      for (let later = 0; later < 2; later++) {
        harness.send('g:0|g')
        harness.intake.flush()
        harness.clock.advance(10_000)
      }
    }
    harness.send('g9.0:+1|g', 'g0.0:+1|g')
    harness.intake.close()
    const taken = harness.taken()
    expect(taken['gauge g0.0']).toMatchObject({ min: 1 })
    expect(taken['gauge g9.0']).toMatchObject({ min: 100, max: 101 })
  })

  test('names that never come again are held in bounded memory', () => {
    const harness = new StatsdHarness({ maxSeries: 1_000 })
    for (let round = 0; round < 50; round++) {
      for (let index = 0; index < 1_000; index++) {
        harness.send(`name.${round}.${index}:1|c`, `a:1|ms|#t${index % 7}:1,u${index % 11}:${round},v${index}:1`)
      }
      harness.intake.flush()
      harness.clock.advance(2_500)
      expect(harness.intake.stats().series).toBeLessThanOrEqual(1_003)
    }
    harness.intake.close()
    const taken = harness.taken()
    const counted = (type: string, figure: 'sum' | 'count'): number =>
      Object.entries(taken).reduce((sum, [id, outcome]) => sum + (id.startsWith(type) ? (outcome[figure] ?? 0) : 0), 0)
    expect(counted('counter', 'sum')).toBe(50_000)
    expect(counted('timer', 'count')).toBe(50_000)
  })

  test('one series named in thousands of ways is one series', () => {
    const harness = new StatsdHarness({ maxSeries: 100 })
    const tags = ['a:1', 'b:2', 'c:3', 'd:4', 'e:5', 'f:6', 'g:7']
    const orders = (rest: readonly string[]): string[] =>
      rest.length === 0
        ? ['']
        : rest.flatMap((tag) => orders(rest.filter((other) => other !== tag)).map((order) => `${tag},${order}`))
    const lines = orders(tags).flatMap((order) => [`n:1|c|#${order}`, `n:+1|g|#${order}`, `n:1|ms|#${order}`])
    expect(lines).toHaveLength(3 * 5_040)
    harness.send(...lines)
    harness.send(...lines)
    harness.intake.close()
    expect(harness.taken()).toMatchObject({
      'counter n a=1 b=2 c=3 d=4 e=5 f=6 g=7': { sum: 10_080 },
      'gauge n a=1 b=2 c=3 d=4 e=5 f=6 g=7': { count: 10_080, max: 10_080 },
      'timer n a=1 b=2 c=3 d=4 e=5 f=6 g=7': { count: 10_080 },
    })
    expect(harness.intake.stats()).toMatchObject({ series: 3, overflowed: 0 })
  })
})
