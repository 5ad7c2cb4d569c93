import { UsageError } from '../client/errors.ts'
import type { BackendUrl } from './url.ts'
import { percentileName } from './worker/rollup.ts'

export interface Percentile {
  /** `p95`, `p999` */
  readonly name: `p${number}`
  /** 0.95, 0.999 */
  readonly quantile: number
}

/**
 * The option `percentiles` of a backend that computes them from what a timer or histogram carries: `95,99.9`, or as they are
 * called elsewhere, `p95,p999`; `none` for none.
 *
 * @throws UsageError for what is no percentile
 */
export function percentilesOption({ params, label }: BackendUrl, fallback: readonly number[]): readonly Percentile[] {
  const text = params.text('percentiles')
  const quantiles = text === undefined ? fallback : text === 'none' ? [] : text.split(',').map(quantileOf)
  if (quantiles.some(Number.isNaN)) {
    throw new UsageError(`${label}: the option percentiles must be a list such as 95,99.9, or none`)
  }
  return [...new Set(quantiles)].map((quantile) => ({ name: percentileName(quantile), quantile }))
}

function quantileOf(text: string): number {
  const [, named, plain = ''] = /^(?:p(\d+)|p?(\d+(?:\.\d+)?))$/.exec(text.trim()) ?? []
  // p999 is 99.9
  const digits = named === undefined ? plain : named.length > 2 ? `${named.slice(0, 2)}.${named.slice(2)}` : named
  const percentile = digits === '' ? Number.NaN : Number(digits)
  return percentile > 0 && percentile < 100 ? percentile / 100 : Number.NaN
}
