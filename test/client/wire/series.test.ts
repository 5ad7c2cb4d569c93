import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidMeasurementError } from '../../../client/errors.ts'
import { LIMITS, byBytes, checkLevel, encodeKey, hashIfKey, parseKey, seriesKey } from '../../../client/wire/series.ts'

const text = fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.replaceAll(/[\0\r\n]/g, '|'))
const part = fc.oneof(
  text,
  fc.constantFrom('a', 'b', '1|2', 'a,b', 'a=b', '__proto__', 'constructor', 'toString', '\ufeff'),
)
const tags = fc.dictionary(
  part.filter((key) => key !== ''),
  part,
  { maxKeys: LIMITS.tags },
)
const series = fc.record({ name: part.filter((name) => name !== ''), source: part, tags })
const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value)
const isKey = (bytes: Uint8Array, start: number, end: number): boolean => hashIfKey(bytes, start, end) >= 0
const isKeyText = (value: string): boolean => isKey(utf8(value), 0, utf8(value).length)

interface Parts {
  readonly name: string
  readonly source: string
  readonly tags: Readonly<Record<string, string>>
}

// identity without keys: the parts, tags sorted
function identity({ name, source, tags: used }: Parts): string {
  return JSON.stringify([name, source, Object.entries(used).sort(([left], [right]) => (left < right ? -1 : 1))])
}

describe('seriesKey', () => {
  it('never gives one key to two series', () => {
    const close = fc.constantFrom('', 'a', 'b', 'ab', '1', '2')
    const few = fc.record({
      name: close.filter((name) => name !== ''),
      source: close,
      tags: fc.dictionary(
        close.filter((key) => key !== ''),
        close,
        { maxKeys: 3 },
      ),
    })
    const check = (one: Parts, other: Parts): void => {
      const same = seriesKey(one.name, one.source, one.tags) === seriesKey(other.name, other.source, other.tags)
      expect(same).toBe(identity(one) === identity(other))
    }
    fc.assert(fc.property(few, few, check), { numRuns: 2000 })
    fc.assert(fc.property(series, series, check))
  })

  it('tells tags apart that other registries confuse', () => {
    expect(seriesKey('n', 's', { a: '1|2', b: '3' })).not.toBe(seriesKey('n', 's', { a: '1', b: '2|3' }))
    expect(seriesKey('n', 's', { a: '1,b=2' })).not.toBe(seriesKey('n', 's', { a: '1', b: '2' }))
  })

  it('is undone by parseKey', () => {
    fc.assert(
      fc.property(series, ({ name, source, tags: used }) => {
        const parsed = parseKey('timer', seriesKey(name, source, used))
        expect(parsed.type).toBe('timer')
        expect(identity(parsed)).toBe(identity({ name, source, tags: used }))
        expect(Object.keys(parsed.tags).sort(byBytes)).toEqual(Object.keys(used).sort(byBytes))
      }),
    )
  })

  it('does not depend on the order of tags', () => {
    fc.assert(
      fc.property(series, ({ name, source, tags: used }) => {
        const reversed = Object.fromEntries(Object.entries(used).reverse())
        expect(seriesKey(name, source, reversed)).toBe(seriesKey(name, source, used))
      }),
    )
  })

  it('writes numbers and booleans as text, and leaves undefined out', () => {
    expect(seriesKey('n', '', { b: true, a: 200, c: undefined })).toBe('n\0\0a\x00200\0b\0true\0')
    expect(seriesKey('n', 's', {})).toBe('n\0s\0')
    expect(seriesKey('n', 's')).toBe('n\0s\0')
  })

  it.each(['\0', '\r', '\n'])('refuses %j in every part', (char) => {
    for (const bad of [char, `a${char}`, `${char}b`, `a${char}b`]) {
      expect(() => seriesKey(bad, 's')).toThrow(InvalidMeasurementError)
      expect(() => seriesKey('n', bad)).toThrow(InvalidMeasurementError)
      expect(() => seriesKey('n', 's', { [bad]: 'v' })).toThrow(InvalidMeasurementError)
      expect(() => seriesKey('n', 's', { k: bad })).toThrow(InvalidMeasurementError)
      expect(() => checkLevel(bad)).toThrow(InvalidMeasurementError)
    }
  })

  it.each([
    ['a', 1],
    ['ü', 2],
    ['級', 3],
    ['😀', 4],
  ])('counts the limits in UTF-8 bytes, of %s', (char, size) => {
    const fitting = (limit: number): string => char.repeat(Math.floor(limit / size))
    const over = (limit: number): string => fitting(limit) + 'x'.repeat(limit % size) + 'x'
    expect(() => seriesKey(over(LIMITS.name), 's')).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', over(LIMITS.source))).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', 's', { [over(LIMITS.tagKey)]: 'v' })).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', 's', { k: over(LIMITS.tagValue) })).toThrow(InvalidMeasurementError)
    expect(() => checkLevel(over(LIMITS.level))).toThrow(InvalidMeasurementError)
    checkLevel(fitting(LIMITS.level))
    const largest = seriesKey(fitting(LIMITS.name), fitting(LIMITS.source), {
      [fitting(LIMITS.tagKey)]: fitting(LIMITS.tagValue),
    })
    expect(isKeyText(largest)).toBe(true)
  })

  it('takes 32 tags and refuses 33, not counting those that are undefined', () => {
    const many = (count: number): Record<string, string> =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`tag${index}`, 'v']))
    expect(isKeyText(seriesKey('n', 's', { ...many(32), left: undefined }))).toBe(true)
    expect(() => seriesKey('n', 's', many(33))).toThrow(InvalidMeasurementError)
  })

  it('refuses what is no text, an empty name and an empty tag key', () => {
    expect(() => seriesKey('', 's')).toThrow(InvalidMeasurementError)
    expect(() => seriesKey(5 as unknown as string, 's')).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', null as unknown as string)).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', 's', { '': 'v' })).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', 's', { k: {} as unknown as string })).toThrow(InvalidMeasurementError)
    expect(() => seriesKey('n', 's', { k: null as unknown as string })).toThrow(InvalidMeasurementError)
  })

  it('replaces half characters, and refuses them in tag keys, where two tags could become one', () => {
    expect(seriesKey('a\ud800', 's', { k: '\udc00' })).toBe('a\ufffd\0s\0k\0\ufffd\0')
    expect(() => seriesKey('n', 's', { '\ud800': '1', '\ud801': '2' })).toThrow(InvalidMeasurementError)
  })
})

describe('byBytes', () => {
  it('is the order of the UTF-8 bytes', () => {
    const units = fc.string({
      unit: fc.constantFrom('a', '\x7f', 'ü', '\ud7ff', '\ue000', '\uffff', '😀', '\u{10ffff}'),
    })
    const check = (left: string, right: string): void => {
      expect(Math.sign(byBytes(left, right))).toBe(Buffer.compare(Buffer.from(left), Buffer.from(right)))
    }
    fc.assert(fc.property(units, units, check), { numRuns: 2000 })
    fc.assert(fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), check))
  })
})

describe('checkLevel', () => {
  it.each(['', 'a|b', '|', '#a', '?a'])('refuses %j', (level) => {
    expect(() => checkLevel(level)).toThrow(InvalidMeasurementError)
  })

  it('takes every other text, # and ? inside included', () => {
    for (const level of ['info', 'a#', 'a?', 'ü', ' ', '0']) expect(() => checkLevel(level)).not.toThrow()
  })
})

describe('hashIfKey', () => {
  it('takes every key that seriesKey makes, wherever it lies', () => {
    fc.assert(
      fc.property(series, fc.uint8Array({ maxLength: 9 }), (one, around) => {
        const key = encodeKey(seriesKey(one.name, one.source, one.tags))
        const bytes = Uint8Array.from([...around, ...key.bytes, ...around])
        expect(isKey(bytes, around.length, around.length + key.bytes.length)).toBe(true)
        expect(key.hash & 31).toBe(key.shard)
      }),
    )
  })

  it('takes of all short texts only those that seriesKey makes from their parts', () => {
    const pieces = fc.array(fc.constantFrom('a', 'b', 'ab', '\0', '\0', '\0', '\r', 'ü', 'b\0'), { maxLength: 14 })
    const check = (key: string): void => {
      const parts = key.split('\0')
      let made: string | undefined
      try {
        const { name, source, tags: used } = parseKey('counter', key)
        made = seriesKey(name, source, used)
      } catch {
        made = undefined
      }
      expect(isKeyText(key)).toBe(parts.length > 1 && made === key)
    }
    fc.assert(
      fc.property(
        pieces.map((list) => list.join('')),
        check,
      ),
      { numRuns: 5000 },
    )
    fc.assert(
      fc.property(
        pieces.map((list) => `a\0b\0${list.join('')}`),
        check,
      ),
      { numRuns: 5000 },
    )
  })

  it.each([
    ['nothing', ''],
    ['no source', 'name\0'],
    ['no last NUL', 'name\0source'],
    ['text behind the last NUL', 'name\0source\0x'],
    ['an empty name', '\0source\0'],
    ['a tag without a value', 'name\0source\0k\0'],
    ['an empty tag key', 'name\0source\0\0v\0'],
    ['a tag twice', 'name\0source\0k\0v\0k\0w\0'],
    ['tags out of order', 'name\0source\0b\0v\0a\0w\0'],
    ['tags out of order, one the start of the other', 'name\0source\0ab\0v\0a\0w\0'],
    ['a line break', 'na\nme\0source\0'],
    ['a carriage return', 'name\0source\0k\0\r\0'],
    ['a name of 256 bytes', `${'n'.repeat(256)}\0source\0`],
    ['a source of 256 bytes', `name\0${'s'.repeat(256)}\0`],
    ['a tag key of 129 bytes', `name\0source\0${'k'.repeat(129)}\0v\0`],
    ['a tag value of 256 bytes', `name\0source\0k\0${'v'.repeat(256)}\0`],
    ['33 tags', `name\0source\0${Array.from({ length: 33 }, (_, index) => `k${index + 10}\0v\0`).join('')}`],
  ])('refuses %s', (_, key) => {
    expect(isKeyText(key)).toBe(false)
  })

  it('takes tags of which one key is the start of the next', () => {
    expect(isKeyText('name\0source\0a\0v\0ab\0w\0')).toBe(true)
  })

  it.each([
    ['a lone continuation byte', [0x61, 0x80, 0, 0]],
    ['an overlong NUL', [0x61, 0xc0, 0x80, 0, 0]],
    ['half a surrogate pair', [0x61, 0xed, 0xa0, 0x80, 0, 0]],
    ['a character cut by the end of its part', [0x61, 0xc3, 0, 0]],
  ])('refuses what is not UTF-8: %s', (_, bytes) => {
    expect(isKey(Uint8Array.from(bytes), 0, bytes.length)).toBe(false)
  })
})
