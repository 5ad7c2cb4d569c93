import { type BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { type Bins, binOf } from '../../client/sketch/bins.ts'
import type { Distribution } from '../../client/sketch/distribution.ts'

/** Its bases are powers of 2^(1/64), as a sketch's; so bins are buckets, and nothing is lost. */
const SCHEMA = 6

// of `message Histogram` in Prometheus' prompb/types.proto
const FIELD = {
  countInt: 1,
  countFloat: 2,
  sum: 3,
  schema: 4,
  zeroThreshold: 5,
  zeroCountInt: 6,
  zeroCountFloat: 7,
  negativeSpans: 8,
  negativeDeltas: 9,
  negativeCounts: 10,
  positiveSpans: 11,
  positiveDeltas: 12,
  positiveCounts: 13,
  timestamp: 15,
} as const

interface Buckets {
  /** Ascending. */
  readonly indices: readonly number[]
  readonly weights: readonly number[]
}

/**
 * Writes the fields of a native histogram, and answers how many buckets it has. Its counts are integers where all weights
 * are, as they are unless something was sampled.
 */
export function writeNative(writer: BinaryWriter, distribution: Distribution, timeMs: number): number {
  const { zeros, positive, negative } = bucketsOf(distribution)
  const whole = [zeros, ...positive.weights, ...negative.weights].every(Number.isSafeInteger)
  // of the buckets, as all have to add up
  const count = [...positive.weights, ...negative.weights].reduce((sum, weight) => sum + weight, zeros)
  if (whole) writer.tag(FIELD.countInt, WireType.Varint).uint64(count)
  else writer.tag(FIELD.countFloat, WireType.Bit64).double(count)
  writer.tag(FIELD.sum, WireType.Bit64).double(distribution.sum)
  writer.tag(FIELD.schema, WireType.Varint).sint32(SCHEMA)
  writer.tag(FIELD.zeroThreshold, WireType.Bit64).double(0)
  if (whole) writer.tag(FIELD.zeroCountInt, WireType.Varint).uint64(zeros)
  else writer.tag(FIELD.zeroCountFloat, WireType.Bit64).double(zeros)
  writeSpans(writer, FIELD.negativeSpans, negative)
  writeWeights(writer, whole ? FIELD.negativeDeltas : FIELD.negativeCounts, negative, whole)
  writeSpans(writer, FIELD.positiveSpans, positive)
  writeWeights(writer, whole ? FIELD.positiveDeltas : FIELD.positiveCounts, positive, whole)
  writer.tag(FIELD.timestamp, WireType.Varint).int64(timeMs)
  return positive.indices.length + negative.indices.length
}

/** Runs of buckets next to each other, each with its distance from the one before and its length. */
function writeSpans(writer: BinaryWriter, field: number, { indices }: Buckets): void {
  let end = 0
  for (let from = 0; from < indices.length;) {
    const first = indices[from] as number
    let to = from + 1
    while (to < indices.length && indices[to] === (indices[to - 1] as number) + 1) to++
    writer
      .tag(field, WireType.LengthDelimited)
      .fork()
      .tag(1, WireType.Varint)
      .sint32(first - end)
      .tag(2, WireType.Varint)
      .uint32(to - from)
      .join()
    end = first + to - from
    from = to
  }
}

/** Integers as differences, others as they are. */
function writeWeights(writer: BinaryWriter, field: number, { weights }: Buckets, whole: boolean): void {
  if (weights.length === 0) return
  writer.tag(field, WireType.LengthDelimited).fork()
  let previous = 0
  for (const weight of weights) {
    if (whole) writer.sint64(weight - previous)
    else writer.double(weight)
    previous = weight
  }
  writer.join()
}

function bucketsOf(distribution: Distribution): { zeros: number; positive: Buckets; negative: Buckets } {
  if (distribution.sketched) {
    const { zeros, positive, negative } = distribution
    return { zeros, positive: bucketsOfBins(positive), negative: bucketsOfBins(negative) }
  }
  const { values, weights } = distribution
  let zeros = 0
  const positive = new Map<number, number>()
  const negative = new Map<number, number>()
  values.forEach((value, index) => {
    const weight = weights === undefined ? 1 : (weights[index] as number)
    if (value === 0) {
      zeros += weight
      return
    }
    const side = value > 0 ? positive : negative
    const bin = binOf(Math.abs(value))
    side.set(bin, (side.get(bin) ?? 0) + weight)
  })
  return { zeros, positive: bucketsOfMap(positive), negative: bucketsOfMap(negative) }
}

// a bucket is known by its upper bound, a bin by its lower one
function bucketsOfBins(bins: Bins | undefined): Buckets {
  const used = [...(bins?.sorted() ?? [])]
  return { indices: used.map((bin) => bin + 1), weights: used.map((bin) => bins?.weightOf(bin) ?? 0) }
}

function bucketsOfMap(bins: ReadonlyMap<number, number>): Buckets {
  const used = [...bins].sort(([left], [right]) => left - right)
  return { indices: used.map(([bin]) => bin + 1), weights: used.map(([, weight]) => weight) }
}
