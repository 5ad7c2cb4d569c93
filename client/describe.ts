import { InvalidMeasurementError } from './errors.ts'

/** A value that somebody passed or threw, in words that fit into a message. Never throws. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  if (value instanceof Error) return value.message
  // an object's own way to become a text may throw
  return Object(value) === value ? `this ${typeof value}` : String(value)
}

type Fault = new (message: string) => Error

/** What to throw of a value that is not what it must be: `rate`, `a number over 0 and up to 1`. */
export function unfit(what: string, rule: string, value: unknown, Unfit: Fault = InvalidMeasurementError): Error {
  return new Unfit(`${what} must be ${rule}, not ${describe(value)}`)
}

/** @throws InvalidMeasurementError, or another error, for a value that is none of those that there are */
export function checkOneOf(what: string, value: string, all: readonly string[], Unfit?: Fault): void {
  if (!all.includes(value)) throw unfit(what, `one of ${all.join(', ')}`, value, Unfit)
}
