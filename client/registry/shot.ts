import { InvalidMeasurementError } from '../errors.ts'
import type { Instrument } from '../instruments/instrument.ts'
import { type Measurement, SECONDS } from '../measurement.ts'
import { describe } from '../describe.ts'

/**
 * Has the handle of its series take a one-shot measurement.
 *
 * @throws InvalidMeasurementError naming the part that makes no sense
 */
export function takeShot(handle: Instrument, { value, rate, unit, timestamp }: Measurement): void {
  const { type } = handle
  if (!Number.isFinite(value) && !(type === 'set' && typeof value === 'string')) {
    throw new InvalidMeasurementError(
      type === 'set'
        ? `the value of a set is a text or a finite number, not ${describe(value)}`
        : `${describe(value)} is not a finite number`,
    )
  }
  const weight = rate === undefined ? 1 : 1 / rate
  if (rate !== undefined && !(typeof rate === 'number' && rate > 0 && rate <= 1 && weight < Infinity)) {
    throw new InvalidMeasurementError(`rate must lie over 0 and up to 1, not ${describe(rate)}`)
  }
  let scaled = value
  if (unit !== undefined) {
    if (type !== 'timer' || !Object.hasOwn(SECONDS, unit)) {
      throw new InvalidMeasurementError('unit is for timers: "s", "ms", "us" or "ns"')
    }
    // dividing keeps 12 ms the double nearest to 0.012
    scaled = (value as number) / Math.round(1 / SECONDS[unit])
  }
  if (timestamp !== undefined && !(typeof timestamp === 'number' && timestamp >= 0 && timestamp < 8.64e12)) {
    throw new InvalidMeasurementError(`timestamp must be seconds since the epoch, not ${describe(timestamp)}`)
  }
  handle.take(scaled, weight, timestamp === undefined ? undefined : Math.round(timestamp * 1000))
}
