import { UsageError } from '../../client/errors.ts'
import type { BackendUrl } from '../url.ts'
import { HISTOGRAM_BOUNDS, TIMER_BOUNDS } from './buckets.ts'
import type { Timers } from './family.ts'
import type { RegistryOptions } from './registry.ts'

const MOST_BOUNDS = 500
/** How long gauges stay unless told otherwise: as long as Prometheus itself takes a sample for news. */
export const EXPIRE_MS = 300_000
// for as long as a worker knows totals
const KEEP_MS = 86_400_000

/**
 * The options that exposition and remote write have in common.
 *
 * @throws UsageError for one that makes no sense
 */
export function registryOptions<const Choice extends Timers>(
  { params }: BackendUrl,
  rest: { readonly owner: string; readonly keepsFormer: boolean; readonly timers: readonly Choice[] },
): Omit<RegistryOptions, 'now' | 'expireMs'> {
  const timers = params.choice('timers', rest.timers) ?? 'summary'
  const timerBounds = boundsFrom(params.text('buckets'), rest.owner, 'buckets')
  const histogramBounds = boundsFrom(params.text('histogram-buckets'), rest.owner, 'histogram-buckets')
  if ((timerBounds ?? histogramBounds) !== undefined && timers !== 'histogram' && timers !== 'both') {
    throw new UsageError(`${rest.owner}: buckets are for timers=histogram and timers=both; add one of them`)
  }
  return {
    owner: rest.owner,
    keepsFormer: rest.keepsFormer,
    prefix: params.text('prefix') ?? '',
    timers,
    timerBounds: timerBounds ?? TIMER_BOUNDS,
    histogramBounds: histogramBounds ?? HISTOGRAM_BOUNDS,
    keepMs: params.durationMs('keep') ?? KEEP_MS,
  }
}

function boundsFrom(text: string | undefined, owner: string, option: string): number[] | undefined {
  if (text === undefined) return undefined
  const bounds = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  const ascends = bounds.every(
    (bound, index) => Number.isFinite(bound) && (index === 0 || bound > (bounds[index - 1] as number)),
  )
  if (ascends && bounds.length <= MOST_BOUNDS) return bounds
  throw new UsageError(
    `${owner}: the option ${option} must be up to ${MOST_BOUNDS} ascending numbers, such as 0.01,0.1,1`,
  )
}
