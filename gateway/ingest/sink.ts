import type { Measurement } from '../../client/measurement.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import type { Type } from '../../client/wire/series.ts'

/** A measurement whose structure and level are checked; the limits of its name, source and tags are not. */
export interface IncomingMeasurement extends Measurement {
  readonly type: Type
}

/** Where the gateway puts what it took in. */
export interface Sink {
  /** Takes one measurement of the gateway's own publisher. Returns undefined when taken, else the reason for refusing it. */
  record(measurement: IncomingMeasurement): string | undefined
  /** Resolves true once everything recorded so far is sealed into frames and accepted by the ring, false when the ring is full. */
  sealed(): Promise<boolean>
  /** Takes frames that have an identity; false when the ring is full and none was taken. */
  offer(frames: readonly SealedFrame[]): boolean
  /** Whether new measurements should be refused now (503). */
  readonly full: boolean
  /** Whether what is taken now is likely to go out now. */
  connected(): boolean
}

/** A measurement or frame that was not taken, by its place in the body. */
export interface Rejection {
  readonly index: number
  readonly reason: string
}

/** What became of a body. */
export interface Ingested {
  readonly accepted: number
  readonly rejected: readonly Rejection[]
  /** How many of the rejected were so because of their level. */
  readonly forbidden: number
}
