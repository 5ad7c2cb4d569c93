import { valueOf } from '../../client/sketch/bins.ts'
import type { Distribution } from '../../client/sketch/distribution.ts'
import { toMs, withoutNoise } from './milliseconds.ts'

/** A distribution's values in ascending order, each once, whatever it weighs: statsd keeps no weights but in its count. */
export interface Ranked {
  /** How many there are; at least 1. */
  readonly count: number
  readonly sum: number
  readonly sumOfSquares: number
  /** Of the population. */
  readonly deviation: number
  /** The value of a rank, from 0 for the smallest. */
  valueAt(rank: number): number
  /** What the `count` smallest add up to. */
  sumOf(count: number): number
  /** What the squares of the `count` smallest add up to. */
  squaresOf(count: number): number
  /** How many are less than `limit`. */
  below(limit: number): number
}

/**
 * The values of a distribution that is not empty: exact up to 64; else from its bins, within 0.55 % of each value, but count,
 * sum, sum of squares, deviation and both ends exact.
 *
 * @param inMs whether it is in seconds and wanted in milliseconds
 */
export function rankedOf(distribution: Distribution, inMs: boolean): Ranked {
  return distribution.sketched ? new RankedBins(distribution, inMs) : new RankedValues(distribution.values, inMs)
}

/** Adds up in ascending order, as statsd does, so that even rounding is the same. */
class RankedValues implements Ranked {
  readonly count: number
  readonly #values: Float64Array
  readonly #sums: Float64Array
  readonly #squares: Float64Array

  constructor(values: Float64Array, inMs: boolean) {
    this.count = values.length
    this.#values = (inMs ? values.map(toMs) : values.slice()).sort()
    this.#sums = this.#values.slice()
    this.#squares = this.#values.map((value) => value * value)
    for (let index = 1; index < this.count; index++) {
      this.#sums[index] = (this.#sums[index] as number) + (this.#sums[index - 1] as number)
      this.#squares[index] = (this.#squares[index] as number) + (this.#squares[index - 1] as number)
    }
  }

  get sum(): number {
    return this.sumOf(this.count)
  }

  get sumOfSquares(): number {
    return this.squaresOf(this.count)
  }

  get deviation(): number {
    const mean = this.sum / this.count
    let differences = 0
    for (const value of this.#values) differences += (value - mean) * (value - mean)
    return Math.sqrt(differences / this.count)
  }

  valueAt(rank: number): number {
    return this.#values[rank] as number
  }

  sumOf(count: number): number {
    return this.#sums[count - 1] ?? 0
  }

  squaresOf(count: number): number {
    return this.#squares[count - 1] ?? 0
  }

  below(limit: number): number {
    const first = this.#values.findIndex((value) => value >= limit)
    return first < 0 ? this.count : first
  }
}

const NO_BINS = new Int32Array(0)

/** Where weights differ, those of a bin stand for as many values as they are part of all weights. */
class RankedBins implements Ranked {
  readonly count: number
  readonly sum: number
  readonly sumOfSquares: number
  readonly deviation: number
  readonly #min: number
  readonly #max: number
  readonly #values: Float64Array
  // how many values each stands for
  readonly #counts: Float64Array

  constructor(distribution: Distribution, inMs: boolean) {
    const { count, samples, plainSum, plainSumOfSquares } = distribution
    this.count = Math.max(1, Math.round(samples))
    const mean = plainSum / this.count
    const deviation = Math.sqrt(Math.max(0, plainSumOfSquares / this.count - mean * mean))
    this.sum = inMs ? withoutNoise(plainSum * 1000, count) : plainSum
    this.sumOfSquares = inMs ? withoutNoise(plainSumOfSquares * 1e6, count) : plainSumOfSquares
    this.deviation = inMs ? deviation * 1000 : deviation
    this.#min = inMs ? toMs(distribution.min) : distribution.min
    this.#max = inMs ? toMs(distribution.max) : distribution.max
    const { negative, positive, zeros } = distribution
    const below = negative?.sorted().reverse() ?? NO_BINS
    const above = positive?.sorted() ?? NO_BINS
    this.#values = new Float64Array(below.length + 1 + above.length)
    this.#counts = new Float64Array(this.#values.length)
    const share = this.count / count
    const unit = inMs ? 1000 : 1
    let place = 0
    const put = (value: number, weight: number): void => {
      this.#values[place] = Math.min(this.#max, Math.max(this.#min, value * unit))
      this.#counts[place++] = weight * share
    }
    for (const bin of below) put(-valueOf(bin), negative?.weightOf(bin) ?? 0)
    put(0, zeros)
    for (const bin of above) put(valueOf(bin), positive?.weightOf(bin) ?? 0)
  }

  valueAt(rank: number): number {
    if (rank <= 0) return this.#min
    // the slack takes up what adding weights up loses
    const place = rank + 1 - this.count * 1e-12
    let seen = 0
    const index = this.#counts.findIndex((count) => (seen += count) >= place)
    return rank >= this.count - 1 || index < 0 ? this.#max : (this.#values[index] as number)
  }

  sumOf(count: number): number {
    return this.#of(count, this.sum, (value) => value)
  }

  squaresOf(count: number): number {
    return this.#of(count, this.sumOfSquares, (value) => value * value)
  }

  below(limit: number): number {
    if (limit > this.#max) return this.count
    if (limit <= this.#min) return 0
    const count = this.#counts.reduce(
      (sum, each, index) => sum + ((this.#values[index] as number) < limit ? each : 0),
      0,
    )
    return Math.round(count)
  }

  /** From the bins of the smallest values or, where they weigh more than the others, from all without the others. */
  #of(count: number, all: number, of: (value: number) => number): number {
    if (count <= 0) return 0
    if (count >= this.count) return all
    let [below, above, sizeBelow, sizeAbove, left] = [0, 0, 0, 0, count]
    for (let index = 0; index < this.#values.length; index++) {
      const value = of(this.#values[index] as number)
      const here = this.#counts[index] as number
      const taken = Math.min(here, left)
      left -= taken
      below += value * taken
      above += value * (here - taken)
      sizeBelow += Math.abs(value) * taken
      sizeAbove += Math.abs(value) * (here - taken)
    }
    return sizeBelow <= sizeAbove ? below : all - above
  }
}
