import { unfit } from '../describe.ts'
import { type EncodedKey, TYPES, type Type } from '../wire/series.ts'
import { Counter } from './counter.ts'
import { Gauge } from './gauge.ts'
import { Histogram } from './histogram.ts'
import type { Identity, Instrument, Registrar } from './instrument.ts'
import { Meter } from './meter.ts'
import { Timer } from './timer.ts'
import { Unique } from './unique.ts'

/** The handle of each type. */
export interface Handles {
  readonly counter: Counter
  readonly meter: Meter
  readonly gauge: Gauge
  readonly timer: Timer
  readonly histogram: Histogram
  readonly set: Unique
}

// by the type's byte
const CLASSES = [undefined, Counter, Meter, Gauge, Timer, Histogram, Unique] as const

/** @throws InvalidMeasurementError when there is no such type */
export function createInstrument(type: Type, recorder: Registrar, identity: Identity, key: EncodedKey): Instrument {
  const Class = CLASSES[TYPES.indexOf(type)]
  if (Class === undefined) throw unfit('type', `one of ${TYPES.slice(1).join(', ')}`, type)
  return new Class(recorder, identity, key)
}
