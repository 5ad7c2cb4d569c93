import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { BINS_PER_OCTAVE, Bins, MAX_BINS, binOf, valueOf } from '../../../client/sketch/bins.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { below, seeded } from '../random.ts'

const double = new Float64Array(1)
const bits = new BigUint64Array(double.buffer)

function fromBits(value: bigint): number {
  bits[0] = value
  return double[0] as number
}

function toBits(value: number): bigint {
  double[0] = value
  return bits[0] as bigint
}

/** Whether value > 2^(bin/64), in whole numbers of any size. */
function isAbove(value: number, bin: number): boolean {
  const word = toBits(value)
  const exponent = word >> 52n
  const fraction = word & ((1n << 52n) - 1n)
  const mantissa = exponent === 0n ? fraction : fraction | (1n << 52n)
  // value = mantissa * 2^shift, so it is a question of mantissa^64 and 2^(bin - 64 * shift)
  const power = BigInt(bin) - 64n * ((exponent === 0n ? 1n : exponent) - 1075n)
  return power < 0n || mantissa ** 64n > 1n << power
}

function expectExact(value: number): void {
  const bin = binOf(value)
  if (!isAbove(value, bin) || isAbove(value, bin + 1)) throw new Error(`${value} is not in bin ${bin}`)
}

const MIN_BITS = 1n
const MAX_BITS = toBits(Number.MAX_VALUE)

describe('binOf', () => {
  it('is exact at both sides of every boundary of an octave, in octaves near and far', () => {
    let count = 0
    for (const octave of [0, 1, -1, 10, -30, 1023, -1022, -1023, -1030, -1060, -1073]) {
      for (let bin = 0; bin < BINS_PER_OCTAVE; bin++) {
        // the double next to the boundary, then those around it
        const near = toBits(2 ** (bin / BINS_PER_OCTAVE) * 2 ** octave)
        for (let step = -3n; step <= 3n; step++) {
          const word = near + step
          if (word < MIN_BITS || word > MAX_BITS) continue
          expectExact(fromBits(word))
          count++
        }
      }
    }
    expect(count).toBeGreaterThan(4000)
  })

  it('puts every power of two, the smallest and the largest, at the upper end of its bin', () => {
    for (let power = -1074; power < 1024; power++) expect(binOf(2 ** power)).toBe(power * BINS_PER_OCTAVE - 1)
  })

  it('is exact for any double', () => {
    const words = fc.bigInt({ min: MIN_BITS, max: MAX_BITS })
    fc.assert(
      fc.property(words, (word) => expectExact(fromBits(word))),
      { numRuns: 5000 },
    )
    const subnormals = fc.bigInt({ min: MIN_BITS, max: (1n << 52n) + 9n })
    fc.assert(
      fc.property(subnormals, (word) => expectExact(fromBits(word))),
      { numRuns: 1000 },
    )
    expectExact(Number.MIN_VALUE)
    expectExact(Number.MAX_VALUE)
  })
})

describe('valueOf', () => {
  it('lies within 0.55 % of every value of its bin', () => {
    const random = seeded(1)
    for (let round = 0; round < 20_000; round++) {
      const value = fromBits((BigInt(1 + below(random, 2046)) << 52n) | (toBits(1 + random()) & ((1n << 52n) - 1n)))
      expect(Math.abs(valueOf(binOf(value)) - value) / value).toBeLessThan(0.0055)
    }
  })

  it('is a positive finite double for every bin, even where doubles are too coarse for 0.55 %', () => {
    const lowest = binOf(Number.MIN_VALUE)
    const values = Array.from({ length: binOf(Number.MAX_VALUE) - lowest + 1 }, (_, index) => valueOf(lowest + index))
    expect(values.every((value, index) => value >= (values[index - 1] ?? Number.MIN_VALUE))).toBe(true)
    expect(values.at(-1)).toBeLessThan(Number.MAX_VALUE)
  })
})

// weights by bin, and only at the end the lowest folded into the lowest of the highest 2,048
function fold(adds: readonly (readonly [number, number])[]): [number, number][] {
  const weights = new Map<number, number>()
  for (const [bin, weight] of adds) weights.set(bin, (weights.get(bin) ?? 0) + weight)
  const bins = [...weights.keys()].sort((left, right) => left - right)
  const floor = bins[Math.max(0, bins.length - MAX_BINS)] ?? 0
  let folded = 0
  for (const [bin, weight] of weights) if (bin <= floor) folded += weight
  return bins.filter((bin) => bin >= floor).map((bin) => [bin, bin === floor ? folded : (weights.get(bin) ?? 0)])
}

const contents = (bins: Bins): [number, number][] => [...bins.sorted()].map((bin) => [bin, bins.weightOf(bin)])

function binsOf(adds: readonly (readonly [number, number])[]): Bins {
  const bins = new Bins()
  for (const [bin, weight] of adds) bins.add(bin, weight)
  return bins
}

function recoded(bins: Bins, into: Bins = new Bins()): Bins {
  const writer = new Writer()
  const { whole } = bins
  bins.encode(writer, whole)
  Bins.decode(new Reader(writer.bytes()), whole, into)
  return into
}

// whole weights, so that sums do not depend on the order
function draws(seed: number, count: number, spread: number, from = 0): [number, number][] {
  const random = seeded(seed)
  return Array.from({ length: count }, () => [from + below(random, spread) - spread / 2, 1 + below(random, 5)])
}

describe('Bins', () => {
  it('hold the weights that a Map holds, also those far apart', () => {
    for (const spread of [10, 500, 120_000]) {
      const adds = draws(spread, 1500, spread)
      const bins = binsOf(adds)
      expect(contents(bins)).toEqual(fold(adds))
      expect(bins.size).toBe(fold(adds).length)
      expect(bins.total).toBe(adds.reduce((sum, [, weight]) => sum + weight, 0))
      expect(bins.weightOf(70_000)).toBe(0)
    }
  })

  it('keep the highest 2,048, the rest counting in the lowest of them, whatever the order', () => {
    const adds = draws(3, 30_000, 9000)
    const expected = fold(adds)
    expect(expected.length).toBe(MAX_BINS)
    const ascending = [...adds].sort(([left], [right]) => left - right)
    for (const order of [adds, ascending, [...ascending].reverse()]) {
      const bins = binsOf(order)
      expect(bins.size).toBe(MAX_BINS)
      expect(contents(bins)).toEqual(expected)
    }
  })

  it('merge associatively and commutatively when any of them has folded, read in between or not', () => {
    const parts = [draws(4, 9000, 5000, -2000), draws(5, 9000, 4100, 1500), draws(6, 300, 9000), draws(7, 9000, 4400)]
    const expected = fold(parts.flat())
    const random = seeded(8)
    for (let round = 0; round < 8; round++) {
      const pool = parts.map(binsOf)
      while (pool.length > 1) {
        const [left] = pool.splice(below(random, pool.length), 1)
        const [right] = pool.splice(below(random, pool.length), 1)
        if (left === undefined || right === undefined) throw new Error('empty')
        const way = below(random, 3)
        if (way === 0) left.merge(right)
        else if (way === 1) recoded(right, left)
        else left.merge(recoded(right))
        const size = random() < 0.5 ? left.size : 0
        expect(size).toBeLessThanOrEqual(MAX_BINS)
        pool.push(left)
      }
      expect(contents(pool[0] as Bins)).toEqual(expected)
    }
  })

  it('go on folding right after the first fold, below, at and above the floor', () => {
    const adds: [number, number][] = Array.from({ length: MAX_BINS + 1 }, (_, bin) => [bin, 1])
    const bins = binsOf(adds)
    expect(bins.size).toBe(MAX_BINS)
    const later: [number, number][] = [
      [-5000, 1],
      [0, 1],
      [1, 1],
      [2, 1],
      [9000, 1],
      [1, 1],
      [2, 1],
      [-1, 7],
    ]
    for (const [bin, weight] of later) {
      bins.add(bin, weight)
      adds.push([bin, weight])
      expect(contents(bins)).toEqual(fold(adds))
    }
  })

  it('start over after clear, floor included', () => {
    const bins = binsOf(draws(9, 20_000, 9000))
    expect(bins.size).toBe(MAX_BINS)
    bins.clear()
    expect([bins.size, bins.total, bins.sorted().length]).toEqual([0, 0, 0])
    const adds = draws(10, 100, 200, -60_000)
    for (const [bin, weight] of adds) bins.add(bin, weight)
    expect(contents(bins)).toEqual(fold(adds))
  })

  it('come back from bytes as they were, with whole and with broken weights', () => {
    const broken = draws(11, 3000, 3000).map(([bin, weight]): [number, number] => [bin, weight / 7])
    for (const adds of [draws(12, 3000, 3000), broken, [], [[-68_736, 1]] as [number, number][]]) {
      const bins = binsOf(adds)
      expect(contents(recoded(bins))).toEqual(contents(bins))
    }
  })

  it('take 2,048 new bins above 2,048 others in a moment, so that no frame can keep its reader busy', () => {
    const low = binsOf(Array.from({ length: MAX_BINS }, (_, bin) => [bin, 1]))
    const high = binsOf(Array.from({ length: MAX_BINS }, (_, bin) => [bin + 5000, 1]))
    // folding sorts
    const sort = vi.spyOn(Int32Array.prototype, 'sort')
    for (let round = 0; round < 10; round++) low.merge(high)
    const sorts = sort.mock.calls.length
    sort.mockRestore()
    expect(sorts).toBeLessThan(5)
    expect(low.size).toBe(MAX_BINS)
  })
})
