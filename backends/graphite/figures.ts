import type { DistributionRollup } from '../backend.ts'
import type { GraphiteOptions, TimerHistogram } from './options.ts'
import { type Ranked, rankedOf } from './ranked.ts'

interface Threshold {
  readonly percent: number
  /** `90`, `99_9`, `top10`. */
  readonly name: string
}

/** Takes one figure; its name begins with a dot. */
export type TakeFigure = (name: string, value: number) => void

/**
 * What statsd 0.9 tells of a timer (its `lib/process_metrics.js`):
 *
 * ```
 * count count_ps lower upper sum sum_squares mean median std
 * count_90 mean_90 upper_90 sum_90 sum_squares_90                  of the 90 % that are smallest
 * count_top10 mean_top10 lower_top10 sum_top10 sum_squares_top10   of the 10 % that are largest
 * histogram.bin_50 histogram.bin_inf                               where bins are set
 * ```
 *
 * Sampled values weigh in `count` and `count_ps` alone.
 */
export class TimerFigures {
  readonly #thresholds: readonly Threshold[]
  readonly #histograms: readonly TimerHistogram[]
  readonly #wanted: ReadonlySet<string> | undefined
  readonly #isWanted = new Map<string, boolean>()

  constructor({ percentThreshold, histogram, calculatedTimerMetrics }: GraphiteOptions) {
    this.#thresholds = [...new Set(percentThreshold ?? [90])].map((percent) => ({
      percent,
      name: String(percent).replace('.', '_').replace('-', 'top'),
    }))
    this.#histograms = histogram ?? []
    const wanted = calculatedTimerMetrics ?? []
    this.#wanted = wanted.length === 0 ? undefined : new Set(wanted)
  }

  /**
   * @param key by which histograms are found
   * @param interval of the window, seconds
   */
  each({ type, distribution }: DistributionRollup, key: string, interval: number, take: TakeFigure): void {
    const give = (name: string, value: number): void => {
      if (this.#wants(name)) take(`.${name}`, value)
    }
    const { count } = distribution
    give('count', count)
    give('count_ps', count / interval)
    if (count === 0) return
    const ranked = rankedOf(distribution, type === 'timer')
    for (const threshold of this.#thresholds) giveThreshold(ranked, threshold, give)
    const last = ranked.count - 1
    give('std', ranked.deviation)
    give('upper', ranked.valueAt(last))
    give('lower', ranked.valueAt(0))
    give('sum', ranked.sum)
    give('sum_squares', ranked.sumOfSquares)
    give('mean', ranked.sum / ranked.count)
    const middle = ranked.valueAt(Math.ceil(last / 2))
    give('median', last % 2 === 0 ? middle : (ranked.valueAt(Math.floor(last / 2)) + middle) / 2)
    if (this.#wants('histogram')) this.#giveHistogram(ranked, key, take)
  }

  #giveHistogram(ranked: Ranked, key: string, take: TakeFigure): void {
    const bins = this.#histograms.find(({ metric }) => key.includes(metric))?.bins ?? []
    let counted = 0
    for (const bin of bins) {
      const below = Math.max(counted, bin === 'inf' ? ranked.count : ranked.below(bin))
      take(`.histogram.bin_${String(bin).replace('.', '_')}`, below - counted)
      counted = below
    }
  }

  #wants(name: string): boolean {
    if (this.#wanted === undefined) return true
    let isWanted = this.#isWanted.get(name)
    if (isWanted === undefined) {
      // what follows a dot in a threshold is all that statsd takes off: upper_99_9 is upper_99_percent
      isWanted = this.#wanted.has(name.replace(/_(top)?\d+$/, '_percent'))
      this.#isWanted.set(name, isWanted)
    }
    return isWanted
  }
}

function giveThreshold(ranked: Ranked, { percent, name }: Threshold, give: TakeFigure): void {
  const all = ranked.count
  const count = all === 1 ? 1 : Math.round((Math.abs(percent) / 100) * all)
  if (count === 0) return
  const smallest = percent > 0
  // a threshold of 0 is none of the largest, and what statsd says of a single value
  const sum = smallest ? ranked.sumOf(count) : ranked.sum - ranked.sumOf(all - count)
  give(`count_${name}`, count)
  give(`mean_${name}`, sum / count)
  give(`${smallest ? 'upper' : 'lower'}_${name}`, ranked.valueAt(smallest ? count - 1 : all - count))
  give(`sum_${name}`, sum)
  give(`sum_squares_${name}`, smallest ? ranked.squaresOf(count) : ranked.sumOfSquares - ranked.squaresOf(all - count))
}
