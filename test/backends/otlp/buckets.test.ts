import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Buckets,
  type ExponentialHistogram,
  MOST_COUNTED,
  histogramOf,
  mergeHistograms,
} from '../../../backends/otlp/buckets.ts'
import { Distribution } from '../../../client/sketch/distribution.ts'

const PLENTY = 1_000_000

function distributionOf(values: readonly number[], weights?: readonly number[]): Distribution {
  const distribution = new Distribution()
  values.forEach((value, index) => distribution.add(value, weights?.[index] ?? 1))
  return distribution
}

/** Every bucket with its bounds by OpenTelemetry's definition, least values first; zeros are a bucket from 0 to 0. */
function bucketsOf({ scale, zeroCount, positive, negative }: ExponentialHistogram): {
  low: number
  high: number
  count: number
}[] {
  const bound = (index: number): number => 2 ** (index / 2 ** scale)
  const list = ({ offset, counts }: Buckets, sign: number) =>
    Array.from(counts, (count, index) => {
      const bounds = [sign * bound(offset + index), sign * bound(offset + index + 1)] as const
      return { low: Math.min(...bounds), high: Math.max(...bounds), count }
    })
  return [...list(negative, -1).reverse(), { low: 0, high: 0, count: zeroCount }, ...list(positive, 1)]
}

const total = (buckets: { count: number }[]): number => buckets.reduce((sum, { count }) => sum + count, 0)

// doubles of all sizes would rarely share a bucket
const value = fc.oneof(
  fc.double({ min: 0.001, max: 10, noNaN: true }),
  fc.double({ min: -1000, max: 1000, noNaN: true }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer({ min: -60, max: 60 }).map((exponent) => 2 ** exponent),
  fc.constant(0),
)
// up to 64 values are kept as they are, more become bins
const values = fc.oneof(
  fc.array(value, { minLength: 1, maxLength: 64 }),
  fc.array(value, { minLength: 65, maxLength: 300 }),
)

describe('a histogram', () => {
  test('has each value in the bucket that holds it by definition, and nothing else', () => {
    fc.assert(
      fc.property(value, (each) => {
        // 0 and the like have no logarithm, and bounds at the ends are no doubles
        fc.pre(each === 0 || (Math.abs(each) > 1e-300 && Math.abs(each) < 1e300))
        for (const copies of [1, 100]) {
          const buckets = bucketsOf(histogramOf(distributionOf(Array<number>(copies).fill(each)), PLENTY))
          const filled = buckets.filter(({ count }) => count > 0)
          expect(filled).toHaveLength(1)
          const [{ low, high, count }] = filled as [{ low: number; high: number; count: number }]
          expect(count).toBe(copies)
          const slack = Math.abs(each) * 1e-12
          expect(each >= low - slack && each <= high + slack).toBe(true)
        }
      }),
    )
  })

  test('puts what lies on a bound into the bucket below it', () => {
    for (let exponent = -1074; exponent <= 1023; exponent++) {
      const { scale, positive } = histogramOf(distributionOf([2 ** exponent]), PLENTY)
      expect([scale, positive.offset]).toEqual([6, 64 * exponent - 1])
    }
  })

  test('counts every value once, whatever the number of buckets', () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 32, max: 4000 }), (all, most) => {
        const histogram = histogramOf(distributionOf(all), most)
        expect(histogram.count).toBe(all.length)
        expect(total(bucketsOf(histogram))).toBe(all.length)
        expect(histogram.zeroCount).toBe(all.filter((each) => each === 0).length)
        for (const { counts } of [histogram.positive, histogram.negative]) {
          expect(counts.length).toBeLessThanOrEqual(most)
          const ends = counts.length === 0 ? [] : [counts[0], counts[counts.length - 1]]
          expect(ends).not.toContain(0)
        }
      }),
    )
  })

  test('tells quantiles within 1 % of the value at the scale of the sketch', () => {
    const positive = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(positive, fc.double({ min: 0.01, max: 1, noNaN: true }), (all, q) => {
        const buckets = bucketsOf(histogramOf(distributionOf(all), PLENTY))
        const rank = Math.ceil(q * all.length * (1 - 1e-12))
        const exact = [...all].sort((left, right) => left - right)[rank - 1] as number
        let seen = 0
        const bucket = buckets.find(({ count }) => (seen += count) >= rank) as { low: number; high: number }
        expect(Math.abs((bucket.low + bucket.high) / 2 / exact - 1)).toBeLessThan(0.01)
      }),
    )
  })

  test('keeps the scale while its buckets suffice, and lowers it no more than it must', () => {
    const spread = [1, 2 ** 3.9]
    expect(histogramOf(distributionOf(spread), 256).scale).toBe(6)
    expect(histogramOf(distributionOf(spread), 128).scale).toBe(5)
    expect(histogramOf(distributionOf([...spread, -1]), 128)).toMatchObject({ scale: 5, negative: { offset: -1 } })
    expect(histogramOf(distributionOf([5e-324, Number.MAX_VALUE]), 160).scale).toBe(-4)
  })

  test('rounds weights so that no sum from the least value up is off by more than a half', () => {
    // none lies on a bound
    const each = fc.integer({ min: -50, max: 50 }).map((number) => number * 1.37)
    const weight = fc.double({ min: 1, max: 1000, noNaN: true })
    const weighted = fc.array(fc.tuple(each, weight), { minLength: 1, maxLength: 100 })
    fc.assert(
      fc.property(weighted, (pairs) => {
        const [all, weights] = [pairs.map(([number]) => number), pairs.map(([, share]) => share)]
        const histogram = histogramOf(distributionOf(all, weights), PLENTY)
        let sum = 0
        for (const { high, count } of bucketsOf(histogram)) {
          expect(Number.isInteger(count) && count >= 0).toBe(true)
          sum += count
          const exact = pairs.reduce((part, [number, share]) => (number <= high ? part + share : part), 0)
          expect(Math.abs(sum - exact)).toBeLessThanOrEqual(0.5 + 1e-6)
        }
        expect(histogram.count).toBe(sum)
      }),
    )
  })

  test('counts weights that nobody can count as many, and those below one as one', () => {
    const huge = histogramOf(distributionOf([1, 2], [1e300, 1e300]), PLENTY)
    expect(huge.count).toBe(MOST_COUNTED)
    expect(total(bucketsOf(huge))).toBe(MOST_COUNTED)
    expect(histogramOf(distributionOf([3], [0.01]), PLENTY).count).toBe(1)
    expect(histogramOf(new Distribution(), PLENTY)).toMatchObject({ count: 0, zeroCount: 0 })
  })
})

describe('two histograms', () => {
  test('come to the histogram of all their values', () => {
    fc.assert(
      fc.property(values, values, fc.integer({ min: 32, max: 4000 }), (one, other, most) => {
        const merged = mergeHistograms(
          histogramOf(distributionOf(one), most),
          histogramOf(distributionOf(other), most),
          most,
        )
        const whole = histogramOf(distributionOf([...one, ...other]), most)
        expect(plain(merged)).toEqual(plain(whole))
      }),
    )
  })

  test('are what one is when the other is empty', () => {
    const one = histogramOf(distributionOf([1, 0, -3]), PLENTY)
    const none = histogramOf(new Distribution(), PLENTY)
    expect(plain(mergeHistograms(one, none, PLENTY))).toEqual(plain(one))
    expect(plain(mergeHistograms(none, one, PLENTY))).toEqual(plain(one))
  })
})

function plain({ positive, negative, ...rest }: ExponentialHistogram): object {
  const list = ({ offset, counts }: Buckets): object => ({ offset, counts: Array.from(counts) })
  return { ...rest, positive: list(positive), negative: list(negative) }
}
