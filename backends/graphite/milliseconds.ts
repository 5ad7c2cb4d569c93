/** What one operation on doubles can be off by, relatively. */
const ROUNDING = 2 ** -53

/**
 * Seconds as milliseconds, without what dividing and multiplying by 1000 leaves: 0.32 is 320, and every number of
 * milliseconds with up to 15 digits comes out as it went in.
 */
export function toMs(seconds: number): number {
  const ms = seconds * 1000
  const whole = Math.round(ms)
  if (Math.abs(ms - whole) <= Math.abs(ms) * 4 * ROUNDING) return whole
  return Number(ms.toPrecision(15))
}

/**
 * The simplest of the numbers that adding up `count` of them can have meant: a million times 0.1 is 100000, though it adds
 * up to 100000.00000133288.
 */
export function withoutNoise(sum: number, count: number): number {
  const noise = Math.abs(sum) * ROUNDING * (count + 4)
  for (const parts of [1, 1e3, 1e6]) {
    const simple = Math.round(sum * parts) / parts
    if (Math.abs(simple - sum) <= noise) return simple
  }
  return sum
}
