import { BINS_PER_OCTAVE, type Bins, binOf } from '../../client/sketch/bins.ts'
import type { Distribution } from '../../client/sketch/distribution.ts'

/** Neighbouring buckets of one sign: `counts[0]` is that of the bucket `offset`. Without counts there are none. */
export interface Buckets {
  readonly offset: number
  readonly counts: ArrayLike<number>
}

/**
 * An exponential histogram as OpenTelemetry's data model has it: bucket `i` takes the absolute values in
 * (2^(i / 2^scale), 2^((i + 1) / 2^scale)]. Counts are whole, and those of all buckets and of the zeros add up to `count`.
 */
export interface ExponentialHistogram {
  readonly scale: number
  readonly count: number
  readonly zeroCount: number
  readonly positive: Buckets
  readonly negative: Buckets
}

/** The scale at which OpenTelemetry's buckets are the bins of a sketch, index for index. */
export const SKETCH_SCALE: number = Math.log2(BINS_PER_OCTAVE)

/** What a histogram counts at most; beyond it, not every whole number is one. */
export const MOST_COUNTED: number = Number.MAX_SAFE_INTEGER

const NONE: Buckets = { offset: 0, counts: [] }

/** Weights of the bins in use, by ascending bin. */
interface Weighed {
  readonly bins: ArrayLike<number>
  readonly weightOf: (bin: number) => number
}

/**
 * The histogram of a distribution. The scale is the sketch's, 6, unless its bins lie so far apart that one sign would take
 * more than `most` buckets; then it is the highest at which they do not. Weights that are no whole numbers are rounded so
 * that no sum of counts, from the least value up, is off by more than a half; what is there at all counts as one.
 */
export function histogramOf(distribution: Distribution, most: number): ExponentialHistogram {
  const { positive, negative, zeros } = distribution.sketched ? sketchOf(distribution) : valuesOf(distribution)
  const steps = Math.max(stepsFor(positive.bins, most), stepsFor(negative.bins, most))
  const rounding = new Rounding(distribution.count)
  // from the least value up: the largest of the negative ones first
  const below = fill(negative, steps, rounding, true)
  const zeroCount = rounding.add(zeros)
  const above = fill(positive, steps, rounding, false)
  return { scale: SKETCH_SCALE - steps, count: rounding.count, zeroCount, positive: above, negative: below }
}

/**
 * The histogram of all that went into both, which are {@link MOST_COUNTED} at the most. Its scale is the lower one, or lower
 * still to keep to `most` buckets.
 */
export function mergeHistograms(
  left: ExponentialHistogram,
  right: ExponentialHistogram,
  most: number,
): ExponentialHistogram {
  let scale = Math.min(left.scale, right.scale)
  const spans = [
    [left.positive, right.positive],
    [left.negative, right.negative],
  ] as const
  while (spans.some(([one, other]) => widthOf(one, left.scale - scale, other, right.scale - scale) > most)) scale--
  const [positive, negative] = spans.map(([one, other]) =>
    addBuckets(one, left.scale - scale, other, right.scale - scale),
  ) as [Buckets, Buckets]
  return { scale, count: left.count + right.count, zeroCount: left.zeroCount + right.zeroCount, positive, negative }
}

function sketchOf({ positive, negative, zeros }: Distribution): Record<'positive' | 'negative', Weighed> & {
  zeros: number
} {
  const weighed = (bins: Bins | undefined): Weighed => ({
    bins: bins?.sorted() ?? [],
    weightOf: (bin) => bins?.weightOf(bin) ?? 0,
  })
  return { positive: weighed(positive), negative: weighed(negative), zeros }
}

function valuesOf({ values, weights }: Distribution): Record<'positive' | 'negative', Weighed> & { zeros: number } {
  const above = new Map<number, number>()
  const below = new Map<number, number>()
  let zeros = 0
  values.forEach((value, index) => {
    const weight = weights === undefined ? 1 : (weights[index] as number)
    if (value === 0) {
      zeros += weight
      return
    }
    const bins = value > 0 ? above : below
    const bin = binOf(Math.abs(value))
    bins.set(bin, (bins.get(bin) ?? 0) + weight)
  })
  const weighed = (bins: Map<number, number>): Weighed => ({
    bins: [...bins.keys()].sort((left, right) => left - right),
    weightOf: (bin) => bins.get(bin) ?? 0,
  })
  return { positive: weighed(above), negative: weighed(below), zeros }
}

/** How often the scale has to be lowered by one for these bins; each time, two neighbours become one. */
function stepsFor(bins: ArrayLike<number>, most: number): number {
  if (bins.length === 0) return 0
  const [low, high] = [bins[0] as number, bins[bins.length - 1] as number]
  let steps = 0
  while ((high >> steps) - (low >> steps) >= most) steps++
  return steps
}

function fill({ bins, weightOf }: Weighed, steps: number, rounding: Rounding, descending: boolean): Buckets {
  if (bins.length === 0) return NONE
  const offset = (bins[0] as number) >> steps
  const counts = new Float64Array(((bins[bins.length - 1] as number) >> steps) - offset + 1)
  for (let index = 0; index < bins.length; index++) {
    const bin = bins[descending ? bins.length - 1 - index : index] as number
    const place = (bin >> steps) - offset
    counts[place] = (counts[place] as number) + rounding.add(weightOf(bin))
  }
  return { offset, counts }
}

/** Rounds weights one after another so that what was rounded before is made up for. */
class Rounding {
  count = 0
  #sum = 0
  readonly #factor: number

  constructor(total: number) {
    this.#factor = total > MOST_COUNTED ? MOST_COUNTED / total : 1
  }

  add(weight: number): number {
    const before = this.count
    this.#sum += weight * this.#factor
    // what is there at all counts as one
    this.count = this.#sum > 0 ? Math.max(1, Math.min(MOST_COUNTED, Math.round(this.#sum))) : 0
    return this.count - before
  }
}

function widthOf(one: Buckets, oneSteps: number, other: Buckets, otherSteps: number): number {
  const [low, high] = rangeOf(one, oneSteps, other, otherSteps)
  return high - low + 1
}

/** The first and the last bucket of both at a scale that is so many steps lower. */
function rangeOf(one: Buckets, oneSteps: number, other: Buckets, otherSteps: number): readonly [number, number] {
  const lows: number[] = []
  const highs: number[] = []
  for (const [{ offset, counts }, steps] of [
    [one, oneSteps],
    [other, otherSteps],
  ] as const) {
    if (counts.length === 0) continue
    lows.push(offset >> steps)
    highs.push((offset + counts.length - 1) >> steps)
  }
  return lows.length === 0 ? [0, -1] : [Math.min(...lows), Math.max(...highs)]
}

function addBuckets(one: Buckets, oneSteps: number, other: Buckets, otherSteps: number): Buckets {
  const [offset, last] = rangeOf(one, oneSteps, other, otherSteps)
  if (last < offset) return NONE
  const counts = new Float64Array(last - offset + 1)
  for (const [buckets, steps] of [
    [one, oneSteps],
    [other, otherSteps],
  ] as const) {
    for (let index = 0; index < buckets.counts.length; index++) {
      const place = ((buckets.offset + index) >> steps) - offset
      counts[place] = (counts[place] as number) + (buckets.counts[index] as number)
    }
  }
  return { offset, counts }
}
