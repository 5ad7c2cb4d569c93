import { parseDecimal } from '../../client/wire/decimal.ts'
import { TYPE_CODE } from '../../client/wire/series.ts'

export const TAB = 0x09
export const LINE_FEED = 0x0a
export const CARRIAGE_RETURN = 0x0d
export const SPACE = 0x20
export const HASH = 0x23
export const PLUS = 0x2b
export const MINUS = 0x2d
export const DOT = 0x2e
export const ZERO = 0x30
export const COLON = 0x3a
export const AT = 0x40
export const LETTER_T = 0x54
export const UNDERSCORE = 0x5f
export const LETTER_M = 0x6d
export const LETTER_S = 0x73
export const PIPE = 0x7c

const { counter: COUNTER, meter: METER, gauge: GAUGE, timer: TIMER, histogram: HISTOGRAM, set: SET } = TYPE_CODE

/** Types' codes by their letters. */
export const LETTERS: Uint8Array = new Uint8Array(256)
LETTERS[0x63] = COUNTER
LETTERS[0x6d] = METER
LETTERS[0x67] = GAUGE
LETTERS[0x68] = HISTOGRAM
LETTERS[0x64] = HISTOGRAM
LETTERS[0x73] = SET

/** Where a byte comes next; it must come. Looks at four at a time, up to three behind it. */
export function findByte(view: DataView, start: number, byte: number): number {
  const pattern = byte * 0x01010101
  let at = start
  for (;;) {
    // zero bytes, of which the lowest is marked rightly (Mycroft)
    const word = view.getInt32(at, true) ^ pattern
    const zeros = (word - 0x01010101) & ~word & 0x80808080
    if (zeros !== 0) return at + ((31 - Math.clz32(zeros & -zeros)) >> 3)
    at += 4
  }
}

/** Where a byte comes next before `end`, or `end`. */
export function findByteWithin(view: DataView, start: number, end: number, byte: number): number {
  const pattern = byte * 0x01010101
  for (let at = start; at < end; at += 4) {
    const word = view.getInt32(at, true) ^ pattern
    const zeros = (word - 0x01010101) & ~word & 0x80808080
    if (zeros !== 0) return Math.min(end, at + ((31 - Math.clz32(zeros & -zeros)) >> 3))
  }
  return end
}

/** The code of a type, or 0. */
export function typeOf(bytes: Uint8Array, start: number, end: number): number {
  const first = bytes[start] as number
  if (end - start === 1) return LETTERS[first] ?? 0
  if (end - start === 2 && first === 0x6d && bytes[start + 1] === 0x73) return TIMER
  if (end > start && isBlank(first)) return typeOf(bytes, start + 1, end)
  return end > start && isBlank(bytes[end - 1] as number) ? typeOf(bytes, start, end - 1) : 0
}

/** NaN for what is none. A sign is none: statsd fails on `@+0.5`. */
export function rateOf(bytes: Uint8Array, start: number, end: number): number {
  const first = bytes[start]
  if (first === PLUS || first === MINUS || first === SPACE || first === TAB) return Number.NaN
  const rate = parseDecimal(bytes, start, end)
  return rate > 0 && rate <= 1 ? rate : Number.NaN
}

export function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB || byte === CARRIAGE_RETURN
}
