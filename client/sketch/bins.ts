import { InvalidFrameError } from '../errors.ts'
import type { Reader, Writer } from '../wire/bytes.ts'

/** Bins to a doubling of the value: bin `i` takes the values in (2^(i/64), 2^((i+1)/64)]. */
export const BINS_PER_OCTAVE = 64

/** Bins that one sign of a sketch keeps; past that the lowest fold into the lowest kept. */
export const MAX_BINS = 2048

// folding costs a sort, so it waits until the table would have to grow; whoever looks sees MAX_BINS at the most
const FULL = 2 * MAX_BINS - 1

// where a bin starts within its octave, and the bin in which each 512th of an octave starts
const BOUNDS = Float64Array.from({ length: BINS_PER_OCTAVE + 1 }, (_, bin) => boundOf(bin))
const GUESS = Uint8Array.from({ length: 512 }, (_, part) => Math.floor(Math.log2(1 + part / 512) * BINS_PER_OCTAVE))

const double = new Float64Array(1)
const words = new Uint32Array(double.buffer)
// the exponent's half of a double, on machines of either byte order
double[0] = 1
const HIGH = words[1] === 0x3ff00000 ? 1 : 0

// what brings a value of each exponent into 1 .. 2: multiplying beats writing the bits and reading them as a double
const TO_MANTISSA = Float64Array.from({ length: 2047 }, (_, exponent) => 2 ** (1023 - exponent))

// the greatest double that is not above 2^(bin/64); `**` misses it by a bit now and then, and not by the same everywhere
function boundOf(bin: number): number {
  // n / 2^52 <= 2^(bin/64) is n^64 <= 2^(bin + 52 * 64)
  const limit = 1n << BigInt(bin + 52 * BINS_PER_OCTAVE)
  let scaled = BigInt(Math.round(2 ** (bin / BINS_PER_OCTAVE + 52))) + 4n
  while (scaled ** 64n > limit) scaled--
  return Number(scaled) / 2 ** 52
}

/**
 * The bin of a positive, finite value, exact at every boundary: exponent bits give the octave, the mantissa's top nine
 * bits a guess that is at most one bin off.
 */
export function binOf(value: number): number {
  double[0] = value
  const high = words[HIGH] as number
  const exponent = high >>> 20
  // subnormal: scale into the normal range
  if (exponent === 0) return binOf(value * 2 ** 60) - 60 * BINS_PER_OCTAVE
  const mantissa = value * (TO_MANTISSA[exponent] as number)
  let bin = GUESS[(high >>> 11) & 0x1ff] as number
  if (mantissa > (BOUNDS[bin + 1] as number)) bin++
  else if (mantissa <= (BOUNDS[bin] as number)) bin--
  return (exponent - 1023) * BINS_PER_OCTAVE + bin
}

/** The value that is nearest, relatively, to every value of a bin: at most 0.55 % from each. */
export function valueOf(bin: number): number {
  const octave = Math.floor(bin / BINS_PER_OCTAVE)
  const low = BOUNDS[bin - octave * BINS_PER_OCTAVE] as number
  const high = BOUNDS[bin - octave * BINS_PER_OCTAVE + 1] as number
  const middle = (2 * low * high) / (low + high)
  // 2 ** -1074 alone underflows before the product does not
  return octave < -1000 ? middle * 2 ** (octave + 100) * 2 ** -100 : middle * 2 ** octave
}

/**
 * Weights by bin: an open-addressing table in two typed arrays, so a sketch takes the memory of the bins in use however
 * far apart they lie. An empty place has weight 0.
 */
export class Bins {
  /** Sum of all weights. */
  total = 0
  #used = 0
  #keys: Int32Array
  #weights: Float64Array
  #mask: number
  // after a collapse, the lowest bin kept; whatever lies below counts there
  #floor = Number.NEGATIVE_INFINITY

  constructor() {
    this.#keys = new Int32Array(64)
    this.#weights = new Float64Array(64)
    this.#mask = 63
  }

  /** Bins in use. */
  get size(): number {
    if (this.#used > MAX_BINS) this.#collapse()
    return this.#used
  }

  clear(): void {
    this.#weights.fill(0)
    this.total = 0
    this.#used = 0
    this.#floor = Number.NEGATIVE_INFINITY
  }

  add(bin: number, weight: number): void {
    this.total += weight
    this.#put(bin < this.#floor ? this.#floor : bin, weight)
    if (this.#used === FULL) this.#collapse()
  }

  merge(other: Bins): void {
    for (let place = 0; place <= other.#mask; place++) {
      const weight = other.#weights[place] as number
      if (weight !== 0) this.add(other.#keys[place] as number, weight)
    }
  }

  /** Bins in use, ascending. */
  sorted(): Int32Array {
    if (this.#used > MAX_BINS) this.#collapse()
    return this.#sorted()
  }

  /**
   * The weights of all bins from the lowest in use to the highest, gaps included: without a sort, as bins mostly lie close.
   *
   * @param room where they are put if they find room there
   */
  spread(room: Float64Array): { lowest: number; weights: Float64Array } {
    if (this.#used > MAX_BINS) this.#collapse()
    const keys = this.#keys
    const own = this.#weights
    let lowest = 2 ** 30
    let highest = -(2 ** 30)
    for (let place = 0; place < keys.length; place++) {
      if (own[place] === 0) continue
      const bin = keys[place] as number
      if (bin < lowest) lowest = bin
      if (bin > highest) highest = bin
    }
    const length = this.#used === 0 ? 0 : highest - lowest + 1
    const weights = length <= room.length ? room.subarray(0, length) : new Float64Array(length)
    weights.fill(0)
    for (let place = 0; place < keys.length; place++) {
      const weight = own[place] as number
      if (weight !== 0) weights[(keys[place] as number) - lowest] = weight
    }
    return { lowest, weights }
  }

  #sorted(): Int32Array {
    const bins = new Int32Array(this.#used)
    let count = 0
    for (let place = 0; place <= this.#mask; place++) {
      if (this.#weights[place] !== 0) bins[count++] = this.#keys[place] as number
    }
    return bins.sort()
  }

  weightOf(bin: number): number {
    if (this.#used > MAX_BINS) this.#collapse()
    return this.#weightOf(bin)
  }

  #weightOf(bin: number): number {
    let place = bin & this.#mask
    while (this.#weights[place] !== 0) {
      if (this.#keys[place] === bin) return this.#weights[place] as number
      place = (place + 1) & this.#mask
    }
    return 0
  }

  /** count varint; first bin zigzag, then distances; each with its weight, as a varint when all are whole. */
  encode(writer: Writer, whole: boolean): void {
    const bins = this.sorted()
    writer.varint(bins.length)
    let previous = 0
    bins.forEach((bin, index) => {
      if (index === 0) writer.zigzag(bin)
      else writer.varint(bin - previous)
      previous = bin
      const weight = this.weightOf(bin)
      if (whole) writer.varint(weight)
      else writer.finite(weight)
    })
  }

  /** Whether every weight is an integer that a varint holds. */
  get whole(): boolean {
    return this.total <= Number.MAX_SAFE_INTEGER && this.#weights.every(Number.isInteger)
  }

  /** Adds encoded bins and answers their weight; `into` undefined only checks them. */
  static decode(reader: Reader, whole: boolean, into: Bins | undefined): number {
    const count = reader.varint()
    if (count > MAX_BINS) throw new InvalidFrameError(`frame: a sketch has ${count} bins, the limit is ${MAX_BINS}`)
    let bin = 0
    let seen = 0
    for (let index = 0; index < count; index++) {
      const distance = index === 0 ? reader.zigzag() : reader.varint()
      if (index > 0 && distance === 0) throw new InvalidFrameError('frame: a sketch repeats a bin')
      bin += distance
      // -1075 and 1024 octaves bound every double
      if (bin < -1075 * BINS_PER_OCTAVE || bin >= 1024 * BINS_PER_OCTAVE) {
        throw new InvalidFrameError(`frame: bin ${bin} lies outside the doubles`)
      }
      const weight = whole ? reader.varint() : reader.finite()
      if (!(weight > 0)) throw new InvalidFrameError(`frame: a bin weighs ${weight}`)
      seen += weight
      if (into !== undefined) into.add(bin, weight)
    }
    return seen
  }

  #put(bin: number, weight: number): void {
    let place = bin & this.#mask
    while (this.#weights[place] !== 0) {
      if (this.#keys[place] === bin) {
        this.#weights[place] = (this.#weights[place] as number) + weight
        return
      }
      place = (place + 1) & this.#mask
    }
    this.#keys[place] = bin
    this.#weights[place] = weight
    // half full at the most, so that a search ends soon
    if (++this.#used * 2 > this.#mask) this.#rebuild((this.#mask + 1) * 2)
  }

  #collapse(): void {
    const bins = this.#sorted()
    const floor = bins[bins.length - MAX_BINS] as number
    let below = 0
    for (let index = 0; index < bins.length - MAX_BINS; index++) {
      below += this.#weightOf(bins[index] as number)
    }
    this.#rebuild(this.#mask + 1, floor)
    this.#floor = floor
    this.#put(floor, below)
  }

  #rebuild(capacity: number, floor: number = Number.NEGATIVE_INFINITY): void {
    const keys = this.#keys
    const weights = this.#weights
    this.#keys = new Int32Array(capacity)
    this.#weights = new Float64Array(capacity)
    this.#mask = capacity - 1
    this.#used = 0
    for (let place = 0; place < keys.length; place++) {
      const weight = weights[place] as number
      if (weight !== 0 && (keys[place] as number) >= floor) this.#put(keys[place] as number, weight)
    }
  }
}
