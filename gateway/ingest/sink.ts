import type { Measurement } from '../../client/measurement.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import type { Type } from '../../client/wire/series.ts'

/** A measurement whose structure and level are checked; the limits of its name, source and tags are not. */
export interface IncomingMeasurement extends Measurement {
  readonly type: Type
}

/** Where measurements without an identity go. */
export interface MeasurementSink {
  /** Takes one measurement. Returns undefined when taken, else the reason for refusing it. */
  record(measurement: IncomingMeasurement): string | undefined
  /**
   * Resolves true once everything recorded so far is sealed into frames and accepted by the ring, false when the ring is full.
   *
   * @throws Refusal that says why not, where there are more reasons
   */
  sealed(): Promise<boolean>
}

/** Where the gateway puts what it took in. Without more said, measurements become frames of the gateway's own publisher. */
export interface Sink extends MeasurementSink {
  /**
   * For the measurements of one post that repeats are known by; undefined where that makes no difference.
   *
   * @param identity the same for a repeat, and for nothing else
   */
  keyed?(identity: string): MeasurementSink
  /**
   * Takes frames that have an identity; false when the ring is full and none was taken.
   *
   * @throws Refusal that says why not, where there are more reasons
   */
  offer(frames: readonly SealedFrame[]): boolean | Promise<boolean>
  /** Why nothing can be taken now, other than being full. */
  obstacle?(): string | undefined
  /** Whether new measurements should be refused now (503). */
  readonly full: boolean
  /** Whether what is taken now is likely to go out now. */
  connected(): boolean
}

/** Where frames go that are kept, and offered again, when they are not taken at once. */
export interface FrameSink {
  /** False when it is full and none was taken. */
  offer(frames: readonly SealedFrame[]): boolean
  readonly full: boolean
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
