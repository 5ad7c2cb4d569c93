import { InvalidMeasurementError } from './errors.ts'

/** A value that somebody passed or threw, in words that fit into a message. Never throws. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  if (value instanceof Error) return value.message
  // an object's own way to become a text may throw
  return Object(value) === value ? `this ${typeof value}` : String(value)
}

/** What to throw of a value that is no number to record. */
export function notFinite(value: unknown): InvalidMeasurementError {
  return unfit('value must be a finite number', value)
}

/** What to throw of a value that breaks a rule, such as `rate must lie over 0 and up to 1`. */
export function unfit(rule: string, value: unknown): InvalidMeasurementError {
  return new InvalidMeasurementError(`${rule}, not ${describe(value)}`)
}
