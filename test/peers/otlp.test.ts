import { createRequire } from 'node:module'
import { afterEach, describe, expect, test } from 'vitest'
import type { DistributionRollup, Rollup } from '../../backends/backend.ts'
import { openBackend } from '../../backends/open.ts'
import {
  extremeRollups,
  oddlyNamedRollups,
  rollupsOfEveryType,
  sampleRollup,
  sampleWindow,
} from '../../backends/samples.ts'
import { Service, status } from '../backends/service.ts'

/** OpenTelemetry's own messages, generated from its .proto files; only what is used here. */
interface Message {
  decode(bytes: Uint8Array): Message
  encode(message: object): { finish(): Uint8Array }
  fromObject(object: object): Message
  toObject(message: Message, options: object): Record<string, unknown>
}

const generated = '@opentelemetry/otlp-transformer/build/src/generated/root.js'
const { opentelemetry } = createRequire(import.meta.url)(generated) as {
  opentelemetry: { proto: { collector: { metrics: { v1: Record<string, Message> } } } }
}
const Request = opentelemetry.proto.collector.metrics.v1['ExportMetricsServiceRequest'] as Message
const Response = opentelemetry.proto.collector.metrics.v1['ExportMetricsServiceResponse'] as Message

const never = new AbortController().signal
const services: Service[] = []

afterEach(async () => {
  for (const service of services.splice(0)) await service.stop()
})

interface Point {
  attributes: { key: string; value: { stringValue: string } }[]
  startTimeUnixNano?: string
  timeUnixNano: string
  asDouble?: number
  count?: string
  sum?: number
  min?: number
  max?: number
  scale?: number
  zeroCount?: string
  positive?: { offset: number; bucketCounts: string[] }
  negative?: { offset: number; bucketCounts: string[] }
}

interface Metric {
  name: string
  unit?: string
  gauge?: { dataPoints: Point[] }
  sum?: { dataPoints: Point[]; aggregationTemporality: number; isMonotonic?: boolean }
  exponentialHistogram?: { dataPoints: Point[]; aggregationTemporality: number }
}

/** What the generated code makes of the one request that a window becomes. */
async function decoded(rollups: readonly Rollup[], options: string): Promise<Metric[]> {
  const service = await Service.start()
  services.push(service)
  const backend = await openBackend(`otlp+http://127.0.0.1:${service.port}${options}`)
  await backend.flush(sampleWindow(rollups), never)
  const [request, ...others] = service.requests
  expect(others).toEqual([])
  const json = request?.headers['content-type'] === 'application/json'
  const message = json
    ? Request.fromObject(JSON.parse(request.body) as object)
    : Request.decode(request?.bytes ?? Buffer.alloc(0))
  const { resourceMetrics } = Request.toObject(message, { longs: String }) as {
    resourceMetrics: { scopeMetrics: { metrics: Metric[] }[] }[]
  }
  return resourceMetrics[0]?.scopeMetrics[0]?.metrics ?? []
}

const attributesOf = ({ attributes }: Point): Record<string, string> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]))

function pointsOf({ gauge, sum, exponentialHistogram }: Metric): Point[] {
  return (gauge ?? sum ?? exponentialHistogram)?.dataPoints ?? []
}

describe.each(['protobuf', 'json'])("OpenTelemetry's own code reads of %s", (encoding) => {
  test('every type with its figures, times and attributes', async () => {
    const metrics = await decoded(rollupsOfEveryType(), `?temporality=delta&encoding=${encoding}`)
    const names = 'orders events events.m1 events.m5 events.m15 queue db size users'
    expect(metrics.map(({ name }) => name).join(' ')).toBe(names)
    const times = { startTimeUnixNano: '1700000000000000000', timeUnixNano: '1700000010000000000' }
    const [orders, , , , , queue, db, size] = metrics as [
      Metric,
      Metric,
      Metric,
      Metric,
      Metric,
      Metric,
      Metric,
      Metric,
    ]
    expect(orders.sum).toMatchObject({
      aggregationTemporality: 1,
      isMonotonic: true,
      dataPoints: [{ ...times, asDouble: 5 }],
    })
    expect(queue.gauge?.dataPoints).toMatchObject([{ timeUnixNano: times.timeUnixNano, asDouble: 4 }])
    expect(queue.gauge?.dataPoints.map(attributesOf)).toEqual([{ source: 'web', host: 'a' }])
    expect(db).toMatchObject({ unit: 's', exponentialHistogram: { aggregationTemporality: 1 } })
    expect(pointsOf(db)).toMatchObject([{ ...times, count: '4', scale: 6, zeroCount: '0', min: 0.00005, max: 2.5 }])
    expect(pointsOf(size)).toMatchObject([{ count: '4', zeroCount: '1', negative: { bucketCounts: ['1'] } }])
  })

  test('odd names, sources and tags as they are', async () => {
    const rollups = oddlyNamedRollups()
    const metrics = await decoded(rollups, `?encoding=${encoding}`)
    expect(metrics.map((metric) => [metric.name, pointsOf(metric).map(attributesOf)])).toEqual(
      rollups.map(({ name, source, tags }) => [name, [{ source, ...tags }]]),
    )
  })

  test('numbers at the ends of what there is', async () => {
    const rollups = extremeRollups()
    const metrics = await decoded(rollups, `?temporality=delta&encoding=${encoding}`)
    const told = metrics.flatMap((metric) =>
      pointsOf(metric).map((point) => [metric.name, point.asDouble ?? point.max]),
    )
    expect(told).toEqual(
      rollups.map((rollup) => [
        rollup.name,
        rollup.type === 'histogram' ? rollup.max : (rollup as { value: number }).value,
      ]),
    )
  })

  test('the bins of a sketch, each in its bucket', async () => {
    const values = Array.from({ length: 5000 }, (_, index) =>
      index % 7 === 0 ? 0 : Math.sin(index) * 10 ** (index % 9),
    )
    const rollup = sampleRollup({ type: 'histogram', name: 'h', source: 'web', tags: {} }, values) as DistributionRollup
    const metrics = await decoded([rollup], `?encoding=${encoding}`)
    const [point] = metrics.flatMap(pointsOf) as [Required<Point>]
    const { positive, negative, zeros } = rollup.distribution
    for (const [bins, { offset, bucketCounts }] of [
      [positive, point.positive],
      [negative, point.negative],
    ] as const) {
      const filled = bucketCounts.flatMap((count, index) => (count === '0' ? [] : [[offset + index, Number(count)]]))
      expect(filled).toEqual(Array.from(bins?.sorted() ?? [], (bin) => [bin, bins?.weightOf(bin)]))
    }
    expect([point.scale, Number(point.zeroCount), Number(point.count)]).toEqual([6, zeros, 5000])
  })
})

test("a rejection that OpenTelemetry's own code wrote is read", async () => {
  const service = await Service.start()
  services.push(service)
  const rejection = { partialSuccess: { rejectedDataPoints: 4, errorMessage: 'too old' } }
  service.answer = status(200, Response.encode(Response.fromObject(rejection)).finish())
  const backend = await openBackend(`otlp+http://127.0.0.1:${service.port}`)
  await expect(backend.flush(sampleWindow(rollupsOfEveryType()), never)).rejects.toMatchObject({
    name: 'PermanentError',
    refused: 4,
    message: 'otlp: 4 data points were rejected: too old',
  })
})
