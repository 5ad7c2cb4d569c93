import type { HttpAnswer } from '../http.ts'
import type { ExponentialHistogram } from './buckets.ts'

/** OpenTelemetry's AggregationTemporality. */
export const TEMPORALITY = { delta: 1, cumulative: 2 } as const
export type Temporality = keyof typeof TEMPORALITY

/** What the data points of one name have in common. */
export interface Metric {
  readonly name: string
  /** As UCUM writes it, or empty. */
  readonly unit: string
  readonly kind: 'gauge' | 'sum' | 'histogram'
  /** Of a sum: whether it never goes down. */
  readonly monotonic: boolean
}

/** Names and values, no name twice. */
export type Attributes = readonly (readonly [name: string, value: string])[]

/** Times are seconds since the epoch. */
export interface Point {
  readonly attributes: Attributes
  /** When the counting began; undefined for gauges, and when nobody knows. */
  readonly start: number | undefined
  readonly time: number
}

export interface NumberPoint extends Point {
  readonly value: number
}

export interface HistogramPoint extends Point, ExponentialHistogram {
  /** Undefined when there are negative values: the protocol has no sum that goes down. */
  readonly sum: number | undefined
  /** Undefined when there is no value. */
  readonly min: number | undefined
  readonly max: number | undefined
}

/** What every request says of its sender. */
export interface Sender {
  readonly resource: Attributes
  /** The instrumentation scope. */
  readonly scope: { readonly name: string; readonly version: string }
  readonly temporality: Temporality
}

/** One request's data points, encoded as they come. */
export interface Payload {
  /** Bytes so far, roughly. */
  readonly size: number
  number(metric: Metric, point: NumberPoint): void
  histogram(metric: Metric, point: HistogramPoint): void
  /** Called last; the body of the request. */
  finish(): Uint8Array | string
}

/** What a service took and what it did not. */
export interface PartialSuccess {
  readonly rejected: number
  readonly message: string
}

/** One of the two ways in which OTLP/HTTP writes messages. */
export interface Encoding {
  readonly contentType: string
  begin(sender: Sender): Payload
  /** Undefined when the answer says nothing, or nothing that can be read. */
  partialSuccess(answer: HttpAnswer): PartialSuccess | undefined
}

/** Nanoseconds since the epoch, exact to the millisecond. */
export function nanoseconds(seconds: number): bigint {
  return BigInt(Math.round(seconds * 1000)) * 1_000_000n
}

/** What tells metrics apart: data points of equal keys belong together. */
export function metricKey({ name, unit, kind, monotonic }: Metric): string {
  return `${kind} ${monotonic ? 'up' : ''} ${unit} ${name}`
}
