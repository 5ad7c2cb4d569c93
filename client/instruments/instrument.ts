import type { Aggregates, GaugeReadings, MemberSet, Samples } from '../sketch/aggregates.ts'
import type { Combine } from '../sketch/combine.ts'
import type { EncodedKey, Tags, Type } from '../wire/series.ts'
import { unfit } from '../describe.ts'
import type { Path } from './path.ts'

/** What an instrument needs of whoever holds it. */
export interface Registrar {
  /** What timers, histograms and sets record into. */
  readonly aggregates: Aggregates
  /** ms since the epoch. */
  readonly now: () => number
  /** ms since some fixed point, for durations. */
  readonly clock: () => number
  /** The handle with further tags. Never throws. */
  child(parent: Instrument, tags: Tags): Instrument
  /** Makes a frame of one handle. */
  sealOne(handle: Instrument): void
  /** Counts what was not taken, and says so once per name and reason. */
  reject(name: string, reason: string, cause: unknown): void
}

/** What makes an instrument, besides its type. */
export interface Identity {
  readonly name: string
  readonly source: string
  /** As given, not yet text. */
  readonly tags: Tags
  readonly level: string
  /** Tag keys that children may carry; all when undefined. */
  readonly allowTags?: readonly string[] | undefined
  /** How it combines, if it is a gauge. */
  readonly combine: Combine
}

/**
 * A handle on one series at one level. Obtain it once and keep it: recording on a kept handle is a few additions, and
 * never throws, blocks or allocates.
 *
 * @typeParam Tag - the tag keys that {@link with} takes
 */
export abstract class Instrument<Tag extends string = string> {
  abstract readonly type: Type
  readonly name: string
  readonly source: string
  readonly level: string
  readonly tags: Tags
  /** @internal */
  readonly identity: Identity
  /** @internal */
  readonly key: EncodedKey
  /** @internal Whether anything was recorded since the last frame; whoever makes the frame says that it was not. */
  touched = false
  /** @internal Whether each measurement leaves at once. */
  immediate = false
  /** @internal The handles that {@link with} found, where its recorder remembers them. */
  declare children?: Path<Instrument>
  /** @internal */
  protected readonly recorder: Registrar

  /** @internal */
  constructor(recorder: Registrar, identity: Identity, key: EncodedKey) {
    this.recorder = recorder
    this.key = key
    this.identity = identity
    this.name = identity.name
    this.source = identity.source
    this.level = identity.level
    this.tags = identity.tags
  }

  /**
   * The handle of the series that also carries `tags`: the same object each time, so keep it where that is easy. A value of
   * undefined leaves its tag out. Never throws: what cannot be a tag is left out, counted and said once.
   */
  with(tags: Tags<Tag>): this {
    return this.recorder.child(this, tags) as this
  }

  /** @internal Writes what was recorded since the last frame to entries of a new one, and starts anew. */
  abstract drain(entry: never, nowMs: number): void

  /** @internal What was recorded since the last frame; it goes on changing. */
  abstract readonly recorded: number | GaugeReadings | Samples | MemberSet

  /** @internal Whether the next frame should carry this handle. */
  due(): boolean {
    return this.touched
  }

  /** @internal Takes a one-shot measurement; `weight` is 1 / sample rate. */
  abstract take(value: number | string, weight: number, timeMs: number | undefined): void

  /** Called after each measurement; `isFull` when what was recorded should become a frame before it grows. */
  protected touch(isFull?: boolean | void): void {
    this.touched = true
    if (isFull || this.immediate) this.recorder.sealOne(this)
  }

  /** Whether a value is a finite number; counts it as refused when it is not. */
  protected isFit(value: unknown): boolean {
    if (typeof value === 'number' && value - value === 0) return true
    this.recorder.reject(this.name, 'value', unfit('value', 'a finite number', value))
    return false
  }
}
