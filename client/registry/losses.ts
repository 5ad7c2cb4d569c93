import type { TransportStats } from '../transport/transport.ts'
import type { BaseRecorder } from './base-recorder.ts'
import type { Defaults } from './defaults.ts'

/**
 * Counts what was lost since it was last told, by `reason`, in `zibrato.dropped`; answers whether anything was.
 *
 * @param told what was told of each reason; it is brought up to date
 */
export function recordLosses(
  recorder: BaseRecorder,
  defaults: Defaults,
  { dropped, unknown }: Pick<TransportStats, 'dropped' | 'unknown'>,
  told: Record<string, number>,
): boolean {
  let isNews = false
  for (const [reason, count] of Object.entries({ ...dropped, unknown })) {
    const value = count - (told[reason] ?? 0)
    told[reason] = count
    if (value === 0) continue
    isNews = true
    recorder.record({ type: 'counter', name: 'zibrato.dropped', value, tags: { reason } }, defaults)
  }
  return isNews
}
