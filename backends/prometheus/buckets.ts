import { valueOf } from '../../client/sketch/bins.ts'
import type { Distribution } from '../../client/sketch/distribution.ts'

/** Upper bounds for seconds. */
export const TIMER_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

/** Upper bounds for numbers of any kind: 1, 4, 16 ... 1,073,741,824. */
export const HISTOGRAM_BOUNDS: readonly number[] = Array.from({ length: 16 }, (_, index) => 4 ** index)

/**
 * How many values are at most each bound; the last is of all. Exact while a distribution holds the values themselves, and
 * for bounds that are those of bins, such as powers of two. Otherwise the bin that a bound cuts counts where its middle
 * lies, as if the bound were up to 0.55 % higher or lower.
 *
 * @param bounds ascending, without infinity
 */
export function bucketCounts(distribution: Distribution, bounds: readonly number[]): number[] {
  const counts = Array.from({ length: bounds.length + 1 }, () => 0)
  const count = (value: number, weight: number): void => {
    const bucket = bucketOf(value, bounds)
    counts[bucket] = (counts[bucket] as number) + weight
  }
  const { values, weights, zeros, positive, negative } = distribution
  values.forEach((value, index) => count(value, weights === undefined ? 1 : (weights[index] as number)))
  if (distribution.sketched) {
    if (zeros > 0) count(0, zeros)
    for (const bin of negative?.sorted() ?? []) count(-valueOf(bin), negative?.weightOf(bin) as number)
    for (const bin of positive?.sorted() ?? []) count(valueOf(bin), positive?.weightOf(bin) as number)
  }
  for (let bucket = 1; bucket < counts.length; bucket++) {
    counts[bucket] = (counts[bucket] as number) + (counts[bucket - 1] as number)
  }
  return counts
}

/** The first bound that is not below the value. */
function bucketOf(value: number, bounds: readonly number[]): number {
  let low = 0
  let high = bounds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((bounds[middle] as number) >= value) high = middle
    else low = middle + 1
  }
  return low
}
