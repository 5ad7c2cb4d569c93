import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { durationMs } from '../../client/duration.ts'
import { UsageError } from '../../client/errors.ts'

describe('a duration as text', () => {
  test.each([
    ['250ms', 250],
    ['5s', 5000],
    ['1m', 60_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['10', 10_000],
    ['0', 0],
    ['.5', 500],
    [' 5s ', 5000],
  ])('reads %j as %d ms', (text, ms) => {
    expect(durationMs(text)).toBe(ms)
  })

  test.each(['', 's', '-1s', '1x', '1.s', '.', '1 s', '1m30s', '1e3', 'NaN', 'Infinity', '0x10', '5S'])(
    'refuses %j and shows how to write one',
    (text) => {
      expect(() => durationMs(text)).toThrow(UsageError)
      expect(() => durationMs(text)).toThrow(/"250ms"/)
    },
  )

  test('refuses what no timer can wait', () => {
    expect(() => durationMs('600h')).toThrow(/24 days/)
    expect(durationMs('590h')).toBe(590 * 3_600_000)
  })

  test('leaves no noise of floating point', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (thousandths) => {
        expect(durationMs(`${thousandths / 1000}s`)).toBe(thousandths)
      }),
    )
  })
})

describe('a duration as a number', () => {
  test('is milliseconds', () => {
    expect(durationMs(250)).toBe(250)
    expect(durationMs(0)).toBe(0)
  })

  test.each([-1, Number.NaN, Infinity, 2 ** 31])('refuses the number %d', (value) => {
    expect(() => durationMs(value)).toThrow(UsageError)
  })
})
