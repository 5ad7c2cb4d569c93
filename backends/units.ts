const GROUPED: Intl.NumberFormat = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 })

/** A number to read: `5`, `1,234,567`, `0.04167`, `1.23e+21`; about four digits of what is not whole. */
export function formatNumber(value: number): string {
  const size = Math.abs(value)
  if (!Number.isFinite(value)) return String(value)
  if (value !== 0 && (size >= 1e15 || size < 1e-4)) return value.toExponential(2)
  return size >= 1000 || Number.isInteger(value) ? GROUPED.format(value) : String(Number(value.toPrecision(4)))
}

/** Seconds in the unit that suits them: `850 µs`, `12.1 ms`, `3.02 s`. */
export function formatSeconds(seconds: number): string {
  const size = Math.abs(seconds)
  if (size < 0.000_999_5 && size > 0) return `${threeDigits(seconds * 1e6)} µs`
  if (size < 0.999_5 && size > 0) return `${threeDigits(seconds * 1e3)} ms`
  return `${size < 1000 ? threeDigits(seconds) : formatNumber(seconds)} s`
}

function threeDigits(value: number): string {
  return String(Number(value.toPrecision(3)))
}

/** `2023-11-14T23:13:20+01:00`: the time here and how far that is from UTC; `seconds` since the epoch. */
export function localTime(seconds: number): { date: string; time: string; offset: string } {
  const ms = Math.round(seconds * 1000)
  const offsetMinutes = -new Date(ms).getTimezoneOffset()
  const text = new Date(ms + offsetMinutes * 60_000).toISOString()
  const minutes = Math.abs(offsetMinutes)
  const offset = `${offsetMinutes < 0 ? '-' : '+'}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
  return { date: text.slice(0, 10), time: text.slice(11, text.endsWith('.000Z') ? 19 : 23), offset }
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}
