import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDecimal } from '../../../client/wire/decimal.ts'

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/

function parse(text: string): number {
  // something else before and behind, as in a line
  const bytes = Buffer.from(`7${text}7`, 'latin1')
  return parseDecimal(bytes, 1, bytes.length - 1)
}

function expected(text: string): number {
  const bare = text.replaceAll(/^[ \t]+|[ \t]+$/g, '')
  return DECIMAL.test(bare) ? Number(bare) : Number.NaN
}

const digits = (maxLength: number): fc.Arbitrary<string> =>
  fc.stringMatching(/^\d+$/).map((text) => text.slice(0, maxLength))

const decimal = fc
  .tuple(
    fc.constantFrom('', '+', '-', ' ', '\t-'),
    digits(25),
    fc.option(digits(30)),
    fc.option(fc.integer({ min: -400, max: 400 })),
  )
  .map(
    ([sign, whole, fraction, exponent]) =>
      sign + whole + (fraction === null ? '' : `.${fraction}`) + (exponent === null ? '' : `e${exponent}`),
  )

describe('numbers in lines', () => {
  test('are the doubles that Number() makes of the same text, and all else is none', () => {
    const texts = fc.oneof(
      fc.double().map(String),
      fc.double({ min: 0, max: 1000 }).map(String),
      fc.integer().map(String),
      fc.double({ min: -1e6, max: 1e6 }).map((value) => value.toFixed(3)),
      decimal,
      fc.string({ unit: fc.constantFrom(...'0123456789..+-eE x_,'.split('')) }),
      fc.string({ unit: 'binary-ascii' }),
    )
    fc.assert(
      fc.property(texts, (text) => {
        if (!Object.is(parse(text), expected(text))) throw new Error(`${text}: ${parse(text)}, not ${expected(text)}`)
      }),
      { numRuns: 100_000 },
    )
  })

  test.each([
    ['0', 0],
    ['-0', -0],
    ['.5', 0.5],
    ['5.', 5],
    ['007', 7],
    ['+12', 12],
    ['9007199254740991', 9007199254740991],
    ['9007199254740993', 9007199254740992],
    ['0.1234567890123456789', 0.12345678901234568],
    ['1e3', 1000],
    ['1e400', Number.POSITIVE_INFINITY],
    ['  12\t', 12],
    ['', Number.NaN],
    ['.', Number.NaN],
    ['-', Number.NaN],
    ['1.2.3', Number.NaN],
    ['1 2', Number.NaN],
    ['0x10', Number.NaN],
    ['Infinity', Number.NaN],
    ['NaN', Number.NaN],
    ['1_000', Number.NaN],
    ['1e', Number.NaN],
  ])('reads %j as %d', (text, value) => {
    expect(parse(text)).toBe(value)
  })

  test('have a bound on their length', () => {
    expect(parse(`${'0'.repeat(60_000)}1`)).toBe(1)
    expect(parse('9'.repeat(1_000))).toBe(Number.POSITIVE_INFINITY)
    expect(parse(`0.${'3'.repeat(1_098)}`)).toBe(1 / 3)
    expect(parse(`0.${'3'.repeat(60_000)}`)).toBe(Number.NaN)
  })
})
