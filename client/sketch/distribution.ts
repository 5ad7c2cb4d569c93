import { InvalidFrameError } from '../errors.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import type { Samples } from './aggregates.ts'
import { BINS_PER_OCTAVE, Bins, binOf, valueOf } from './bins.ts'

/** Samples up to which a distribution keeps the values themselves, so that small samples stay exact. */
export const RAW_VALUES = 64

const SKETCH = 1
const WEIGHTED = 2
const WHOLE = 4
const SURPLUS = 8

/** What weights other than 1 added: how much less there would be had every value counted once. */
interface Surplus {
  count: number
  sum: number
  sumOfSquares: number
}

/**
 * The aggregate of a timer or histogram: count, sum, min, max, sum of squares, and either the values themselves (up to
 * 64) or a DDSketch (Masson, Rim, Lee: "DDSketch: A fast and fully-mergeable quantile sketch with relative-error
 * guarantees", 2019) with base 2^(1/64): quantiles within 0.55 % of the value.
 *
 * Sums, counts and weights are plain floating point numbers.
 */
export class Distribution implements Samples {
  count = 0
  sum = 0
  min: number = Number.POSITIVE_INFINITY
  max: number = Number.NEGATIVE_INFINITY
  sumOfSquares = 0
  #rawLength = 0
  #raw = new Float64Array(8)
  // only once a weight other than 1 was seen
  #weights: Float64Array | undefined
  #surplus: Surplus | undefined
  #sketched = false
  #zeros = 0
  #positive: Bins | undefined
  #negative: Bins | undefined

  /** Whether the values themselves are gone and bins stand for them. */
  get sketched(): boolean {
    return this.#sketched
  }

  /** The values themselves, in the order of arrival; a view, valid until the next call. Empty when `sketched`. */
  get values(): Float64Array {
    return this.#raw.subarray(0, this.#rawLength)
  }

  /** The weight of each of `values`, or undefined when all are 1. */
  get weights(): Float64Array | undefined {
    return this.#weights?.subarray(0, this.#rawLength)
  }

  /** How many values were taken, whatever they weigh. */
  get samples(): number {
    return this.#plain('count', () => 1)
  }

  /** What the values add up to when each counts once, whatever it weighs. */
  get plainSum(): number {
    return this.#plain('sum', (value) => value)
  }

  /** As {@link plainSum}, of the squares. */
  get plainSumOfSquares(): number {
    return this.#plain('sumOfSquares', (value) => value * value)
  }

  /** Weight of the exact zeros of a sketch. */
  get zeros(): number {
    return this.#zeros
  }

  /** Bins of the positive values of a sketch, if any. */
  get positive(): Bins | undefined {
    return this.#positive
  }

  /** Bins of the negated negative values of a sketch, if any. */
  get negative(): Bins | undefined {
    return this.#negative
  }

  clear(): void {
    this.count = 0
    this.sum = 0
    this.min = Number.POSITIVE_INFINITY
    this.max = Number.NEGATIVE_INFINITY
    this.sumOfSquares = 0
    this.#rawLength = 0
    this.#weights = undefined
    this.#surplus = undefined
    this.#sketched = false
    this.#zeros = 0
    this.#positive?.clear()
    this.#negative?.clear()
  }

  /** Takes a finite value `weight` times; the caller has checked both. */
  add(value: number, weight = 1): void {
    this.count += weight
    this.sum += value * weight
    this.sumOfSquares += value * value * weight
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
    if (weight !== 1) this.#weigh(value, weight)
    if (this.#sketched) this.#bin(value, weight)
    else this.#keep(value, weight)
  }

  merge(other: Distribution): void {
    if (other.count === 0) return
    this.count += other.count
    this.sum += other.sum
    this.sumOfSquares += other.sumOfSquares
    if (other.min < this.min) this.min = other.min
    if (other.max > this.max) this.max = other.max
    for (let index = 0; index < other.#rawLength; index++) {
      this.#take(other.#raw[index] as number, other.#weights === undefined ? 1 : (other.#weights[index] as number))
    }
    if (!other.#sketched) return
    if (!this.#sketched) this.#sketch()
    if (other.#surplus !== undefined) this.#addSurplus(other.#surplus)
    this.#zeros += other.#zeros
    if (other.#positive !== undefined) (this.#positive ??= new Bins()).merge(other.#positive)
    if (other.#negative !== undefined) (this.#negative ??= new Bins()).merge(other.#negative)
  }

  /**
   * The smallest value that at least `q` of the weight does not exceed (nearest rank): exact up to 64 values, else within
   * 0.55 %. NaN when empty.
   */
  quantile(q: number): number {
    return this.quantiles([q])[0] as number
  }

  /** {@link quantile} of each of `qs`, in one pass. */
  quantiles(qs: readonly number[]): number[] {
    if (this.count === 0) return qs.map(() => Number.NaN)
    const valueAt = this.#sketched ? this.#rankBins() : this.#rankValues()
    return qs.map((q) => {
      // the slack takes up what q * count loses in floating point
      const rank = q * this.count * (1 - 1e-12)
      return Math.min(this.max, Math.max(this.min, valueAt(rank) ?? this.max))
    })
  }

  /**
   * flags u8 (1 sketch, 2 weighted values, 4 whole bin weights, 8 surplus); count, sum, min, max, sum of squares f64; then
   * values: number varint, values f64, weights f64 if weighted; or sketch: surplus of count, sum and sum of squares f64 if
   * there is one, zeros f64, positive bins, negative bins.
   */
  encode(writer: Writer): void {
    const whole = this.#sketched && this.#positive?.whole !== false && this.#negative?.whole !== false
    const surplus = this.#sketched ? this.#surplus : undefined
    writer.u8(
      (this.#sketched ? SKETCH : 0) |
        (this.#weights === undefined ? 0 : WEIGHTED) |
        (whole ? WHOLE : 0) |
        (surplus === undefined ? 0 : SURPLUS),
    )
    writer.finite(this.count)
    writer.finite(this.sum)
    writer.f64(this.min)
    writer.f64(this.max)
    writer.finite(this.sumOfSquares)
    if (this.#sketched) {
      if (surplus !== undefined) {
        writer.finite(surplus.count)
        writer.finite(surplus.sum)
        writer.finite(surplus.sumOfSquares)
      }
      writer.finite(this.#zeros)
      ;(this.#positive ?? EMPTY).encode(writer, whole)
      ;(this.#negative ?? EMPTY).encode(writer, whole)
      return
    }
    writer.varint(this.#rawLength)
    for (const value of this.values) writer.f64(value)
    for (const weight of this.weights ?? []) writer.f64(weight)
  }

  drain(entry: () => Writer): void {
    this.encode(entry())
    this.clear()
  }

  /** Merges an encoded distribution; `into` undefined only checks it. */
  static decode(reader: Reader, into: Distribution | undefined): void {
    const flags = reader.u8()
    const sketched = (flags & SKETCH) !== 0
    if (flags > 15 || (sketched ? (flags & WEIGHTED) !== 0 : (flags & (WHOLE | SURPLUS)) !== 0)) {
      throw new InvalidFrameError(`frame: a distribution has the flags ${flags}`)
    }
    const count = reader.finite()
    const sum = reader.finite()
    const min = reader.finite()
    const max = reader.finite()
    const sumOfSquares = reader.finite()
    if (!(count > 0) || min > max || sumOfSquares < 0) {
      throw new InvalidFrameError(`frame: a distribution has count ${count}, min ${min}, max ${max}`)
    }
    if (into !== undefined) {
      into.count += count
      into.sum += sum
      into.sumOfSquares += sumOfSquares
      if (min < into.min) into.min = min
      if (max > into.max) into.max = max
    }
    const seen = sketched
      ? Distribution.#decodeSketch(reader, flags, into)
      : Distribution.#decodeValues(reader, (flags & WEIGHTED) !== 0, into)
    // both are sums of weights, which may have been added in another order
    if (Math.abs(Math.min(seen, Number.MAX_VALUE) - count) > count * 1e-6) {
      throw new InvalidFrameError(`frame: a distribution counts ${count} and holds ${seen}`)
    }
  }

  static #decodeSketch(reader: Reader, flags: number, into: Distribution | undefined): number {
    if (into !== undefined && !into.#sketched) into.#sketch()
    const whole = (flags & WHOLE) !== 0
    if ((flags & SURPLUS) !== 0) {
      const surplus = { count: reader.finite(), sum: reader.finite(), sumOfSquares: reader.finite() }
      if (into !== undefined) into.#addSurplus(surplus)
    }
    const zeros = reader.finite()
    if (zeros < 0) throw new InvalidFrameError(`frame: zeros weigh ${zeros}`)
    if (into !== undefined) into.#zeros += zeros
    let seen = zeros
    // most have values of one sign alone: no bins are made for a number of 0
    const positive =
      into === undefined || reader.source[reader.offset] === 0 ? undefined : (into.#positive ??= new Bins())
    seen += Bins.decode(reader, whole, positive)
    const negative =
      into === undefined || reader.source[reader.offset] === 0 ? undefined : (into.#negative ??= new Bins())
    seen += Bins.decode(reader, whole, negative)
    return seen
  }

  static #decodeValues(reader: Reader, weighted: boolean, into: Distribution | undefined): number {
    const length = reader.varint()
    if (length === 0 || length > RAW_VALUES) {
      throw new InvalidFrameError(`frame: a distribution holds ${length} values, 1 to ${RAW_VALUES} can be`)
    }
    const values = reader.offset
    const weights = values + 8 * length
    const end = weighted ? weights + 8 * length : weights
    let seen = 0
    for (let index = 0; index < length; index++) {
      reader.offset = values + 8 * index
      const value = reader.finite()
      let weight = 1
      if (weighted) {
        reader.offset = weights + 8 * index
        weight = reader.finite()
        if (!(weight > 0)) throw new InvalidFrameError(`frame: a value weighs ${weight}`)
      }
      seen += weight
      if (into !== undefined) into.#take(value, weight)
    }
    reader.offset = end
    return seen
  }

  #take(value: number, weight: number): void {
    if (weight !== 1) this.#weigh(value, weight)
    if (this.#sketched) this.#bin(value, weight)
    else this.#keep(value, weight)
  }

  #weigh(value: number, weight: number): void {
    const more = weight - 1
    this.#addSurplus({ count: more, sum: value * more, sumOfSquares: value * value * more })
  }

  #addSurplus({ count, sum, sumOfSquares }: Surplus): void {
    const surplus = (this.#surplus ??= { count: 0, sum: 0, sumOfSquares: 0 })
    surplus.count += count
    surplus.sum += sum
    surplus.sumOfSquares += sumOfSquares
  }

  #plain(part: keyof Surplus, of: (value: number) => number): number {
    if (this.#surplus === undefined) return this[part]
    // of the values themselves nothing is lost to rounding
    if (!this.#sketched) return this.values.reduce((sum, value) => sum + of(value), 0)
    const plain = this[part] - this.#surplus[part]
    // beyond the largest number nothing can be told apart any more
    return Number.isFinite(plain) ? plain : this[part]
  }

  #keep(value: number, weight: number): void {
    const length = this.#rawLength
    if (length === RAW_VALUES) {
      this.#sketch()
      this.#bin(value, weight)
      return
    }
    if (length === this.#raw.length) {
      this.#raw = grown(this.#raw)
      if (this.#weights !== undefined) this.#weights = grown(this.#weights)
    }
    if (weight !== 1 && this.#weights === undefined) this.#weights = new Float64Array(this.#raw.length).fill(1)
    this.#raw[length] = value
    if (this.#weights !== undefined) this.#weights[length] = weight
    this.#rawLength = length + 1
  }

  #sketch(): void {
    this.#sketched = true
    for (let index = 0; index < this.#rawLength; index++) {
      this.#bin(this.#raw[index] as number, this.#weights === undefined ? 1 : (this.#weights[index] as number))
    }
    this.#rawLength = 0
    this.#weights = undefined
  }

  #bin(value: number, weight: number): void {
    if (value > 0) (this.#positive ??= new Bins()).add(binOf(value), weight)
    else if (value < 0) (this.#negative ??= new Bins()).add(binOf(-value), weight)
    else this.#zeros += weight
  }

  /** Answers the value of a rank; undefined beyond the last. */
  #rankValues(): (rank: number) => number | undefined {
    const { values, weights } = this
    if (weights === undefined) {
      const sorted = values.slice().sort()
      return (rank) => sorted[Math.max(0, Math.ceil(rank) - 1)]
    }
    const order = Array.from(values.keys()).sort((left, right) => (values[left] as number) - (values[right] as number))
    const upTo = addUp(
      Float64Array.from(order, (index) => weights[index] as number),
      0,
    )
    return (rank) => values[order[firstFrom(upTo, rank)] as number]
  }

  /** The same, of what bins stand for. Valid until the next call. */
  #rankBins(): (rank: number) => number | undefined {
    const below = (this.#negative ?? EMPTY).spread(ROOM_BELOW)
    const above = (this.#positive ?? EMPTY).spread(ROOM_ABOVE)
    const belowUpTo = addUp(below.weights.reverse(), 0)
    const zerosUpTo = (belowUpTo.at(-1) ?? 0) + this.#zeros
    const aboveUpTo = addUp(above.weights, zerosUpTo)
    return (rank) => {
      const place = firstFrom(belowUpTo, rank)
      if (place < belowUpTo.length) return -valueOf(below.lowest + belowUpTo.length - 1 - place)
      if (zerosUpTo >= rank) return 0
      const bin = firstFrom(aboveUpTo, rank)
      return bin < aboveUpTo.length ? valueOf(above.lowest + bin) : undefined
    }
  }
}

/** Makes of weights what they come to, from `sum` on, up to and with each. */
function addUp(weights: Float64Array, sum: number): Float64Array {
  for (let index = 0; index < weights.length; index++) weights[index] = sum += weights[index] as number
  return weights
}

/** Where the first of ascending numbers stands that is not below one. */
function firstFrom(ascending: Float64Array, least: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] as number) >= least) high = middle
    else low = middle + 1
  }
  return low
}

const EMPTY = new Bins()

// where bins are spread out, over and over: 256 octaves
const ROOM_BELOW = new Float64Array(256 * BINS_PER_OCTAVE)
const ROOM_ABOVE = new Float64Array(256 * BINS_PER_OCTAVE)

function grown(array: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2)
  larger.set(array)
  return larger
}
