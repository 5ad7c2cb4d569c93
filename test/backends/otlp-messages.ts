import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'

/** A data point as a collector takes it in, whatever the encoding was. */
export interface TakenPoint {
  readonly name: string
  readonly unit: string
  readonly kind: 'gauge' | 'sum' | 'histogram'
  readonly monotonic: boolean
  readonly temporality: number
  readonly attributes: Record<string, string>
  /** Nanoseconds; 0 when it is not said. */
  readonly start: bigint
  readonly time: bigint
  readonly value?: number
  readonly histogram?: TakenHistogram
}

export interface TakenHistogram {
  readonly count: bigint
  readonly sum: number | undefined
  readonly min: number | undefined
  readonly max: number | undefined
  readonly scale: number
  readonly zeroCount: bigint
  readonly positive: TakenBuckets
  readonly negative: TakenBuckets
}

export interface TakenBuckets {
  readonly offset: number
  readonly counts: bigint[]
}

export interface TakenRequest {
  readonly resource: Record<string, string>
  readonly scope: { readonly name: string; readonly version: string }
  readonly points: TakenPoint[]
}

/** Message types and their fields by number, as opentelemetry-proto 1.x publishes them, so far as they matter here. */
type Field = readonly [name: string, type: string, repeated?: 'repeated']
const MESSAGES: Record<string, Record<number, Field>> = {
  ExportMetricsServiceRequest: { 1: ['resourceMetrics', 'ResourceMetrics', 'repeated'] },
  ResourceMetrics: { 1: ['resource', 'Resource'], 2: ['scopeMetrics', 'ScopeMetrics', 'repeated'] },
  Resource: { 1: ['attributes', 'KeyValue', 'repeated'] },
  ScopeMetrics: { 1: ['scope', 'InstrumentationScope'], 2: ['metrics', 'Metric', 'repeated'] },
  InstrumentationScope: { 1: ['name', 'string'], 2: ['version', 'string'] },
  Metric: {
    1: ['name', 'string'],
    2: ['description', 'string'],
    3: ['unit', 'string'],
    5: ['gauge', 'Gauge'],
    7: ['sum', 'Sum'],
    10: ['exponentialHistogram', 'ExponentialHistogram'],
  },
  Gauge: { 1: ['dataPoints', 'NumberDataPoint', 'repeated'] },
  Sum: {
    1: ['dataPoints', 'NumberDataPoint', 'repeated'],
    2: ['aggregationTemporality', 'enum'],
    3: ['isMonotonic', 'bool'],
  },
  ExponentialHistogram: {
    1: ['dataPoints', 'ExponentialHistogramDataPoint', 'repeated'],
    2: ['aggregationTemporality', 'enum'],
  },
  NumberDataPoint: {
    2: ['startTimeUnixNano', 'fixed64'],
    3: ['timeUnixNano', 'fixed64'],
    4: ['asDouble', 'double'],
    6: ['asInt', 'sfixed64'],
    7: ['attributes', 'KeyValue', 'repeated'],
    8: ['flags', 'uint32'],
  },
  ExponentialHistogramDataPoint: {
    1: ['attributes', 'KeyValue', 'repeated'],
    2: ['startTimeUnixNano', 'fixed64'],
    3: ['timeUnixNano', 'fixed64'],
    4: ['count', 'fixed64'],
    5: ['sum', 'double'],
    6: ['scale', 'sint32'],
    7: ['zeroCount', 'fixed64'],
    8: ['positive', 'Buckets'],
    9: ['negative', 'Buckets'],
    10: ['flags', 'uint32'],
    12: ['min', 'double'],
    13: ['max', 'double'],
    14: ['zeroThreshold', 'double'],
  },
  Buckets: { 1: ['offset', 'sint32'], 2: ['bucketCounts', 'uint64', 'repeated'] },
  KeyValue: { 1: ['key', 'string'], 2: ['value', 'AnyValue'] },
  AnyValue: { 1: ['stringValue', 'string'] },
}

const WIRE_TYPES: Record<string, WireType> = {
  fixed64: WireType.Bit64,
  sfixed64: WireType.Bit64,
  double: WireType.Bit64,
  sint32: WireType.Varint,
  uint32: WireType.Varint,
  enum: WireType.Varint,
  bool: WireType.Varint,
}

type Message = Record<string, unknown>

/** Reads a message by the tables above; whatever else is in it is an error. */
export function readProtobuf(bytes: Uint8Array, type: string): Message {
  const reader = new BinaryReader(bytes)
  const message: Message = {}
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag()
    const field = MESSAGES[type]?.[number]
    if (field === undefined) throw new Error(`${type} has no field ${number}`)
    const [name, fieldType, repeated] = field
    if (wireType !== (WIRE_TYPES[fieldType] ?? WireType.LengthDelimited) && fieldType !== 'uint64') {
      throw new Error(`${type}.${name} has the wire type ${wireType}`)
    }
    if (repeated === undefined && name in message) throw new Error(`${type}.${name} comes twice`)
    if (fieldType === 'uint64') message[name] = readPacked(reader.bytes())
    else if (repeated === undefined) message[name] = readValue(reader, fieldType)
    else ((message[name] ??= []) as unknown[]).push(readValue(reader, fieldType))
  }
  return message
}

function readValue(reader: BinaryReader, type: string): unknown {
  switch (type) {
    case 'string':
      return reader.string()
    case 'double':
      return reader.double()
    case 'fixed64':
      return BigInt(reader.fixed64())
    case 'sfixed64':
      return BigInt(reader.sfixed64())
    case 'sint32':
      return reader.sint32()
    case 'uint32':
    case 'enum':
      return reader.uint32()
    case 'bool':
      return reader.bool()
    default:
      return readProtobuf(reader.bytes(), type)
  }
}

function readPacked(bytes: Uint8Array): bigint[] {
  const reader = new BinaryReader(bytes)
  const counts: bigint[] = []
  while (reader.pos < reader.len) counts.push(BigInt(reader.uint64()))
  return counts
}

/** Reads proto3's JSON mapping as OTLP has it: 64-bit integers are text, enumerations numbers, no name unknown. */
export function readJson(value: unknown, type: string): Message {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${type} is no object`)
  const fields = new Map(Object.values(MESSAGES[type] ?? {}).map((field) => [field[0], field]))
  const message: Message = {}
  for (const [name, raw] of Object.entries(value)) {
    const field = fields.get(name)
    if (field === undefined) throw new Error(`${type} has no field ${name}`)
    const [, fieldType, repeated] = field
    if (repeated === undefined) message[name] = readJsonValue(raw, fieldType, name)
    else message[name] = (raw as unknown[]).map((each) => readJsonValue(each, fieldType, name))
  }
  return message
}

function readJsonValue(raw: unknown, type: string, name: string): unknown {
  const expect = (holds: boolean): void => {
    if (!holds) throw new Error(`${name} is ${JSON.stringify(raw)}, which is no ${type}`)
  }
  switch (type) {
    case 'string':
      expect(typeof raw === 'string')
      return raw
    case 'double':
      expect(typeof raw === 'number' || ['NaN', 'Infinity', '-Infinity'].includes(raw as string))
      return Number(raw)
    case 'fixed64':
    case 'sfixed64':
    case 'uint64':
      expect(typeof raw === 'string' && /^-?\d{1,20}$/.test(raw))
      return BigInt(raw as string)
    case 'sint32':
    case 'uint32':
    case 'enum':
      expect(Number.isInteger(raw))
      return raw
    case 'bool':
      expect(typeof raw === 'boolean')
      return raw
    default:
      return readJson(raw, type)
  }
}

/** What a request holds; throws for what the data model does not allow. */
export function takeRequest(message: Message): TakenRequest {
  const [resourceMetrics, ...others] = list(message, 'resourceMetrics')
  if (resourceMetrics === undefined || others.length > 0) throw new Error('a request is from one resource')
  const [scopeMetrics] = list(resourceMetrics, 'scopeMetrics') as [Message]
  const metrics = list(scopeMetrics, 'metrics')
  const identities = metrics.map((metric) => JSON.stringify(takeIdentity(metric)))
  if (new Set(identities).size < identities.length) throw new Error('a metric comes twice')
  return {
    resource: takeAttributes(resourceMetrics['resource'] as Message),
    scope: scopeMetrics['scope'] as TakenRequest['scope'],
    points: metrics.flatMap(takeMetric),
  }
}

function takeIdentity(metric: Message): Pick<TakenPoint, 'name' | 'unit' | 'kind' | 'monotonic' | 'temporality'> {
  const { name = '', unit = '', gauge, sum, exponentialHistogram } = metric as Record<string, Message>
  if ([gauge, sum, exponentialHistogram].filter((data) => data !== undefined).length !== 1) {
    throw new Error('a metric is of one kind')
  }
  const temporality = ((sum ?? exponentialHistogram)?.['aggregationTemporality'] ?? 0) as number
  const known = gauge === undefined ? [1, 2].includes(temporality) : temporality === 0
  if (!known || (name as unknown) === '') throw new Error('a metric has no name or no temporality')
  const kind = gauge !== undefined ? 'gauge' : sum !== undefined ? 'sum' : 'histogram'
  const monotonic = sum?.['isMonotonic'] === true
  return { name: name as unknown as string, unit: unit as unknown as string, kind, monotonic, temporality }
}

function takeMetric(metric: Message): TakenPoint[] {
  const identity = takeIdentity(metric)
  const data = (metric['gauge'] ?? metric['sum'] ?? metric['exponentialHistogram']) as Message
  const points = list(data, 'dataPoints')
  if (points.length === 0) throw new Error('a metric has no points')
  return points.map((point) => {
    const { startTimeUnixNano: start = 0n, timeUnixNano: time } = point as Record<string, bigint>
    if (time === undefined || time === 0n || start > time) throw new Error('a point has impossible times')
    if (identity.temporality === 1 && start === 0n) throw new Error('a delta has no start')
    const common = { ...identity, attributes: takeAttributes(point), start, time }
    if (identity.kind === 'histogram') return { ...common, histogram: takeHistogram(point) }
    if (typeof point['asDouble'] !== 'number') throw new Error('a point has no value')
    return { ...common, value: point['asDouble'] }
  })
}

function takeHistogram(point: Message): TakenHistogram {
  const { count = 0n, zeroCount = 0n } = point as Record<string, bigint>
  const { sum, min, max, scale = 0 } = point as Record<string, number>
  const positive = takeBuckets(point['positive'])
  const negative = takeBuckets(point['negative'])
  const counted = [zeroCount, ...positive.counts, ...negative.counts].reduce((total, each) => total + each, 0n)
  if (counted !== count) throw new Error(`buckets hold ${counted}, the count says ${count}`)
  if (count === 0n && (sum !== 0 || min !== undefined)) throw new Error('nothing has a sum or a least value')
  return { count, sum, min, max, scale, zeroCount, positive, negative }
}

function takeBuckets(buckets: unknown): TakenBuckets {
  const { offset = 0, bucketCounts = [] } = (buckets ?? {}) as { offset?: number; bucketCounts?: bigint[] }
  if (bucketCounts.some((count) => count < 0n)) throw new Error('a bucket holds less than nothing')
  return { offset, counts: bucketCounts }
}

function takeAttributes(owner: Message): Record<string, string> {
  const pairs = list(owner, 'attributes').map((pair): [string, string] => {
    const value = (pair['value'] as Message | undefined)?.['stringValue']
    if (typeof pair['key'] !== 'string' || pair['key'] === '' || typeof value !== 'string') {
      throw new Error(`an attribute is ${JSON.stringify(pair)}`)
    }
    return [pair['key'], value]
  })
  if (new Set(pairs.map(([key]) => key)).size < pairs.length) throw new Error('an attribute comes twice')
  return Object.fromEntries(pairs)
}

function list(message: Message, name: string): Message[] {
  return (message[name] ?? []) as Message[]
}
