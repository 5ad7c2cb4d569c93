import type { DeliveryFigures } from './deliver.ts'
import type { ShardFigures } from './shard.ts'

export interface WorkerFigures {
  /** Frames by what became of them. */
  merged: number
  replays: number
  invalid: number
  refused: number
  lost: number
  missing: number
  /** Measurements' series that counted in `zibrato.overflow`, times. */
  overflowed: number
  series: number
  publishers: number
  /** Windows committed. */
  windows: number
  /** Bytes received and not yet in the log. */
  inboxBytes: number
  /** Brokers connected to. */
  connections: number
  /** Shards that are this worker's. */
  shards: number
  backends: Readonly<Record<string, DeliveryFigures>>
}

export function addFigures(to: ShardFigures, figures: ShardFigures): void {
  to.merged += figures.merged
  to.replays += figures.replays
  to.invalid += figures.invalid
  to.refused += figures.refused
  to.overflowed += figures.overflowed
}
