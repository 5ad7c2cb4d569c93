import type { TransportStats } from './transport/transport.ts'

/** What became of measurements and frames so far. */
export interface ZibratoStats extends TransportStats {
  /** Series held. */
  readonly series: number
  /** Times that a new series was turned away to `zibrato.overflow`. */
  readonly overflowed: number
}
