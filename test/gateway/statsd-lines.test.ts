import { describe, expect, test } from 'vitest'
import type { Fault } from '../../gateway/ingest/statsd-faults.ts'
import { type Outcome, StatsdHarness } from './statsd-harness.ts'

const NOW = new StatsdHarness().clock.now()

function sampled(...values: number[]): Outcome {
  return {
    count: values.length,
    sum: values.reduce((a, b) => a + b),
    min: values[0] ?? 0,
    max: values.at(-1) ?? 0,
    values,
  }
}

function gauge(...values: number[]): Outcome {
  const { length: count } = values
  return { count, min: Math.min(...values), max: Math.max(...values), readings: [[NOW, values.at(-1) as number]] }
}

/** How many bad lines, by reason. */
function faults(lines: string | readonly string[]): Partial<Record<Fault, number>> {
  const harness = new StatsdHarness()
  harness.send(...[lines].flat())
  harness.intake.close()
  const { badByReason, bad } = harness.intake.stats()
  const found = Object.entries(badByReason).filter(([, count]) => count > 0)
  expect(found.reduce((total, [, count]) => total + count, 0)).toBe(bad)
  return Object.fromEntries(found)
}

describe('a StatsD line', () => {
  test.each<[string, Record<string, Outcome>]>([
    ['a:1|c', { 'counter a': { sum: 1 } }],
    ['a:-2.5|c', { 'counter a': { sum: -2.5 } }],
    ['a:1|c|@0.1', { 'counter a': { sum: 10 } }],
    ['a:3|m', { 'meter a': { sum: 3 } }],
    ['a:12|ms', { 'timer a': sampled(0.012) }],
    ['a:12|h', { 'histogram a': sampled(12) }],
    ['a:-12|d', { 'histogram a': sampled(-12) }],
    ['a:7|g', { 'gauge a': gauge(7) }],
    ['a:u17|s\na:u18|s\na:u17|s', { 'set a': { count: 2 } }],
    ['a:1|c\r\n\r\n\n  \nb:1|c \t\r\n', { 'counter a': { sum: 1 }, 'counter b': { sum: 1 } }],
    [
      'a: 5|c\nb:5 |c\nc:5| c\nd:5|c |@1',
      { 'counter a': { sum: 5 }, 'counter b': { sum: 5 }, 'counter c': { sum: 5 }, 'counter d': { sum: 5 } },
    ],
    ['a/b c:1|c', { 'counter a/b c': { sum: 1 } }],
  ])('%j is taken', (line, taken) => {
    expect(StatsdHarness.outcome(line)).toEqual(taken)
  })

  test.each<[string, Record<string, Outcome>]>([
    ['a:1:2:3|c', { 'counter a': { sum: 6 } }],
    ['a:1:2:3|ms|@0.5', { 'timer a': { ...sampled(0.001, 0.002, 0.003), count: 6, sum: 0.012 } }],
    ['a:1:+2:-1|g', { 'gauge a': gauge(1, 3, 2) }],
    ['a:fe80::1|s', { 'set a': { count: 1 } }],
    ['a:1|c:2|c', { 'counter a': { sum: 3 } }],
    ['a:1|c|@0.1:20|ms:3|g', { 'counter a': { sum: 10 }, 'timer a': sampled(0.02), 'gauge a': gauge(3) }],
    ['a:1|c:2|c|@0.5', { 'counter a': { sum: 5 } }],
    ['a:1|c:2:3|ms|#k:v', { 'counter a k=v': { sum: 1 }, 'timer a k=v': sampled(0.002, 0.003) }],
    ['a:1|c|c:ci-1', { 'counter a': { sum: 1 } }],
  ])('%j has several values, or does not', (line, taken) => {
    expect(StatsdHarness.outcome(line)).toEqual(taken)
  })

  test.each<[string, string]>([
    ['a:1|c|#k:v', 'counter a k=v'],
    ['a:1|c|#k:v|@1', 'counter a k=v'],
    ['a:1|c|@1|#k:v|c:ci-12,in-3|e:it-false,cn-x|card:low|T1700000000', 'counter a k=v'],
    ['a:1|c|new:thing|#k:v||', 'counter a k=v'],
    ['a:1|c|#', 'counter a'],
    ['a:1|c|#,,', 'counter a'],
    ['a:1|c|#j:w|#k:v', 'counter a k=v'],
    ['a:1|c|#bare', 'counter a bare=true'],
    ['a:1|c|#k:', 'counter a k='],
    ['a:1|c|#url:http://x:80/,k:v', 'counter a k=v url=http://x:80/'],
    ['a:1|c|#role:b,role:a,role:b', 'counter a role=a,b'],
    ['a:1|c|#dd.internal.entity_id:8,dd.internal.card:none,k:v', 'counter a k=v'],
    ['a:1|c|#__proto__:x', 'counter a __proto__=x'],
  ])('%j has fields', (line, series) => {
    expect(StatsdHarness.outcome(line)).toEqual({ [series]: { sum: 1 } })
  })

  test.each<[string, Fault]>([
    ['a', 'format'],
    ['a|c', 'format'],
    ['a:1', 'format'],
    ['a:', 'format'],
    [':1|c', 'format'],
    ['|', 'format'],
    ['a:1|', 'type'],
    ['a:1|x', 'type'],
    ['a:1|C', 'type'],
    ['a:1|c2', 'type'],
    ['a:1|msx', 'type'],
    ['a:1|__proto__', 'type'],
    ['a:|c', 'value'],
    ['a: |c', 'value'],
    ['a:|s', 'value'],
    ['a:x|c', 'value'],
    ['a:0x10|c', 'value'],
    ['a:NaN|g', 'value'],
    ['a:-Infinity|g', 'value'],
    ['a:1e309|h', 'value'],
    ['a:1e308|c|@0.1', 'value'],
    ['a:-1|ms', 'value'],
    ['a:1|c|@', 'rate'],
    ['a:1|c|@0', 'rate'],
    ['a:1|c|@2', 'rate'],
    ['a:1|c|@+0.5', 'rate'],
    ['a:1|c|@-0.5', 'rate'],
    ['a:1|c|@x', 'rate'],
    ['a:1|c|@1e-320', 'rate'],
    ['a:1|g|@2', 'rate'],
    ['a:1|g|T0', 'timestamp'],
    ['a:1|g|T', 'timestamp'],
    ['a:1|g|T-1', 'timestamp'],
    ['a:1|g|T1.5', 'timestamp'],
    ['a:1|g|T1700000601', 'timestamp'],
    ['a:1|c|T1700000000123', 'timestamp'],
    ['a|b:1|c', 'name'],
    ['a\0:1|c', 'name'],
    ['a\rb:1|c', 'name'],
    [`${'a'.repeat(256)}:1|c`, 'name'],
    ['a:1|c|#:v', 'tags'],
    ['a:1|c|#k:\0', 'tags'],
    [`a:1|c|#${'k'.repeat(129)}`, 'tags'],
    [`a:1|c|#k:${'v'.repeat(256)}`, 'tags'],
    [`a:1|c|#${Array.from({ length: 33 }, (_, tag) => `k${tag}`).join(',')}`, 'tags'],
  ])('%j is bad, and does its neighbours no harm', (line, reason) => {
    expect(faults(line)).toEqual({ [reason]: 1 })
    expect(StatsdHarness.outcome([line, 'b:1|c', line, 'b:2|c', line])).toEqual({ 'counter b': { sum: 3 } })
  })

  test('that is bad in part is taken in part', () => {
    expect(StatsdHarness.outcome('a:1:x:3|c')).toEqual({ 'counter a': { sum: 4 } })
    expect(StatsdHarness.outcome('a:1|c:x|ms:3|c|@9:4|c')).toEqual({ 'counter a': { sum: 5 } })
    expect(faults('a:1|c:x|ms:3|c|@9:4|c')).toEqual({ value: 1, rate: 1 })
    expect(faults('a:1::3|c')).toEqual({ value: 1 })
  })

  test('with bytes that are no UTF-8 is bad for its name or tags, and fine for a member of a set', () => {
    const harness = new StatsdHarness()
    for (const line of ['a\xff:1|c', 'a:1|c|#k:\xff', 'a:\xff|s', 'a:\xfe|s', 'caf\xc3\xa9:1|c']) {
      harness.intake.packet(Buffer.from(line, 'latin1'))
    }
    harness.intake.close()
    expect(harness.taken()).toEqual({ 'set a': { count: 2 }, 'counter caf\u00e9': { sum: 1 } })
    expect(harness.intake.stats().badByReason).toMatchObject({ name: 1, tags: 1 })
  })

  test('adds members to a set as clients of other kinds name them', () => {
    const harness = new StatsdHarness()
    harness.send('a:caf\u00e9 \u{1f600}|s')
    harness.intake.close()
    const again = new StatsdHarness()
    again.send('a:caf\u00e9 \u{1f600}|s', 'a:other|s')
    again.intake.close()
    harness.frames.push(...again.frames)
    expect(harness.taken()).toEqual({ 'set a': { count: 2 } })
  })

  test('may be 65,535 bytes long; a longer one is bad, also in a packet that is longer still', () => {
    const longest = `a:${'0'.repeat(65_535 - 5)}1|c`
    const longer = `a:${'0'.repeat(65_535 - 4)}1|c`
    expect(StatsdHarness.outcome(longest)).toEqual({ 'counter a': { sum: 1 } })
    expect(faults(longer)).toEqual({ length: 1 })
    const lines = ['b:1|c', longer, 'b:1|c', longest, ...Array.from({ length: 50_000 }, () => 'b:1|c'), longer, 'b:1|c']
    expect(StatsdHarness.outcome(lines)).toEqual({ 'counter a': { sum: 1 }, 'counter b': { sum: 50_003 } })
    expect(faults(lines)).toEqual({ length: 2 })
  })

  test('with thousands of typed values is taken, unless its fields are too long to be read that often', () => {
    const values = '1|c:'.repeat(5_000)
    expect(StatsdHarness.outcome(`a:${values}1|c|#k:v`)).toEqual({ 'counter a k=v': { sum: 5_001 } })
    expect(faults(`a:${values}1|c|#${'k'.repeat(1_000)}`)).toEqual({ length: 1 })
  })

  test('of an event or a service check is counted and passed over', () => {
    const harness = new StatsdHarness()
    harness.send('_e{5,4}:title|a\\nb:1|c|#k:v', '_sc|redis|0|m:x:1|c', '_e:1|c', '_scx:1|c', '_e{:1|c')
    harness.intake.close()
    expect(harness.intake.stats()).toMatchObject({ lines: 5, events: 2, checks: 1, bad: 0, metrics: 2 })
    expect(harness.taken()).toEqual({ 'counter _e': { sum: 1 }, 'counter _scx': { sum: 1 } })
  })
})

describe('tags', () => {
  test('in another order are the same series', () => {
    const harness = new StatsdHarness()
    harness.send('a:1|c|#k:v,l:w,bare', 'a:2|c|#bare,l:w,k:v', 'a:1|g|#k:v,l:w', 'a:+2|g|#l:w,k:v', 'a:+4|g|#k:v,l:w')
    harness.intake.close()
    expect(harness.taken()).toEqual({ 'counter a bare=true k=v l=w': { sum: 3 }, 'gauge a k=v l=w': gauge(1, 3, 7) })
    expect(harness.intake.stats().series).toBe(2)
  })

  test('and names of other lengths that spell the same are other series', () => {
    expect(Object.keys(StatsdHarness.outcome(['ab:1|c|#c', 'a:1|c|#bc', 'abc:1|c', 'ab:1|c|#c:true']))).toEqual([
      'counter a bc=true',
      'counter ab c=true',
      'counter abc',
    ])
  })
})

describe('a gauge', () => {
  test('is changed by signed values, the first of which sets it, as statsd does', () => {
    expect(StatsdHarness.outcome(['a:+5|g', 'a:-2|g'])).toEqual({ 'gauge a': gauge(5, 3) })
    expect(StatsdHarness.outcome(['a:-5|g'])).toEqual({ 'gauge a': gauge(-5) })
    expect(StatsdHarness.outcome(['a:7|g', 'a:0|g', 'a:-5|g'])).toEqual({ 'gauge a': gauge(7, 0, -5) })
    expect(StatsdHarness.outcome(['a:5|g', 'a: -5|g'])).toEqual({ 'gauge a': gauge(5, -5) })
  })

  test('is not changed beyond all doubles', () => {
    expect(StatsdHarness.outcome(['a:1e308|g', 'a:+1e308|g', 'a:-1e308|g'])).toEqual({ 'gauge a': gauge(1e308, 0) })
    expect(faults(['a:1e308|g', 'a:+1e308|g'])).toEqual({ value: 1 })
  })

  test('has the time of its timestamp, else that of receipt; one reading a second is kept', () => {
    const harness = new StatsdHarness()
    for (let second = 0; second < 3; second++) {
      for (const value of [1, 2, 3, 4, 5, 6, 7]) harness.send(`a:${second}${value}|g`)
      harness.clock.advance(1_000)
    }
    harness.send('a:99|g|T1600000000')
    harness.intake.close()
    expect(harness.taken()['gauge a']).toEqual({
      count: 22,
      min: 1,
      max: 99,
      readings: [
        [1_600_000_000_000, 99],
        [NOW, 7],
        [NOW + 1_000, 17],
        [NOW + 2_000, 27],
      ],
    })
  })

  test('keeps of two readings at one time the one that came last, also beside a reading ahead', () => {
    const harness = new StatsdHarness()
    harness.send('a:10|g|T1700000600', 'a:+0|g', 'b:9|g|T1700000600', 'b:8|g|T1600000000', 'b:7|g|T1600000000')
    harness.clock.advance(400)
    harness.send('a:0|g')
    harness.intake.close()
    const ahead = NOW + 600_000
    expect(harness.taken()['gauge a']?.readings).toEqual([
      [NOW + 400, 0],
      [ahead, 10],
    ])
    expect(harness.taken()['gauge b']?.readings).toEqual([
      [1_600_000_000_000, 7],
      [ahead, 9],
    ])
  })

  test('takes a timestamp up to ten minutes ahead; on other types it counts for nothing', () => {
    expect(StatsdHarness.outcome('a:1|g|T1700000600')['gauge a']?.readings).toEqual([[1_700_000_600_000, 1]])
    expect(StatsdHarness.outcome('a:1|c|T1800000000')).toEqual({ 'counter a': { sum: 1 } })
  })
})

describe('with keyNameSanitize', () => {
  const sanitize = { sanitize: true }

  test('names are cleaned as statsd does it, and those that come to the same are one series', () => {
    const lines = ['a b/c!d:1|c', 'a  b-cd:2|c', 'a_b/c\u00e9d:4|c', 'x;k=v:1|c', 'a\u2003b/cd:8|c']
    expect(StatsdHarness.outcome(lines, sanitize)).toEqual({
      'counter a_b-cd': { sum: 15 },
      'counter x;k=v': { sum: 1 },
    })
  })

  test('so are tags, and what is left of nothing is bad', () => {
    expect(StatsdHarness.outcome('a:1|c|#route:/pay me,k;l:\u00e9', sanitize)).toEqual({
      'counter a k_l= route=-pay_me': { sum: 1 },
    })
    const harness = new StatsdHarness(sanitize)
    harness.send('\u00e9:1|c', 'a:1|c|#!:v')
    expect(harness.intake.stats().badByReason).toMatchObject({ name: 1, tags: 1 })
  })

  test('longer names are fine as long as what is left is short enough', () => {
    expect(StatsdHarness.outcome(`${'!'.repeat(10_000)}a:1|c`, sanitize)).toEqual({ 'counter a': { sum: 1 } })
  })
})
