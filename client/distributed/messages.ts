import type { Tags } from '../wire/series.ts'
import type { Warning } from '../warning.ts'
import type { StatsTree } from '../registry/tree.ts'
import type { AggregatorFigures } from './aggregator.ts'

/** What the aggregator's own process is to do; all that a message between processes can carry. */
export interface Orders {
  readonly address: string | undefined
  readonly source: string | undefined
  readonly level: string | undefined
  readonly tags: Tags | undefined
  readonly window: number | string | undefined
  readonly maxSeries: number | undefined
  /** URL of the module that starts reporters. */
  readonly module: string | undefined
}

export type Request =
  | { readonly type: 'start'; readonly orders: Orders; readonly checkpoint: Uint8Array | undefined }
  | { readonly type: 'read'; readonly id: number }
  | { readonly type: 'stop' }

export interface Reading {
  readonly stats: StatsTree
  readonly figures: AggregatorFigures
}

export type Answer =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly code: string | undefined; readonly message: string }
  | { readonly type: 'reading'; readonly id: number; readonly reading: Reading }
  | { readonly type: 'checkpoint'; readonly checkpoint: Uint8Array }
  | { readonly type: 'warning'; readonly warning: Warning }
