import { checkOneOf, unfit } from '../describe.ts'
import type { Instrument } from '../instruments/instrument.ts'
import { type Measurement, PER_SECOND } from '../measurement.ts'

/**
 * Has the handle of its series take a one-shot measurement.
 *
 * @throws InvalidMeasurementError naming the part that makes no sense
 */
export function takeShot(handle: Instrument, { value, rate = 1, unit = 's', timestamp }: Measurement): void {
  const { type } = handle
  if (!Number.isFinite(value) && (type !== 'set' || typeof value !== 'string')) {
    throw unfit('value', 'a finite number', value)
  }
  const weight = 1 / rate
  if (typeof rate !== 'number' || !(weight >= 1 && weight < Infinity)) {
    throw unfit('rate', 'a number over 0 and up to 1', rate)
  }
  if (unit !== 's') checkOneOf('unit', unit, type === 'timer' ? Object.keys(PER_SECOND) : ['s'])
  if (timestamp !== undefined && !(typeof timestamp === 'number' && timestamp >= 0 && timestamp < 8.64e12)) {
    throw unfit('timestamp', 'seconds since the epoch', timestamp)
  }
  // dividing keeps 12 ms the double nearest to 0.012
  const scaled = type === 'timer' ? (value as number) / PER_SECOND[unit] : value
  handle.take(scaled, weight, timestamp && Math.round(timestamp * 1000))
}
