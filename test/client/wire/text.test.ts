import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../client/wire/bytes.ts'
import { parseDecimal } from '../../../client/wire/decimal.ts'
import { LIMITS, checkLevel, seriesKey } from '../../../client/wire/series.ts'
import {
  TEXT_FAULTS,
  type TextMeasurement,
  TextReader,
  checkTextSeries,
  formatText,
  parseText,
} from '../../../client/wire/text.ts'

const parse = (line: string): TextMeasurement | string => parseText(utf8(line))

const numbers = ({ value, timestamp }: TextReader): Pick<TextMeasurement, 'value' | 'timestamp'> => ({
  value,
  timestamp,
})

/** Texts that a series may have and a line can tell. */
const part = (limit: number): fc.Arbitrary<string> =>
  fc
    .string({ unit: 'grapheme', maxLength: limit })
    // oxlint-disable-next-line no-control-regex
    .map((text) => text.replaceAll(/[|\0\r\n]/g, '_'))
    .filter((text) => text.isWellFormed() && utf8(text).length <= limit)

const measurement: fc.Arbitrary<TextMeasurement> = fc.record({
  level: part(LIMITS.level).filter((text) => text !== '' && !/^[#?]/.test(text)),
  type: fc.constantFrom('counter', 'gauge', 'timer'),
  name: part(LIMITS.name).filter((text) => text !== ''),
  value: fc.double({ noNaN: true, noDefaultInfinity: true }),
  timestamp: fc.oneof(fc.integer({ min: 0, max: 8_639_999_999_999 }), fc.constant(Number.NaN)),
  source: part(LIMITS.source).filter((text) => text !== ''),
})

describe('a text line', () => {
  test('says what Zibrato for Python 0.2 meant by it', () => {
    const shared = { level: 'info', timestamp: 1_700_000_000, source: 'shop' }
    expect(parse('info|Counter|orders|5|1700000000|shop')).toEqual({
      ...shared,
      type: 'counter',
      name: 'orders',
      value: 5,
    })
    expect(parse('info|Gauge|queue.size|0|1700000000|shop')).toEqual({
      ...shared,
      type: 'gauge',
      name: 'queue.size',
      value: 0,
    })
    expect(parse('info|Timer|db|1.2e-05|1700000000.75|')).toEqual({
      level: 'info',
      type: 'timer',
      name: 'db',
      value: 0.000012,
      timestamp: 1_700_000_000.75,
      source: 'not_specified',
    })
    expect(parse('débug|gauges|größe| -1.50 ||')).toMatchObject({ level: 'débug', name: 'größe', value: -1.5 })
  })

  test.each([
    ['counter', ['Counter', 'COUNTERS', 'count', 'counts', 'couter', 'conters', ' Counter']],
    ['gauge', ['Gauge', 'gauges', 'guage', 'gage', 'Gauged', 'GAUGE ']],
    ['timer', ['Timer', 'timers', 'time', 'Times', 'tmier']],
  ])('is of type %s for every spelling with up to two letters wrong', (type, spellings) => {
    for (const spelling of spellings) expect(parse(`info|${spelling}|a|1|1|b`), spelling).toMatchObject({ type })
  })

  test.each([
    [
      'parts',
      ['', '|', 'info', 'info|Counter|a|1|1', 'info|Counter|a|b|1|1|c', `info|Counter|a|1|1|${'x'.repeat(1_024)}`],
    ],
    [
      'level',
      [
        '|Counter|a|1|1|b',
        '#0a|Counter|a|1|1|b',
        '?x|Counter|a|1|1|b',
        `${'x'.repeat(65)}|Counter|a|1|1|b`,
        'a\nb|Counter|a|1|1|b',
      ],
    ],
    [
      'type',
      [
        'info||a|1|1|b',
        'info|set|a|1|1|b',
        'info|meter|a|1|1|b',
        'info|histogram|a|1|1|b',
        'info|c|a|1|1|b',
        `info|${'counter'.repeat(9)}|a|1|1|b`,
      ],
    ],
    ['name', ['info|Counter||1|1|b', `info|Counter|${'n'.repeat(256)}|1|1|b`, 'info|Counter|a\0|1|1|b']],
    [
      'value',
      [
        'info|Counter|a||1|b',
        'info|Counter|a|True|1|b',
        'info|Counter|a|nan|1|b',
        'info|Counter|a|inf|1|b',
        'info|Counter|a|1e999|1|b',
        'info|Counter|a|0x10|1|b',
        'info|Counter|a|1,5|1|b',
        'info|Counter|a|1_000|1|b',
        'info|Counter|a|.|1|b',
        'info|Counter|a|-|1|b',
        'info|Counter|a|1 2|1|b',
        `info|Counter|a|${'1'.repeat(900)}x|1|b`,
      ],
    ],
    ['timestamp', ['info|Counter|a|1|now|b', 'info|Counter|a|1|-1|b', 'info|Counter|a|1|9e12|b']],
    ['source', [`info|Counter|a|1|1|${'s'.repeat(256)}`, 'info|Counter|a|1|1|b\r\n']],
  ])('is refused for its %s', (fault, lines) => {
    for (const line of lines) expect(parse(line), JSON.stringify(line)).toBe(fault)
    expect(TEXT_FAULTS).toHaveProperty(fault)
  })

  test('is refused where it is no UTF-8', () => {
    const latin1 = (line: string): Uint8Array => Buffer.from(line, 'latin1')
    expect(parseText(latin1('d\xe9bug|Counter|a|1|1|b'))).toBe('level')
    expect(parseText(latin1('info|Counter|\xe4|1|1|b'))).toBe('name')
    expect(parseText(latin1('info|Counter|a|1|1|\xe4'))).toBe('source')
    expect(parseText(latin1('info|Counter\xe4|a|1|1|b'))).toMatchObject({ type: 'counter' })
  })

  test('reads back as it was written', () => {
    fc.assert(
      fc.property(measurement, (written) => {
        checkLevel(written.level)
        seriesKey(written.name, written.source)
        checkTextSeries(written.type, { ...written, tags: {} })
        // a text has no negative zero
        expect(parseText(formatText(written))).toEqual({ ...written, value: written.value + 0 })
      }),
      { numRuns: 2_000 },
    )
  })

  test('is written as Python wrote it', () => {
    const line = formatText({ level: 'info', type: 'timer', name: 'db', value: 1e-7, timestamp: 1.9, source: 'web' })
    expect(Buffer.from(line).toString()).toBe('info|Timer|db|1e-7|1|web')
  })

  test('mutated in any way is either refused for a reason or a measurement that a series can hold', () => {
    const reader = new TextReader()
    const accepted = { lines: 0, refused: 0 }
    fc.assert(
      fc.property(
        measurement,
        fc.array(
          fc.tuple(
            fc.nat(),
            fc.constantFrom('set', 'insert', 'remove', 'cut'),
            fc.oneof(fc.integer({ max: 255, min: 0 }), fc.constantFrom(0x7c, 0x23, 0x0a, 0x2e)),
          ),
          { minLength: 1, maxLength: 4 },
        ),
        (valid, changes) => {
          const bytes = [...formatText(valid)]
          for (const [at, kind, byte] of changes) {
            const place = at % (bytes.length + 1)
            if (kind === 'set') bytes[place] = byte
            else if (kind === 'insert') bytes.splice(place, 0, byte)
            else if (kind === 'remove') bytes.splice(place, 1)
            else bytes.length = place
          }
          const line = Uint8Array.from(bytes)
          const parsed = parseText(line)
          // a reader that has read other lines before reads the same
          const fault = reader.read(line)
          const series = fault ?? reader.series()
          const read = fault === undefined && typeof series !== 'string' ? { ...series, ...numbers(reader) } : series
          // `expect` costs more than all the rest of it
          if (!isDeepStrictEqual(read, parsed)) throw new Error(`${inspect(read)}, not ${inspect(parsed)}`)
          const isKnown = fault !== undefined || reader.is(reader.identity())
          if (typeof parsed === 'string') {
            accepted.refused++
            return isKnown && Object.hasOwn(TEXT_FAULTS, parsed)
          }
          accepted.lines++
          checkLevel(parsed.level)
          seriesKey(parsed.name, parsed.source)
          return isKnown && Number.isFinite(parsed.value)
        },
      ),
      { numRuns: 100_000 },
    )
    // both happen, or nothing was tested
    expect(Math.min(accepted.lines, accepted.refused)).toBeGreaterThan(5_000)
  })

  test('is recognised by what names its series, whatever its value and time', () => {
    const reader = new TextReader()
    const identityOf = (line: string): [number, Uint8Array] => {
      expect(reader.read(utf8(line))).toBeUndefined()
      return [reader.hash, reader.identity()]
    }
    const [hash, identity] = identityOf('info|Counter|orders|5|1700000000|shop')
    expect(identityOf('info|Counter|orders|123.5||shop')).toEqual([hash, identity])
    expect(reader.is(identity)).toBe(true)
    for (const other of [
      'info|Counter|orders|5|1700000000|shops',
      'info|Counter|order|5|1700000000|sshop',
      'info|Gauge|orders|5|1700000000|shop',
      'infos|Counter|rders|5|1700000000|shop',
      'info|Counter|orders|5|1700000000|',
    ]) {
      expect(identityOf(other)[0], other).not.toBe(hash)
      expect(reader.is(identity), other).toBe(false)
    }
  })
})

describe('a series', () => {
  test('of which no line can tell is refused in one line with the way out', () => {
    const series = { name: 'a', source: 'b', tags: {} }
    for (const type of ['counter', 'gauge', 'timer', 'histogram'] as const) checkTextSeries(type, series)
    checkTextSeries('counter', { ...series, tags: { gone: undefined } })
    expect(() => checkTextSeries('meter', series)).toThrow(/^"a": text lines have no meter; use a counter/)
    expect(() => checkTextSeries('set', series)).toThrow(/^"a": text lines have no unique;/)
    expect(() => checkTextSeries('counter', { ...series, name: 'a|b' })).toThrow(/^name "a\|b" holds "\|"/)
    expect(() => checkTextSeries('gauge', { ...series, source: '|' })).toThrow(/^source "\|" holds "\|"/)
    expect(() => checkTextSeries('timer', { ...series, tags: { t: 1 } })).toThrow(/no tags/)
  })
})

describe('a decimal number', () => {
  const decimal = (text: string): number => parseDecimal(utf8(text), 0, text.length)

  test('is read as the double nearest to it, however it is spelled', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[+-]?(\d{1,25}\.?\d{0,25}|\.\d{1,25})([eE][+-]?\d{1,3})?$/),
        fc.constantFrom('', ' ', '\t '),
        (text, blank) => {
          const expected = Number(text)
          expect(decimal(blank + text + blank)).toBe(expected)
        },
      ),
      { numRuns: 5_000 },
    )
  })

  test('is none when anything else stands there', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), (text) => {
        const isDecimal = /^[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*$/.test(text)
        expect(Number.isNaN(parseDecimal(utf8(text), 0, utf8(text).length))).toBe(!isDecimal)
      }),
      { numRuns: 5_000 },
    )
  })
})
