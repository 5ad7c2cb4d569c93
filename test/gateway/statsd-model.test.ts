import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Outcome, StatsdHarness } from './statsd-harness.ts'
import { type ModelReading, type ModelSeries, StatsdModel } from './statsd-model.ts'

const name = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.constantFrom('a', 'ab', 'abc', 'abcd', 'shop.web.requests', 'a b/c', 'A;b=c', 'caf\u00e9', '-'),
  },
  fc.constantFrom(
    '',
    'a|b',
    '_e',
    '_s',
    '_e{3,3}',
    '_sc',
    'x'.repeat(255),
    'x'.repeat(256),
    'a\0b',
    'a\rb',
    ' ',
    '\u2003',
    '\ufeff',
  ),
)
const value = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 500 }).map(String) },
  { weight: 2, arbitrary: fc.double({ min: 0, max: 1000, noNaN: true }).map(String) },
  { weight: 2, arbitrary: fc.integer({ min: -9, max: 9 }).map((change) => (change < 0 ? `${change}` : `+${change}`)) },
  fc.constantFrom(
    '',
    '-0',
    '.5',
    '5.',
    '1e3',
    '-1e308',
    '1e308',
    '1e309',
    ' 7',
    '7\t',
    '- 7',
    '0x10',
    'Infinity',
    'NaN',
    'u1',
    'caf\u00e9',
  ),
)
const type = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('c', 'g', 'ms', 'h', 'd', 's', 'm') },
  fc.constantFrom('', 'C', 'cc', 'mss', 'x', ' c', 'ms\t', 'g \r'),
)
const rate = fc.constantFrom(
  '1',
  '0.1',
  '.5',
  '1.',
  '1e-3',
  '0',
  '2',
  '-0.5',
  '+0.5',
  ' 0.5',
  '',
  'x',
  '0.5 ',
  '1e-320',
)
const tag = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('k:v', 'k:w', 'l:v', 'bare', 'url:http://x/y', 'k:', 'm:caf\u00e9', 'p;q:r;s'),
  },
  fc.constantFrom(
    '',
    ':v',
    'dd.internal.entity_id:7',
    '__proto__:x',
    `${'k'.repeat(129)}:v`,
    `k:${'v'.repeat(256)}`,
    'k:\0',
  ),
)
const field = fc.oneof(
  { weight: 3, arbitrary: rate.map((text) => `@${text}`) },
  { weight: 5, arbitrary: fc.array(tag, { maxLength: 4 }).map((tags) => `#${tags.join(',')}`) },
  fc.constantFrom('T1700000000', 'T1699999000', 'T1700000600', 'T1700000601', 'T0', 'T', 'Tx', 'T-5', 'T1234567890123'),
  fc.constantFrom('c:ci-1234', 'e:it-false,cn-web', 'card:low', '', 'new:thing', 'c', '@0.5:3', '#k:v:w'),
)
const group = fc
  .tuple(fc.array(value, { minLength: 1, maxLength: 3 }), type, fc.option(rate, { nil: undefined, freq: 3 }))
  .map(([values, kind, share]) => `${values.join(':')}|${kind}${share === undefined ? '' : `|@${share}`}`)
const regular = fc
  .tuple(name, fc.array(group, { minLength: 1, maxLength: 3 }), fc.array(field, { maxLength: 3 }))
  .map(
    ([key, [first = '', ...more], fields]) =>
      [`${key}:${first}`, ...more].join(':') + fields.map((text) => `|${text}`).join(''),
  )
const other = fc.constantFrom(
  '',
  ' ',
  '\r',
  'x',
  'x:',
  ':1|c',
  'x|c',
  'x:1',
  '_e{2,2}:ab|cd|#k:v',
  '_sc|redis|0|m:x:1|c',
  '|',
  ':',
  '::|',
)

/** What a line is turned into by taking, adding or changing a byte. */
const mutated = fc
  .tuple(regular, fc.nat(), fc.nat(2), fc.constantFrom(...':|@#,T_es{c1.-+ \t\r\0\u00ff\u0080'.split('')))
  .map(([line, at, cut, piece]) => {
    const bytes = binary(line)
    const place = at % (bytes.length + 1)
    return bytes.slice(0, place) + (cut === 2 ? '' : piece) + bytes.slice(place + (cut === 0 ? 0 : 1))
  })

const line = fc.oneof(
  { weight: 6, arbitrary: regular.map(binary) },
  { weight: 3, arbitrary: mutated },
  other,
  fc.string({ unit: fc.constantFrom(...'ab:|@#,T1.c\u00e9'.split('')), maxLength: 12 }).map(binary),
)

/** UTF-8, a character a byte. */
function binary(text: string): string {
  return Buffer.from(text).toString('latin1')
}

describe('StatsD lines', () => {
  test('come to what an independent reading of the grammar makes of them, whatever stands beside them', () => {
    const packets = fc.array(
      fc.tuple(
        fc.array(line, { minLength: 1, maxLength: 60, size: 'max' }),
        fc.constantFrom('\n', '\r\n', '\n\n'),
        fc.boolean(),
        fc.constantFrom(0, 1, 400, 1_000, 1_600),
        fc.boolean(),
      ),
      { minLength: 1, maxLength: 5 },
    )
    let lines = 0
    fc.assert(
      fc.property(packets, fc.boolean(), (sent, sanitize) => {
        const harness = new StatsdHarness({ sanitize })
        const model = new StatsdModel(sanitize)
        for (const [texts, separator, open, laterMs, flushed] of sent) {
          harness.clock.advance(laterMs)
          const packet = texts.join(separator) + (open ? '' : separator)
          model.packet(packet, harness.clock.now())
          // amid other lines that are none of the packet's
          const bytes = Buffer.from(`x:1|c\n${packet}:1|c\nx:1|c`, 'latin1')
          harness.intake.packet(bytes, 6, bytes.length - 10)
          if (!flushed) continue
          harness.intake.flush()
          model.flush()
        }
        lines += model.lines
        check(harness, model)
      }),
      { numRuns: 1_300 },
    )
    expect(lines).toBeGreaterThan(100_000)
  }, 180_000)

  test('come to the same one by one', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), (texts) => {
        const harness = new StatsdHarness()
        const model = new StatsdModel(false)
        for (const text of texts) {
          model.packet(text, harness.clock.now())
          harness.intake.packet(Buffer.from(text, 'latin1'))
        }
        check(harness, model)
      }),
      { numRuns: 500 },
    )
  })

  test('of any bytes do no harm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const harness = new StatsdHarness()
        const model = new StatsdModel(false)
        model.packet(Buffer.from(bytes).toString('latin1'), harness.clock.now())
        harness.intake.packet(bytes)
        check(harness, model)
      }),
      { numRuns: 2_000 },
    )
  })
})

function check(harness: StatsdHarness, model: StatsdModel): void {
  const { intake } = harness
  intake.close()
  const { lines, metrics, events, checks, badByReason } = intake.stats()
  const bad = Object.fromEntries(Object.entries(badByReason).filter(([, count]) => count > 0))
  expect({ lines, metrics, events, checks, bad }).toEqual({
    lines: model.lines,
    metrics: model.metrics,
    events: model.events,
    checks: model.checks,
    bad: model.bad,
  })
  const taken = harness.taken()
  expect(Object.keys(taken).sort()).toEqual([...model.series.keys()].sort())
  const wrong = [...model.series].filter(([id, series]) => !isOutcome(taken[id], series))
  expect(wrong.map(([id, { values }]) => ({ id, taken: taken[id], values }))).toEqual([])
}

function isOutcome(outcome: Outcome | undefined, series: ModelSeries): boolean {
  if (outcome === undefined) return false
  if (series.type === 'set') return outcome.count === series.members.size
  if (series.type === 'gauge') return isDeepStrictEqual(outcome, gaugeOutcome(series))
  const amounts = series.values.map(([amount]) => amount)
  if (series.type === 'counter' || series.type === 'meter') return isClose(outcome.sum, sum(amounts), series)
  const weights = series.values.map(([, weight]) => weight)
  const sorted = amounts.toSorted((a, b) => a - b)
  return (
    outcome.min === sorted[0] &&
    outcome.max === sorted.at(-1) &&
    isClose(outcome.count, sum(weights), series) &&
    isClose(outcome.sum, sum(series.values.map(([amount, weight]) => amount * weight)), series) &&
    (sorted.length > 64 || isDeepStrictEqual(outcome.values, sorted))
  )
}

function gaugeOutcome({ readings }: ModelSeries): Outcome {
  const values = readings.map((reading) => reading.value)
  // of two readings in a second the later stays; of two at one time the one that came last, or of two frames' the larger
  const told = newest(
    readings,
    ({ timeMs, frame }) => `${frame} ${Math.floor(timeMs / 1000)}`,
    () => true,
  )
  const kept = newest(
    told,
    ({ timeMs }) => Math.floor(timeMs / 1000),
    (reading, before) => reading.value > before.value,
  )
  return {
    count: values.length,
    min: Math.min(...values),
    max: Math.max(...values),
    readings: kept.sort((a, b) => a.timeMs - b.timeMs).map((reading) => [reading.timeMs, reading.value]),
  }
}

/** The newest reading of each kind; of two at one time the one that `replaces` the other, if it does. */
function newest(
  readings: readonly ModelReading[],
  kindOf: (reading: ModelReading) => string | number,
  replaces: (reading: ModelReading, before: ModelReading) => boolean,
): ModelReading[] {
  const kept = new Map<string | number, ModelReading>()
  for (const reading of readings) {
    const kind = kindOf(reading)
    const before = kept.get(kind)
    const isNewer = before === undefined || reading.timeMs > before.timeMs
    if (isNewer || (reading.timeMs === before.timeMs && replaces(reading, before))) kept.set(kind, reading)
  }
  return [...kept.values()]
}

/** Sums of doubles in another order, of which those beyond all doubles are the largest there is. */
function isClose(found: number | undefined, expected: number, { values }: ModelSeries): boolean {
  if (found === undefined) return false
  const scale = sum(values.map(([amount, weight]) => Math.max(1, Math.abs(amount)) * weight))
  return scale > 1e300 || Math.abs(found - expected) <= scale * 1e-12
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0)
}
