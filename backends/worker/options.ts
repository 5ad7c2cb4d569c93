import type { CurveKeys } from '../../client/curve.ts'
import { durationMs } from '../../client/duration.ts'
import { UsageError } from '../../client/errors.ts'
import { SharedState } from '../state/shared.ts'
import type { State } from '../state/state.ts'
import type { DeliveryLog, Target } from './deliver.ts'
import type { Idle } from './idle.ts'
import { DEFAULT_PERCENTILES, percentileName } from './rollup.ts'

export interface WorkerOptions {
  /** Brokers by their publishers' port. */
  readonly brokers: readonly string[]
  readonly targets: readonly Target[]
  readonly state: State
  /** Default `default`. */
  readonly group?: string
  /** Levels to take; all when undefined. */
  readonly levels?: readonly string[] | undefined
  /** Length of a window; ms, or a text such as `'10s'`. Default 10 s. */
  readonly flush?: number | string
  /** What becomes of series without data. Default `skip`. */
  readonly idle?: Idle
  /** Quantiles, over 0 and below 1, of timers and histograms. */
  readonly percentiles?: readonly number[]
  /** Series per shard at the most. Default 1,000,000. */
  readonly maxSeries?: number
  readonly curve?: CurveKeys | undefined
  /** How long stopping waits for backends, and for a state that fails. Default 10 s. */
  readonly stopTimeout?: number | string
  /** What else the workers of a group have to agree on, by name; nothing secret. */
  readonly settings?: Readonly<Record<string, string>>
  readonly log: DeliveryLog
}

/** Options with their defaults. */
export interface CheckedOptions extends WorkerOptions {
  readonly group: string
  readonly intervalMs: number
  readonly idle: Idle
  readonly percentiles: readonly number[]
  readonly maxSeries: number
  readonly stopTimeoutMs: number
}

/** @throws UsageError naming the option that makes no sense */
export function checkOptions(options: WorkerOptions): CheckedOptions {
  const intervalMs = durationMs(options.flush ?? 10_000)
  if (!(intervalMs >= 100 && intervalMs <= 86_400_000)) {
    throw new UsageError(`worker: flush ${String(options.flush)} must lie between 100ms and 24h`)
  }
  const percentiles = options.percentiles ?? DEFAULT_PERCENTILES
  if (!percentiles.every((quantile) => quantile > 0 && quantile < 1)) {
    throw new UsageError('worker: percentiles are quantiles over 0 and below 1, such as 0.99')
  }
  const names = [...new Set(percentiles)].map(percentileName)
  const ambiguous = names.find((name, index) => names.indexOf(name) !== index)
  if (ambiguous !== undefined) {
    throw new UsageError(`worker: two percentiles are called ${ambiguous}; leave one of them out`)
  }
  const maxSeries = options.maxSeries ?? 1_000_000
  if (!(maxSeries >= 1)) throw new UsageError(`worker: maxSeries ${String(maxSeries)} must be 1 or more`)
  const keys = options.targets.map(({ key }) => key)
  const twice = keys.find((key, index) => keys.indexOf(key) !== index)
  if (twice !== undefined) {
    throw new UsageError(`worker: two backends are known as ${twice}; add ?known-as=NAME to one of them`)
  }
  return {
    ...options,
    group: options.group ?? 'default',
    intervalMs,
    idle: options.idle ?? 'skip',
    percentiles,
    maxSeries,
    stopTimeoutMs: durationMs(options.stopTimeout ?? 10_000),
  }
}

/** What all workers that share a group have to agree on, as one would write it. */
export function sharedSettings(options: CheckedOptions): Record<string, string> {
  const { levels, intervalMs, idle, percentiles, targets, settings, state } = options
  const isJournaled = state instanceof SharedState && state.journal !== undefined
  return {
    ...settings,
    journal: isJournaled ? 'yes' : 'no',
    levels: levels === undefined ? 'all' : [...new Set(levels)].sort().join(','),
    flush: intervalMs % 1000 === 0 ? `${intervalMs / 1000}s` : `${intervalMs}ms`,
    idle: typeof idle === 'string' ? idle : JSON.stringify(idle),
    percentiles: [...new Set(percentiles)]
      .sort((a, b) => a - b)
      .map(percentileName)
      .join(','),
    to: targets
      .map(({ key }) => key)
      .sort()
      .join(' '),
  }
}
