import type { Distribution } from '../client/sketch/distribution.ts'
import type { Members } from '../client/sketch/members.ts'
import type { Frame } from '../client/wire/frame.ts'
import type { Series, Type } from '../client/wire/series.ts'

/**
 * Where rollups go. A module exports one as default: `export default class extends Backend { ... }`; the constructor gets
 * the {@link BackendUrl} that named it.
 *
 * ```ts
 * export default class Printer extends Backend {
 *   readonly name = 'printer'
 *   async flush(window: Window) {
 *     for (const rollup of window.rollups) console.log(window.end, rollup.name, rollup.type)
 *   }
 * }
 * ```
 */
export abstract class Backend {
  /** Short and without secrets; shown in logs and figures. */
  abstract readonly name: string

  /**
   * Whether sending a window a second time leaves the same numbers as sending it once (points are overwritten by series
   * and time). It decides what happens to a window in doubt: one whose acceptance a crash hid.
   */
  readonly idempotent: boolean = false

  /**
   * For a backend that adds up: what to do with a window in doubt when its URL does not say. Default `drop`: rather too
   * little than twice.
   */
  readonly inDoubt?: 'drop' | 'resend'

  /**
   * Whether series of a window belong together: it then comes in one piece, however large, where the worker has it in one.
   * Otherwise windows of one end may come in several, with different series.
   */
  readonly wholeWindows: boolean = false

  /**
   * How long one `flush` may take, ms, whatever the option `timeout` says: for those that apply it to each of their steps
   * and go on where they stopped.
   */
  readonly timeoutMs?: number

  /** Called once before anything else; throws when the backend can never work (a wrong option, no permission). */
  connect?(): Promise<void>

  /** Called with every aggregate as it comes, before any window is over. Must not throw or take long. */
  receive?(frame: Frame): void

  /**
   * Takes one window. Resolves once the backend has accepted it; throws to be called again later with the same window,
   * or a {@link PermanentError} to have it dropped and counted. Until a window is settled no other comes in between, and
   * its rollups keep their order; the objects may be others.
   *
   * @param signal aborted when the worker gives up waiting (a time limit, or it is stopping)
   */
  abstract flush(window: Window, signal: AbortSignal): Promise<void>

  /** Called once, last. Drains what `flush` has accepted. */
  close?(): Promise<void>

  /** Where the HTTP port of `zibrato up` serves {@link handle}, such as `/prometheus`; for one that is asked, not told. */
  readonly route?: string | undefined

  /** Answers what is asked at {@link route}. */
  handle?(request: Request): Response | Promise<Response>
}

/**
 * What a backend throws when sending the window again cannot help (a 400): what was refused is dropped and counted, and
 * what else was in the window counts as delivered.
 */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError'
  /** How many of the window's rollups were refused; all of them when undefined. */
  readonly refused: number | undefined
  constructor(message: string, options: ErrorOptions & { readonly refused?: number } = {}) {
    super(message, options)
    this.refused = options.refused
  }
}

/** What a backend throws when it was told how long to wait. */
export class RetryLaterError extends Error {
  override readonly name: string = 'RetryLaterError'
  /** Milliseconds to wait before the next attempt. */
  readonly retryAfterMs: number
  constructor(message: string, retryAfterMs: number, options?: ErrorOptions) {
    super(message, options)
    this.retryAfterMs = retryAfterMs
  }
}

/** A wall-clock-aligned flush interval. Times are whole or fractional seconds since the epoch. */
export interface Window {
  readonly start: number
  /** The time of every rollup in it. */
  readonly end: number
  readonly rollups: readonly Rollup[]
}

/** One series' result for one window. Timers are in seconds, rates per second. */
export type Rollup = CounterRollup | GaugeRollup | DistributionRollup | MeterRollup | SetRollup

interface Base<T extends Type> extends Series {
  readonly type: T
}

export interface CounterRollup extends Base<'counter'> {
  /** Sum in the window. */
  readonly value: number
  readonly rate: number
  /** Running sum; survives restarts; forgotten after a day idle. */
  readonly total: number
}

export interface GaugeRollup extends Base<'gauge'> {
  /** The newest reading, or what all live publishers' newest readings combine to. */
  readonly value: number
  readonly min: number
  readonly max: number
  readonly mean: number
  /** Readings taken in the window; 0 when the value was only repeated. */
  readonly count: number
  /** [time in seconds, value], oldest first, at most one per second and 64 in all. */
  readonly readings: readonly (readonly [time: number, value: number])[]
}

/** A timer or histogram; one that is known and had no data, where that is asked for, has a count of 0 and only zeros. */
export interface DistributionRollup extends Base<'timer' | 'histogram'> {
  readonly count: number
  readonly rate: number
  readonly sum: number
  readonly min: number
  readonly max: number
  readonly mean: number
  /** Of the population, not of a sample. */
  readonly stddev: number
  /** `p50 p75 p90 p95 p98 p99 p999` unless set otherwise. */
  readonly [percentile: `p${number}`]: number
  /** What they were computed from, for backends that take buckets. Not to be changed. */
  readonly distribution: Distribution
}

export interface MeterRollup extends Base<'meter'> {
  readonly count: number
  readonly rate: number
  /** Exponentially weighted rates over 1, 5 and 15 minutes. */
  readonly m1: number
  readonly m5: number
  readonly m15: number
}

export interface SetRollup extends Base<'set'> {
  /** Distinct members. */
  readonly value: number
  /** What it was counted from. Not to be changed. */
  readonly members: Members
}
