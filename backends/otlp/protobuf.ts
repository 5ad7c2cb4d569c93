import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { HttpAnswer } from '../http.ts'
import type { Buckets } from './buckets.ts'
import {
  type Attributes,
  type Encoding,
  type HistogramPoint,
  type Metric,
  type NumberPoint,
  type PartialSuccess,
  type Payload,
  type Point,
  type Sender,
  TEMPORALITY,
  metricKey,
  nanoseconds,
} from './model.ts'

const { Bit64, LengthDelimited, Varint } = WireType

/** Binary protobuf. The numbers are those of opentelemetry-proto's metrics.proto, common.proto and resource.proto. */
export const PROTOBUF_ENCODING: Encoding = {
  contentType: 'application/x-protobuf',
  begin: (sender) => new ProtobufPayload(sender),
  partialSuccess: readPartialSuccess,
}

/** The field of Metric that holds the data points of a kind. */
const DATA = { gauge: 5, sum: 7, histogram: 10 } as const

class ProtobufPayload implements Payload {
  size = 0
  readonly #sender: Sender
  readonly #metrics = new Map<string, { readonly metric: Metric; readonly points: Uint8Array[] }>()
  // for one point at a time
  readonly #writer = new BinaryWriter()

  constructor(sender: Sender) {
    this.#sender = sender
  }

  number(metric: Metric, point: NumberPoint): void {
    const writer = this.#begin(point)
    writeAttributes(writer, 7, point.attributes)
    writer.tag(4, Bit64).double(point.value)
    this.#add(metric)
  }

  histogram(metric: Metric, point: HistogramPoint): void {
    const { attributes, count, sum, scale, zeroCount, positive, negative, min, max } = point
    const writer = this.#begin(point)
    writeAttributes(writer, 1, attributes)
    writer.tag(4, Bit64).fixed64(count)
    if (sum !== undefined) writer.tag(5, Bit64).double(sum)
    writer.tag(6, Varint).sint32(scale)
    writer.tag(7, Bit64).fixed64(zeroCount)
    writeBuckets(writer, 8, positive)
    writeBuckets(writer, 9, negative)
    if (min !== undefined) writer.tag(12, Bit64).double(min)
    if (max !== undefined) writer.tag(13, Bit64).double(max)
    this.#add(metric)
  }

  finish(): Uint8Array {
    const { resource, scope, temporality } = this.#sender
    const writer = new BinaryWriter()
    writer.tag(1, LengthDelimited).fork()
    writer.tag(1, LengthDelimited).fork()
    writeAttributes(writer, 1, resource)
    writer.join()
    writer.tag(2, LengthDelimited).fork()
    writer.tag(1, LengthDelimited).fork()
    writer.tag(1, LengthDelimited).string(scope.name).tag(2, LengthDelimited).string(scope.version)
    writer.join()
    for (const { metric, points } of this.#metrics.values()) {
      writer.tag(2, LengthDelimited).fork()
      writer.tag(1, LengthDelimited).string(metric.name)
      if (metric.unit !== '') writer.tag(3, LengthDelimited).string(metric.unit)
      writer.tag(DATA[metric.kind], LengthDelimited).fork()
      for (const point of points) writer.raw(point)
      if (metric.kind !== 'gauge') writer.tag(2, Varint).int32(TEMPORALITY[temporality])
      if (metric.monotonic) writer.tag(3, Varint).bool(true)
      writer.join().join()
    }
    return writer.join().join().finish()
  }

  #begin({ start, time }: Point): BinaryWriter {
    const writer = this.#writer
    writer.tag(1, LengthDelimited).fork()
    if (start !== undefined) writer.tag(2, Bit64).fixed64(nanoseconds(start))
    return writer.tag(3, Bit64).fixed64(nanoseconds(time))
  }

  #add(metric: Metric): void {
    const point = this.#writer.join().finish()
    const key = metricKey(metric)
    const known = this.#metrics.get(key)
    this.size += point.length + (known === undefined ? key.length + 20 : 0)
    if (known === undefined) this.#metrics.set(key, { metric, points: [point] })
    else known.points.push(point)
  }
}

function writeAttributes(writer: BinaryWriter, field: number, attributes: Attributes): void {
  for (const [key, value] of attributes) {
    writer.tag(field, LengthDelimited).fork()
    writer.tag(1, LengthDelimited).string(key)
    writer.tag(2, LengthDelimited).fork()
    // a text that is empty is still a text, so it is written
    writer.tag(1, LengthDelimited).string(value)
    writer.join().join()
  }
}

function writeBuckets(writer: BinaryWriter, field: number, { offset, counts }: Buckets): void {
  if (counts.length === 0) return
  writer.tag(field, LengthDelimited).fork()
  writer.tag(1, Varint).sint32(offset)
  writer.tag(2, LengthDelimited).fork()
  for (let index = 0; index < counts.length; index++) {
    const count = counts[index] as number
    // the general way goes through a BigInt
    if (count <= 0xffff_ffff) writer.uint32(count)
    else writer.uint64(count)
  }
  writer.join().join()
}

function readPartialSuccess({ bytes }: HttpAnswer): PartialSuccess | undefined {
  try {
    const reader = new BinaryReader(bytes)
    let found: PartialSuccess | undefined
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag()
      if (field === 1 && type === LengthDelimited) found = readRejection(reader.bytes())
      else reader.skip(type, field)
    }
    return found
  } catch {
    return undefined
  }
}

function readRejection(bytes: Uint8Array): PartialSuccess {
  const reader = new BinaryReader(bytes)
  let rejected = 0
  let message = ''
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (field === 1 && type === Varint) rejected = Number(reader.int64())
    else if (field === 2 && type === LengthDelimited) message = reader.string()
    else reader.skip(type, field)
  }
  return { rejected, message }
}
