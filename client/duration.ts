import { UsageError } from './errors.ts'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

// a longer timer fires at once instead of late
const MAX_MS = 2 ** 31 - 1

/**
 * Milliseconds of a duration as people write it on a command line: `'250ms'`, `'10s'`, `'1.5m'`, `'2h'`; a bare number is
 * seconds.
 *
 * @throws UsageError for anything else, and for more than 24 days, which no timer can wait
 */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h)?$/.exec(text.trim())
  if (match === null) {
    throw new UsageError(`duration ${JSON.stringify(text)} is none; write for example "250ms", "10s", "1m" or "2h"`)
  }
  const ms = Number(match[1]) * (UNIT_MS[match[2] ?? 's'] as number)
  // floating point makes 1.0000000000000002 of some; no clock here knows less than a microsecond
  return checked(Math.round(ms * 1000) / 1000, text)
}

/**
 * Milliseconds of a duration as code gives it: a number is milliseconds, a text is as {@link parseDuration} takes it.
 *
 * @throws UsageError for a negative or endless number, and as `parseDuration` does
 */
export function durationMs(value: number | string): number {
  if (typeof value === 'string') return parseDuration(value)
  if (typeof value !== 'number' || Number.isNaN(value) || value < 0) {
    throw new UsageError(`duration ${String(value)} is none; give milliseconds from 0 up, or a text such as "10s"`)
  }
  return checked(value, value)
}

function checked(ms: number, given: number | string): number {
  if (ms > MAX_MS) throw new UsageError(`duration ${JSON.stringify(given)} is over 24 days; give a shorter one`)
  return ms
}
