import { UsageError } from './errors.ts'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

// a longer timer fires at once instead of late
const MAX_MS = 2 ** 31 - 1

/**
 * Milliseconds of a duration: a number is milliseconds, as code gives it; a text is as people write it on a command line:
 * `'250ms'`, `'10s'`, `'1.5m'`, `'2h'`; a bare number there is seconds.
 *
 * @throws UsageError for anything else, and for more than 24 days, which no timer can wait
 */
export function durationMs(value: number | string): number {
  const ms = typeof value === 'number' ? value : read(value)
  if (ms >= 0 && ms <= MAX_MS) return ms
  throw new UsageError(
    `duration ${JSON.stringify(`${value}`)} is none; write for example "250ms", "10s", "1m" or "2h", up to 24 days`,
  )
}

function read(text: string): number {
  const [, count, unit = 's'] = /^\s*(\d*\.?\d+)(ms|[smh])?\s*$/.exec(text) ?? []
  // floating point makes 1.0000000000000002 of some; no clock here knows less than a microsecond
  return Math.round(Number(count) * (UNIT_MS[unit] as number) * 1000) / 1000
}
