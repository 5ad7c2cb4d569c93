import { InvalidMeasurementError } from '../../client/errors.ts'
import { type Type, checkLevel } from '../../client/wire/series.ts'
import { Refusal } from '../answers.ts'
import type { IncomingMeasurement, Ingested, MeasurementSink, Rejection } from './sink.ts'

/** What holds for a whole body. */
export interface Rules {
  /** The level of measurements without one. */
  readonly defaultLevel: string
  /** Levels that the sender may use; undefined: all. */
  readonly levels: ReadonlySet<string> | undefined
  /** Measurements or frames in one body at the most. */
  readonly maxMeasurements: number
  /** ms since the epoch. */
  readonly now: () => number
}

/** How far ahead a gauge's reading may be: a later one would never count again. Seconds. */
export const AHEAD = 600

/** A measurement as `JSON.parse` made it. It is ours, so it is completed in place instead of copied. */
interface Item {
  type: unknown
  name: unknown
  value: unknown
  level?: unknown
  source?: unknown
  tags?: unknown
  timestamp?: unknown
  rate?: unknown
  unit?: unknown
}

/**
 * Hands what is valid in `{"level"?, "source"?, "measurements": [...]}`, or in a bare array, to the sink; what is not is
 * named and takes no neighbour along.
 *
 * @throws Refusal `unreadable` when it is neither, `too_large` for too many measurements; nothing is taken then
 */
export function ingestJson(body: unknown, sink: Pick<MeasurementSink, 'record'>, rules: Rules): Ingested {
  const envelope = (Array.isArray(body) ? { measurements: body } : body) as {
    level?: unknown
    source?: unknown
    measurements?: unknown
  } | null
  const list = typeof envelope === 'object' && envelope !== null ? envelope.measurements : undefined
  if (!Array.isArray(list)) {
    throw new Refusal('unreadable', 'the body must be {"measurements": [...]} or an array of measurements')
  }
  checkCount(list.length, 'measurements', rules)
  return new Ingest(sink, rules, envelope?.level ?? undefined, envelope?.source ?? undefined).take(list as unknown[])
}

/** @throws Refusal `too_large` */
export function checkCount(count: number, what: string, { maxMeasurements }: Rules): void {
  if (count <= maxMeasurements) return
  throw new Refusal('too_large', `over ${maxMeasurements} ${what} in one body; send fewer at once`)
}

class Ingest {
  readonly #sink: Pick<MeasurementSink, 'record'>
  readonly #rules: Rules
  readonly #level: unknown
  readonly #source: unknown
  #forbidden = 0
  // the last level looked at and what was wrong with it: most bodies have one
  #lastLevel: unknown = undefined
  #lastProblem: string | undefined

  constructor(sink: Pick<MeasurementSink, 'record'>, rules: Rules, level: unknown, source: unknown) {
    this.#sink = sink
    this.#rules = rules
    this.#level = level
    this.#source = source
  }

  take(list: readonly unknown[]): Ingested {
    const rejected: Rejection[] = []
    for (let index = 0; index < list.length; index++) {
      const reason = this.#takeOne(list[index])
      if (reason !== undefined) rejected.push({ index, reason })
    }
    return { accepted: list.length - rejected.length, rejected, forbidden: this.#forbidden }
  }

  #takeOne(measurement: unknown): string | undefined {
    if (typeof measurement !== 'object' || measurement === null || Array.isArray(measurement)) {
      return 'a measurement is an object such as {"type":"counter","name":"orders","value":1}'
    }
    const item = measurement as Item
    const problem = checkType(item) ?? this.#complete(item) ?? checkValue(item) ?? this.#checkTime(item)
    if (problem !== undefined) return problem
    return this.#checkLevel(item) ?? this.#sink.record(item as IncomingMeasurement)
  }

  /** Envelope's defaults; `null` is as good as absent. */
  #complete(item: Item): string | undefined {
    const { level, source, tags } = item
    if (level === undefined || level === null) {
      if (this.#level !== undefined || level === null) item.level = this.#level
    }
    if (source === undefined || source === null) {
      if (this.#source !== undefined || source === null) item.source = this.#source
    }
    if (item.source !== undefined && typeof item.source !== 'string') return 'source must be a text'
    if (tags === null) item.tags = undefined
    else if (tags !== undefined && (typeof tags !== 'object' || Array.isArray(tags))) {
      return 'tags must be an object such as {"route":"/pay"}'
    }
    return undefined
  }

  #checkTime(item: Item): string | undefined {
    const { timestamp } = item
    if (timestamp === undefined) return undefined
    if (timestamp === null) {
      item.timestamp = undefined
      return undefined
    }
    if (typeof timestamp !== 'number' || !(timestamp >= 0 && timestamp < 8.64e12)) {
      return 'timestamp must be seconds since the epoch'
    }
    if (item.type === 'gauge' && timestamp > this.#rules.now() / 1000 + AHEAD) {
      return `timestamp ${timestamp} is over ${AHEAD} seconds ahead; it must be seconds since the epoch, not milliseconds`
    }
    return undefined
  }

  #checkLevel(item: Item): string | undefined {
    const level = item.level ?? this.#rules.defaultLevel
    if (level !== this.#lastLevel) {
      this.#lastProblem = problemOf(level)
      this.#lastLevel = level
    }
    if (this.#lastProblem !== undefined) return this.#lastProblem
    const { levels } = this.#rules
    if (levels === undefined || levels.has(level as string)) return undefined
    this.#forbidden++
    return forbidden(level as string)
  }
}

/** The reason for refusing a level that a token may not use. */
export function forbidden(level: string): string {
  return `level ${JSON.stringify(level)} is not allowed with this token`
}

function problemOf(level: unknown): string | undefined {
  try {
    checkLevel(level as string)
    return undefined
  } catch (error) {
    if (error instanceof InvalidMeasurementError) return error.message
    throw error
  }
}

function checkType(item: Item): string | undefined {
  switch (item.type) {
    case 'counter':
    case 'gauge':
    case 'timer':
    case 'histogram':
    case 'meter':
    case 'set':
      break
    case 'unique':
      item.type = 'set' satisfies Type
      break
    default:
      return 'type must be "counter", "gauge", "timer", "histogram", "meter", "set" or "unique"'
  }
  if (typeof item.name === 'string' && item.name !== '') return undefined
  return 'name must be a text that is not empty'
}

function checkValue(item: Item): string | undefined {
  const { type, value, rate, unit } = item
  // value - value is NaN for an infinity, which is what JSON's 1e999 becomes
  if ((typeof value !== 'number' || value - value !== 0) && (type !== 'set' || typeof value !== 'string')) {
    return type === 'set' ? 'the value of a set must be a text or a finite number' : 'value must be a finite number'
  }
  if (rate === null) item.rate = undefined
  else if (rate !== undefined && rate !== 1) {
    if (typeof rate !== 'number' || !(rate > 0 && rate <= 1)) return 'rate must be a number above 0 and at most 1'
    if (type === 'gauge' || type === 'set') return `rate does not apply to a ${type}; leave it out`
  }
  if (unit === null) item.unit = undefined
  else if (unit !== undefined) {
    if (type !== 'timer') return `unit does not apply to a ${String(type)}; leave it out`
    if (unit !== 's' && unit !== 'ms' && unit !== 'us' && unit !== 'ns') return 'unit must be "s", "ms", "us" or "ns"'
  }
  return undefined
}
