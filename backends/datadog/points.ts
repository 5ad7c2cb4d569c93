import { valueOf } from '../../client/sketch/bins.ts'
import type { Distribution } from '../../client/sketch/distribution.ts'

/**
 * The values of a distribution as JSON, without the brackets: `0.012,0.012,2.5`. Each stands there as often as it was
 * measured, ascending; of a sketch, what its bins stand for, within 0.55 %, but for the smallest and the largest, which are
 * exact.
 *
 * @param most values at the most; of more, as many are taken, evenly by rank: percentiles stay as they are, count and sum
 * do not
 */
export function valuesText(distribution: Distribution, most: number): string {
  const { count, min, max } = distribution
  const total = Math.min(most, Math.max(1, Math.round(count)))
  const parts: string[] = []
  let weighed = 0
  let taken = 0
  const take = (value: number, times: number): void => {
    if (times > 0) parts.push(`${value},`.repeat(times))
  }
  for (const [value, weight] of ranked(distribution)) {
    weighed += weight
    const until = Math.min(total, Math.round((weighed / count) * total))
    // the ends are known exactly
    const first = taken === 0 && until > 0 ? 1 : 0
    const last = until === total && until - taken > first ? 1 : 0
    take(min, first)
    take(Math.min(max, Math.max(min, value)), until - taken - first - last)
    take(max, last)
    taken = until
    if (taken === total) break
  }
  // what rounding of weights that are no whole numbers has left
  take(max, total - taken)
  return parts.join('').slice(0, -1)
}

/** Values and their weights, ascending. */
function* ranked(distribution: Distribution): Generator<readonly [value: number, weight: number]> {
  const { sketched, values, weights, zeros, positive, negative } = distribution
  if (!sketched) {
    const order = Array.from(values.keys()).sort((left, right) => (values[left] as number) - (values[right] as number))
    for (const index of order) yield [values[index] as number, weights?.[index] ?? 1]
    return
  }
  for (const bin of negative?.sorted().reverse() ?? []) yield [-valueOf(bin), negative?.weightOf(bin) ?? 0]
  if (zeros > 0) yield [0, zeros]
  for (const bin of positive?.sorted() ?? []) yield [valueOf(bin), positive?.weightOf(bin) ?? 0]
}
