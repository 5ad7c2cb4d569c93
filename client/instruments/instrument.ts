import type { Aggregates, MemberSet, Samples } from '../sketch/aggregates.ts'
import type { Readings } from '../sketch/readings.ts'
import type { FrameEncoder } from '../wire/frame.ts'
import type { EncodedKey, Tags, Type } from '../wire/series.ts'
import { Path, findTags, growTags } from './path.ts'

/** What an instrument needs of whoever holds it. */
export interface Registrar {
  /** Whether each measurement becomes a frame at once. */
  readonly immediate: boolean
  /** Whether each value of a timer or histogram does, though other measurements wait. */
  readonly singly: boolean
  /** What timers, histograms and sets record into. */
  readonly aggregates: Aggregates
  /** ms since the epoch. */
  readonly now: () => number
  /** ms since some fixed point, for durations. */
  readonly clock: () => number
  /** The handle with further tags; `kept` unless it is a stand-in that must not be remembered. Never throws. */
  child(parent: Instrument, tags: Tags): { handle: Instrument; kept: boolean }
  /** Makes a frame of one handle. */
  sealOne(handle: Instrument): void
  /** Counts a value that is no measurement. */
  refuse(name: string, value: unknown): void
  /** Counts an observer that threw. */
  observerFailed(name: string, cause: unknown): void
}

/** What makes an instrument, besides its type. */
export interface Identity {
  readonly name: string
  readonly source: string
  /** As given, not yet text. */
  readonly tags: Tags
  readonly level: string
  /** Tag keys that children may carry; all when undefined. */
  readonly allowTags: readonly string[] | undefined
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
  /** @internal Whether anything was recorded since the last frame. */
  touched = false
  /** @internal */
  protected readonly recorder: Registrar
  /** @internal Whether each measurement leaves at once. */
  protected immediate: boolean
  #children: Path<Instrument> | undefined

  /** @internal */
  constructor(recorder: Registrar, identity: Identity, key: EncodedKey) {
    this.recorder = recorder
    this.identity = identity
    this.key = key
    this.name = identity.name
    this.source = identity.source
    this.level = identity.level
    this.tags = identity.tags
    this.immediate = recorder.immediate
  }

  /**
   * The handle of the series that also carries `tags`: the same object each time, so keep it where that is easy. A value of
   * undefined leaves its tag out. Never throws: what cannot be a tag is left out, counted and said once.
   */
  with(tags: Tags<Tag>): this {
    const known = this.#children === undefined ? undefined : findTags(this.#children, tags)?.handle
    if (known !== undefined) return known as this
    const { handle, kept } = this.recorder.child(this, tags)
    if (kept) growTags((this.#children ??= new Path()), tags).handle = handle
    return handle as this
  }

  /** @internal Writes what was recorded since the last frame and starts anew. */
  abstract drain(encoder: FrameEncoder, nowMs: number): void

  /** @internal What was recorded since the last frame; it goes on changing. */
  abstract get recorded(): number | Readings | Samples | MemberSet

  /** @internal Starts anew. */
  abstract clear(): void

  /** @internal Whether the next frame should carry this handle. */
  due(): boolean {
    return this.touched
  }

  /** @internal Takes a one-shot measurement; `weight` is 1 / sample rate. */
  abstract take(value: number | string, weight: number, timeMs: number | undefined): void

  /** Called after each measurement. */
  protected touch(): void {
    this.touched = true
    if (this.immediate) this.recorder.sealOne(this)
  }

  protected refuse(value: unknown): void {
    this.recorder.refuse(this.name, value)
  }
}
