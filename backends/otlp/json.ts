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
  type Sender,
  TEMPORALITY,
  metricKey,
  nanoseconds,
} from './model.ts'

/**
 * OTLP/HTTP's JSON: proto3's mapping (names in lowerCamelCase, 64-bit integers as text, `"NaN"` and `"Infinity"`), with
 * enumerations as numbers.
 */
export const JSON_ENCODING: Encoding = {
  contentType: 'application/json',
  begin: (sender) => new JsonPayload(sender),
  partialSuccess: readPartialSuccess,
}

class JsonPayload implements Payload {
  size = 0
  readonly #sender: Sender
  readonly #metrics = new Map<string, { readonly metric: Metric; readonly points: string[] }>()

  constructor(sender: Sender) {
    this.#sender = sender
  }

  number(metric: Metric, { attributes, start, time, value }: NumberPoint): void {
    this.#add(metric, { attributes: keyValues(attributes), ...times(start, time), asDouble: double(value) })
  }

  histogram(metric: Metric, point: HistogramPoint): void {
    const { attributes, start, time, count, sum, scale, zeroCount, positive, negative, min, max } = point
    this.#add(metric, {
      attributes: keyValues(attributes),
      ...times(start, time),
      count: String(count),
      ...(sum === undefined ? {} : { sum: double(sum) }),
      scale,
      zeroCount: String(zeroCount),
      positive: buckets(positive),
      negative: buckets(negative),
      ...(min === undefined ? {} : { min: double(min) }),
      ...(max === undefined ? {} : { max: double(max) }),
    })
  }

  finish(): string {
    const { resource, scope, temporality } = this.#sender
    const aggregationTemporality = TEMPORALITY[temporality]
    const metrics = [...this.#metrics.values()].map(({ metric: { name, unit, kind, monotonic }, points }) => {
      const head = JSON.stringify({ name, unit }).slice(0, -1)
      const dataPoints = `"dataPoints":[${points.join()}]`
      if (kind === 'gauge') return `${head},"gauge":{${dataPoints}}}`
      if (kind === 'sum') {
        const how = `"aggregationTemporality":${aggregationTemporality},"isMonotonic":${monotonic}`
        return `${head},"sum":{${dataPoints},${how}}}`
      }
      return `${head},"exponentialHistogram":{${dataPoints},"aggregationTemporality":${aggregationTemporality}}}`
    })
    const about = `"resource":${JSON.stringify({ attributes: keyValues(resource) })}`
    const scoped = `"scopeMetrics":[{"scope":${JSON.stringify(scope)},"metrics":[${metrics.join()}]}]`
    return `{"resourceMetrics":[{${about},${scoped}}]}`
  }

  #add(metric: Metric, point: object): void {
    const text = JSON.stringify(point)
    const key = metricKey(metric)
    const known = this.#metrics.get(key)
    this.size += text.length + (known === undefined ? 2 * key.length + 80 : 1)
    if (known === undefined) this.#metrics.set(key, { metric, points: [text] })
    else known.points.push(text)
  }
}

function keyValues(attributes: Attributes): object[] {
  return attributes.map(([key, value]) => ({ key, value: { stringValue: value } }))
}

function times(start: number | undefined, time: number): object {
  const timeUnixNano = String(nanoseconds(time))
  return start === undefined ? { timeUnixNano } : { startTimeUnixNano: String(nanoseconds(start)), timeUnixNano }
}

function double(value: number): number | string {
  return Number.isFinite(value) ? value : String(value)
}

function buckets({ offset, counts }: Buckets): object {
  return { offset, bucketCounts: Array.from(counts, String) }
}

function readPartialSuccess({ text }: HttpAnswer): PartialSuccess | undefined {
  try {
    const answer = JSON.parse(text) as { partialSuccess?: { rejectedDataPoints?: unknown; errorMessage?: unknown } }
    const { rejectedDataPoints = 0, errorMessage = '' } = answer.partialSuccess ?? {}
    const rejected = Number(rejectedDataPoints)
    return Number.isFinite(rejected) ? { rejected, message: String(errorMessage) } : undefined
  } catch {
    return undefined
  }
}
