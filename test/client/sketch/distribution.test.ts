import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Bins, binOf, valueOf } from '../../../client/sketch/bins.ts'
import { Distribution, RAW_VALUES } from '../../../client/sketch/distribution.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { type Random, below, lognormal, seeded } from '../random.ts'

type Sample = readonly [value: number, weight: number]

const QS = [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999, 1]

function of(samples: readonly Sample[]): Distribution {
  const distribution = new Distribution()
  for (const [value, weight] of samples) distribution.add(value, weight)
  return distribution
}

/** Nearest rank over the sorted values, in whole weights. */
function exactQuantile(samples: readonly Sample[], q: number): number {
  const sorted = [...samples].sort(([left], [right]) => left - right)
  const rank = Math.max(1, Math.ceil(q * sorted.reduce((sum, [, weight]) => sum + weight, 0) - 1e-6))
  let seen = 0
  for (const [value, weight] of sorted) if ((seen += weight) >= rank) return value
  return Number.NaN
}

function encoded(distribution: Distribution): Uint8Array {
  const writer = new Writer()
  distribution.encode(writer)
  return writer.bytes()
}

function decoded(bytes: Uint8Array, into: Distribution = new Distribution()): Distribution {
  const reader = new Reader(bytes)
  Distribution.decode(reader, into)
  expect(reader.offset).toBe(bytes.length)
  return into
}

const contents = (bins: Bins | undefined): [number, number][] =>
  bins === undefined ? [] : [...bins.sorted()].map((bin) => [bin, bins.weightOf(bin)])

/** All there is to a distribution, but for the order of values. */
function state(distribution: Distribution): unknown {
  const { weights } = distribution
  return {
    count: distribution.count,
    // 0 and -0 are one value
    min: distribution.min + 0,
    max: distribution.max + 0,
    sketched: distribution.sketched,
    values: [...distribution.values].map((value, index) => `${value} ${weights?.[index] ?? 1}`).sort(),
    zeros: distribution.zeros,
    positive: contents(distribution.positive),
    negative: contents(distribution.negative),
  }
}

function expectSame(one: Distribution, other: Distribution): void {
  expect(state(one)).toEqual(state(other))
  const size = one.count === 0 ? 0 : Math.max(Math.abs(one.min), Math.abs(one.max)) * one.count
  expect(Math.abs(one.sum - other.sum)).toBeLessThanOrEqual(size * 1e-12)
  expect(Math.abs(one.sumOfSquares - other.sumOfSquares)).toBeLessThanOrEqual(one.sumOfSquares * 1e-12)
}

const SHAPES: Record<string, (random: Random) => number> = {
  'log-normal': (random) => lognormal(random),
  uniform: (random) => random() * 1000,
  negative: (random) => -lognormal(random, 2),
  'of both signs': (random) => lognormal(random, 2) * (random() < 0.4 ? -1 : 1),
  'with zeros': (random) => (random() < 0.3 ? 0 : random() - 0.3),
  'from 1e-9 to 1e9': (random) => 10 ** (random() * 18 - 9),
  'of one value': () => 0.1,
  'of whole numbers': (random) => below(random, 50),
  'of huge and tiny values': (random) => (random() < 0.5 ? 1e300 : 1e-300) * (1 + random()),
}

describe('the quantiles of a distribution', () => {
  it.each(Object.entries(SHAPES))('%s lie within 1 % of those of the sorted values', (_, draw) => {
    for (const count of [65, 500, 20_000]) {
      // above 2,048 bins of one sign the lowest are folded: 18 decades of 20,000 values are more than that
      const qs = draw === SHAPES['from 1e-9 to 1e9'] && count === 20_000 ? QS.filter((q) => q >= 0.5) : QS
      for (const weighted of [false, true]) {
        const random = seeded(count)
        const samples = Array.from({ length: count }, (): Sample => [draw(random), weighted ? 1 + below(random, 9) : 1])
        const distribution = of(samples)
        expect(distribution.sketched).toBe(true)
        distribution.quantiles(qs).forEach((quantile, index) => {
          const exact = exactQuantile(samples, qs[index] ?? 0)
          expect(Math.abs(quantile - exact)).toBeLessThanOrEqual(Math.abs(exact) * 0.01)
        })
      }
    }
  })

  it('are exact up to 64 values', () => {
    const values = fc.double({ noNaN: true, noDefaultInfinity: true })
    const samples = fc.array(fc.tuple(values, fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 100 }))), {
      minLength: 1,
      maxLength: RAW_VALUES,
    })
    fc.assert(
      fc.property(samples, fc.array(fc.double({ min: 0, max: 1, noNaN: true })), (list, qs) => {
        const distribution = of(list)
        expect(distribution.sketched).toBe(false)
        for (const q of [...QS, ...qs]) {
          // where q meets a step to the last bit, both sides of it are right
          const exact = [q - 1e-9, q, q + 1e-9].map((near) => exactQuantile(list, Math.min(1, near)))
          expect(exact.map((value) => value + 0)).toContain(distribution.quantile(q) + 0)
        }
      }),
    )
  })

  it('follow nearest rank where q times count is a whole number', () => {
    const distribution = of(Array.from({ length: 50 }, (_, index): Sample => [index + 1, 1]))
    expect(distribution.quantiles([0, 0.02, 0.5, 0.9, 0.98, 0.999, 1])).toEqual([1, 1, 25, 45, 49, 50, 50])
  })

  it('never leave the range of the values', () => {
    const random = seeded(4)
    const distribution = of(Array.from({ length: 100 }, (): Sample => [1 + random() * 1e-9, 1]))
    for (const q of QS) {
      expect(distribution.quantile(q)).toBeGreaterThanOrEqual(distribution.min)
      expect(distribution.quantile(q)).toBeLessThanOrEqual(distribution.max)
    }
  })

  it('are NaN of nothing', () => {
    expect(new Distribution().quantiles([0, 0.5])).toEqual([Number.NaN, Number.NaN])
  })
})

const value = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 0.5, 1e150, -1e-300),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.integer({ min: -100, max: 100 }),
)
const sample = fc.tuple(value, fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 20 })))
const some = fc.oneof(
  fc.array(sample, { maxLength: 8, size: 'max' }),
  fc.array(sample, { maxLength: 100, size: 'max' }),
  fc.array(sample, { minLength: 60, maxLength: 70, size: 'max' }),
)

describe('the merge of distributions', () => {
  it('is the distribution of all their values, in memory and through bytes', () => {
    fc.assert(
      fc.property(some, some, (left, right) => {
        const whole = of([...left, ...right])
        const merged = of(left)
        merged.merge(of(right))
        expectSame(merged, whole)
        if (right.length > 0) expectSame(decoded(encoded(of(right)), of(left)), whole)
        if (left.length > 0) expectSame(decoded(encoded(of(left)), of(right)), whole)
      }),
      { numRuns: 300 },
    )
  })

  it('is associative and commutative', () => {
    fc.assert(
      fc.property(some, some, some, (a, b, c) => {
        const leftFirst = of(a)
        leftFirst.merge(of(b))
        leftFirst.merge(of(c))
        const rightFirst = of(b)
        rightFirst.merge(of(c))
        const outer = of(a)
        outer.merge(rightFirst)
        expectSame(leftFirst, outer)
        const reversed = of(c)
        reversed.merge(of(b))
        reversed.merge(of(a))
        expectSame(leftFirst, reversed)
      }),
      { numRuns: 200 },
    )
  })

  it('keeps values at 64 and has bins at 65, however they are split', () => {
    const samples = Array.from({ length: 65 }, (_, index): Sample => [index - 30, index === 40 ? 2 : 1])
    for (let split = 0; split <= 65; split++) {
      for (const count of [64, 65]) {
        const merged = of(samples.slice(0, Math.min(split, count)))
        merged.merge(of(samples.slice(Math.min(split, count), count)))
        expect(merged.sketched).toBe(count === 65)
        expectSame(merged, of(samples.slice(0, count)))
      }
    }
  })

  it('stays the same once more than 2,048 bins have folded', () => {
    const random = seeded(5)
    const samples = Array.from({ length: 30_000 }, (): Sample => [
      10 ** (random() * 40 - 20) * (random() < 0.5 ? -1 : 1),
      1,
    ])
    const parts = [0, 1, 2, 3].map((part) => samples.filter((_, index) => index % 4 === part || part === 3))
    const expected = of(parts.flat())
    expect([expected.positive?.size, expected.negative?.size]).toEqual([2048, 2048])
    const [a, b, c, d] = parts.map(of) as [Distribution, Distribution, Distribution, Distribution]
    a.merge(b)
    decoded(encoded(c), d)
    decoded(encoded(a), d)
    expect(state(d)).toEqual(state(expected))
  })

  it('takes nothing from an empty one and leaves the other as it was', () => {
    const right = of([[1, 2]])
    const before = encoded(right)
    const left = of([[5, 1]])
    left.merge(new Distribution())
    expectSame(left, of([[5, 1]]))
    left.merge(right)
    left.add(7)
    expect(encoded(right)).toEqual(before)
  })
})

describe('a distribution', () => {
  it('comes back from its bytes, and its bytes from that', () => {
    fc.assert(
      fc.property(some, (samples) => {
        fc.pre(samples.length > 0)
        const bytes = encoded(of(samples))
        const back = decoded(bytes)
        expectSame(back, of(samples))
        expect(encoded(back)).toEqual(bytes)
      }),
    )
  })

  it('takes weights that are no whole numbers', () => {
    const random = seeded(6)
    const samples = Array.from({ length: 200 }, (): Sample => [random(), 1 / random()])
    expectSame(decoded(encoded(of(samples))), of(samples))
    expectSame(decoded(encoded(of(samples.slice(0, 60)))), of(samples.slice(0, 60)))
  })

  it('stays readable when its sums overflow', () => {
    for (const count of [2, 100]) {
      const distribution = of(
        Array.from({ length: count }, (_, index): Sample => [index % 3 === 0 ? -1e308 : 1.7e308, 10]),
      )
      const back = decoded(encoded(distribution))
      expect([back.count, back.min, back.max]).toEqual([count * 10, -1e308, 1.7e308])
      expect(back.sumOfSquares).toBe(Number.MAX_VALUE)
    }
  })

  it('starts over after clear, from values, weights and folded bins', () => {
    const random = seeded(7)
    const wide = Array.from({ length: 20_000 }, (): Sample => [10 ** (random() * 40 - 20), 3])
    const reused = new Distribution()
    for (const samples of [
      [[1, 5]],
      wide,
      [
        [-1, 1],
        [0, 1],
      ],
      wide.slice(0, 64),
      wide.slice(9, 99),
    ] as Sample[][]) {
      for (const [each, weight] of samples) reused.add(each, weight)
      expectSame(reused, of(samples))
      expect(encoded(reused)).toEqual(encoded(of(samples)))
      reused.clear()
      expect(state(reused)).toEqual(state(new Distribution()))
      expect([reused.sum, reused.sumOfSquares]).toEqual([0, 0])
    }
  })

  it('sets up no bins for a sign that has none', () => {
    const back = decoded(encoded(of(Array.from({ length: 100 }, (_, index): Sample => [-1 - index, 1]))))
    expect(back.positive).toBeUndefined()
    expect(back.negative?.size).toBeGreaterThan(50)
  })

  it('knows how many values there were and what they add up to, whatever they weigh and however they are merged', () => {
    const weighed = fc.tuple(fc.integer({ min: -1_000, max: 1_000 }), fc.constantFrom(1, 1, 2, 10, 4 / 3))
    fc.assert(
      fc.property(fc.array(fc.array(weighed, { maxLength: 100 }), { maxLength: 5 }), (parts) => {
        const all = parts.flat()
        const merged = new Distribution()
        parts.forEach((part, index) => {
          if (part.length === 0) return
          if (index % 2 === 0) merged.merge(of(part))
          else decoded(encoded(of(part)), merged)
        })
        for (const one of all.length === 0 ? [merged] : [merged, of(all), decoded(encoded(merged))]) {
          expect(one.samples).toBeCloseTo(all.length, 6)
          expect(one.plainSum).toBeCloseTo(
            all.reduce((sum, [each]) => sum + each, 0),
            4,
          )
          expect(one.plainSumOfSquares / 1e6).toBeCloseTo(all.reduce((sum, [each]) => sum + each ** 2, 0) / 1e6, 6)
        }
      }),
    )
  })

  it('keeps what weights add out of the way of numbers too large to tell apart', () => {
    const huge = of(Array.from({ length: 100 }, (): Sample => [1.7e308, 1e10]))
    expect([huge.samples, huge.plainSum]).toEqual([100, Infinity])
    expect(decoded(encoded(huge)).plainSum).not.toBeNaN()
  })

  it('answers of one bin a value between its bounds', () => {
    expect(valueOf(binOf(100))).toBeGreaterThan(99)
    const distribution = of(Array.from({ length: 100 }, (): Sample => [100, 1]))
    expect(distribution.quantile(0.5)).toBe(100)
  })
})
