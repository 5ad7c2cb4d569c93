import { InvalidFrameError } from '../errors.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import { TYPE_CODE, TYPES, type Type } from '../wire/series.ts'
import { Distribution } from './distribution.ts'
import { Gauge } from './gauge.ts'
import { Members } from './members.ts'

/** The aggregate of a counter or meter: the sum of its increments. */
export class Sum {
  value: number

  constructor(value = 0) {
    this.value = value
  }

  add(value: number): void {
    this.value += value
  }

  clear(): void {
    this.value = 0
  }

  merge(other: Sum): void {
    this.value += other.value
  }

  encode(writer: Writer): void {
    writer.finite(this.value)
  }

  static decode(reader: Reader, into: Sum | undefined): void {
    const value = reader.finite()
    if (into !== undefined) into.value += value
  }
}

/** The mergeable state of one series over one span: `merge(a, b)` is the aggregate of both spans' measurements. */
export type Aggregate = Sum | Gauge | Distribution | Members

const COUNTER = TYPE_CODE.counter
const METER = TYPE_CODE.meter
const GAUGE = TYPE_CODE.gauge
const SET = TYPE_CODE.set

/** An empty aggregate for a type's code. */
export function createAggregate(type: number): Aggregate {
  if (type === COUNTER || type === METER) return new Sum()
  if (type === GAUGE) return new Gauge()
  return type === SET ? new Members() : new Distribution()
}

/**
 * Merges an encoded payload into an aggregate of its type; `into` undefined only checks it, and leaves the reader behind it.
 *
 * @throws InvalidFrameError when the payload is none; `into` may then have taken part of it, so check before you merge
 */
export function decodeAggregate(type: number, reader: Reader, into: Aggregate | undefined): void {
  if (type === COUNTER || type === METER) Sum.decode(reader, into as Sum | undefined)
  else if (type === GAUGE) Gauge.decode(reader, into as Gauge | undefined)
  else if (type === SET) Members.decode(reader, into as Members | undefined)
  else if (type === TYPE_CODE.timer || type === TYPE_CODE.histogram) {
    Distribution.decode(reader, into as Distribution | undefined)
  } else throw new InvalidFrameError(`frame: ${type} is no type`)
}

/** Merges two aggregates of one type. */
export function mergeAggregate(into: Aggregate, other: Aggregate): void {
  ;(into as { merge(other: Aggregate): void }).merge(other)
}

/** The type's name for its code, which a check has already accepted. */
export function typeOf(code: number): Type {
  return TYPES[code] as Type
}
