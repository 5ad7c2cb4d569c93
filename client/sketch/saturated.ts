/** The nearest finite number: sums of absurd values stay what every format can write. */
export function saturated(value: number): number {
  return Math.min(Number.MAX_VALUE, Math.max(-Number.MAX_VALUE, value))
}
