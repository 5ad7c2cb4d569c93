import { InvalidMeasurementError } from '../errors.ts'
import type { Combine } from '../sketch/gauge.ts'
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

/** @throws InvalidMeasurementError when there is no such type */
export function createInstrument(
  type: Type,
  recorder: Registrar,
  identity: Identity,
  key: EncodedKey,
  combine: Combine,
): Instrument {
  switch (type) {
    case 'counter':
      return new Counter(recorder, identity, key)
    case 'meter':
      return new Meter(recorder, identity, key)
    case 'gauge':
      return new Gauge(recorder, identity, key, combine)
    case 'timer':
      return new Timer(recorder, identity, key)
    case 'histogram':
      return new Histogram(recorder, identity, key)
    case 'set':
      return new Unique(recorder, identity, key)
    default:
      throw new InvalidMeasurementError(
        `type ${JSON.stringify(type)} is none of counter, meter, gauge, timer, histogram and set`,
      )
  }
}
