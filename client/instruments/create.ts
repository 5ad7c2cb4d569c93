import { unfit } from '../describe.ts'
import type { EncodedKey, Type } from '../wire/series.ts'
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

const CLASSES: {
  readonly [T in Type]: new (recorder: Registrar, identity: Identity, key: EncodedKey) => Handles[T]
} = { counter: Counter, meter: Meter, gauge: Gauge, timer: Timer, histogram: Histogram, set: Unique }

/** @throws InvalidMeasurementError when there is no such type */
export function createInstrument(type: Type, recorder: Registrar, identity: Identity, key: EncodedKey): Instrument {
  if (!Object.hasOwn(CLASSES, type)) throw unfit(`type must be one of ${Object.keys(CLASSES).join(', ')}`, type)
  return new CLASSES[type](recorder, identity, key)
}
