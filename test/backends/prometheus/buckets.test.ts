import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HISTOGRAM_BOUNDS, TIMER_BOUNDS, bucketCounts } from '../../../backends/prometheus/buckets.ts'
import { Distribution } from '../../../client/sketch/distribution.ts'

const ERROR = 1.0055

const values = fc.array(
  fc.record({
    value: fc.oneof(
      fc.double({ noNaN: true, min: -1e6, max: 1e6 }),
      fc.integer({ min: -20, max: 20 }).map((power) => 2 ** power),
      fc.constantFrom(0, ...TIMER_BOUNDS, ...HISTOGRAM_BOUNDS),
    ),
    weight: fc.integer({ min: 1, max: 5 }),
  }),
  { minLength: 1, maxLength: 200 },
)

type Values = readonly { readonly value: number; readonly weight: number }[]

function distributionOf(all: Values): Distribution {
  const distribution = new Distribution()
  for (const { value, weight } of all) distribution.add(value, weight)
  return distribution
}

function atMost(all: Values, bound: number): number {
  return all.reduce((sum, { value, weight }) => (value <= bound ? sum + weight : sum), 0)
}

describe('bucket counts', () => {
  test('are exact for up to 64 values, whatever the bounds', () => {
    const bounds = fc.uniqueArray(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 20 })
    fc.assert(
      fc.property(values, bounds, (all, unsorted) => {
        const few = all.slice(0, 64)
        const sorted = unsorted.sort((left, right) => left - right)
        const expected = [...sorted, Infinity].map((bound) => atMost(few, bound))
        expect(bucketCounts(distributionOf(few), sorted)).toEqual(expected)
      }),
    )
  })

  test('are exact for any number of values where bounds are those of bins', () => {
    const bounds = Array.from({ length: 30 }, (_, index) => 2 ** (index - 15))
    fc.assert(
      fc.property(values, (all) => {
        expect(bucketCounts(distributionOf(all), bounds)).toEqual(
          [...bounds, Infinity].map((bound) => atMost(all, bound)),
        )
      }),
    )
  })

  test('are otherwise those of bounds within 0.55 %, ascend, and end with all', () => {
    fc.assert(
      fc.property(values, (all) => {
        const counts = bucketCounts(distributionOf(all), TIMER_BOUNDS)
        TIMER_BOUNDS.forEach((bound, index) => {
          expect(counts[index]).toBeGreaterThanOrEqual(atMost(all, bound / ERROR))
          expect(counts[index]).toBeLessThanOrEqual(atMost(all, bound * ERROR))
        })
        expect(counts).toEqual([...counts].sort((left, right) => left - right))
        expect(counts.at(-1)).toBe(atMost(all, Infinity))
      }),
    )
  })
})
