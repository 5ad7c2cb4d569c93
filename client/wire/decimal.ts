/** With an exponent, or with blanks around it; each character is looked at once. */
const DECIMAL = /^[ \t]*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?[ \t]*$/i

/** Powers of ten that are doubles. */
const POWERS = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))

/** Characters of a number at the most. A double in full, without an exponent, can have 1,075 digits behind the point. */
const MAX_LENGTH = 1_100

/**
 * The double nearest to the decimal number that bytes spell, as `Number()` of their text would be. NaN when they spell none:
 * nothing but digits, a sign, a point and an exponent is one, with spaces and tabs around it, so neither `0x10` nor
 * `Infinity`. What is too large for a double is an infinity.
 *
 * Digits that make an integer below 2^53, over a power of ten that is a double, need one division, which IEEE 754 rounds
 * right (Clinger: "How to Read Floating Point Numbers Accurately", 1990); the rest is left to the engine.
 */
export function parseDecimal(bytes: Uint8Array, start: number, end: number): number {
  const sign = bytes[start] as number
  const first = sign === 45 || sign === 43 ? start + 1 : start
  let digits = 0
  let point = -1
  for (let at = first; at < end; at++) {
    const byte = bytes[at] as number
    if (byte >= 48 && byte <= 57) digits = digits * 10 + byte - 48
    else if (byte === 46 && point < 0) point = at
    else return parseOdd(bytes, start, end)
  }
  if (end <= first || (point >= 0 && end === first + 1)) return Number.NaN
  const fraction = point < 0 ? 0 : end - point - 1
  if (digits > Number.MAX_SAFE_INTEGER || fraction > 22) return parseLong(bytes, start, end)
  // a division takes longer than all the rest
  const value = fraction === 0 ? digits : digits / (POWERS[fraction] as number)
  return sign === 45 ? -value : value
}

function parseOdd(bytes: Uint8Array, start: number, end: number): number {
  return end - start <= MAX_LENGTH && DECIMAL.test(textOf(bytes, start, end))
    ? parseLong(bytes, start, end)
    : Number.NaN
}

function parseLong(bytes: Uint8Array, start: number, end: number): number {
  return end - start <= MAX_LENGTH ? Number(textOf(bytes, start, end)) : Number.NaN
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode.apply(null, bytes.subarray(start, end) as unknown as number[])
}
