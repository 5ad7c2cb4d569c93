import { InvalidMeasurementError, UsageError } from '../errors.ts'
import { type Handles, createInstrument } from '../instruments/create.ts'
import type { Identity, Instrument, Registrar } from '../instruments/instrument.ts'
import type { Measurement } from '../measurement.ts'
import type { Aggregates } from '../sketch/aggregates.ts'
import type { Combine } from '../sketch/combine.ts'
import type { Carries, SealedFrame } from '../transport/transport.ts'
import type { WarningSink } from '../warning.ts'
import { FRAME_BYTES, FrameEncoder, type Publisher, newPublisher } from '../wire/frame.ts'
import {
  DEFAULT_SOURCE,
  type TagValue,
  type Tags,
  type Type,
  checkLevel,
  checkTag,
  encodeKey,
  seriesKey,
} from '../wire/series.ts'
import type { Defaults } from './defaults.ts'
import { describe } from '../describe.ts'
import { takeShot } from './shot.ts'

/** Where frames go, and what they may be. */
export interface Outlet {
  /** Whether each measurement becomes a frame at once, handed to `onFrame`. Default false. */
  readonly immediate?: boolean
  /** What the frames can carry; everything when undefined. */
  readonly carries?: Carries | undefined
  /** Takes the frames that are made before they are asked for. */
  readonly onFrame: (frame: SealedFrame) => void
  readonly warn: WarningSink
}

export interface BaseRecorderOptions extends Outlet {
  /** Series at the most; what comes beyond is counted in `zibrato.overflow`. Default 5,000. */
  readonly maxSeries?: number | undefined
  /** ms since the epoch. */
  readonly now: () => number
  /** ms since some fixed point, for durations. */
  readonly clock: () => number
  readonly random: (bytes: Uint8Array) => Uint8Array
}

/** The name of the series, one per type, that takes what exceeds the bound on series. */
export const OVERFLOW = 'zibrato.overflow'

/** The handles of one topic and its sequence of frames. */
interface Group {
  readonly level: string
  readonly shard: number
  handles: Instrument[]
  seq: number
  sealedMs: number
}

/** What was recorded: all handles of one publisher, and the frames made of them. */
export class BaseRecorder implements Registrar {
  readonly aggregates: Aggregates
  /** Whether each measurement becomes a frame at once. */
  immediate: boolean
  /** Whether each value of a timer or histogram does. */
  singly: boolean
  readonly now: () => number
  readonly clock: () => number
  /** Measurements not taken, by reason. */
  readonly dropped: Record<string, number> = {}
  /** Times that a new series was turned away to the overflow series. */
  overflowed = 0
  protected readonly handles: Map<string, Instrument> = new Map()
  protected readonly series: Set<string> = new Set()
  protected readonly groups: Map<string, Group> = new Map()
  protected readonly maxSeries: number
  protected outlet: Outlet
  readonly #random: BaseRecorderOptions['random']
  readonly #encoder = new FrameEncoder()
  readonly #complained = new Set<string>()
  #publisher: Publisher | undefined
  readonly #startedMs: number

  constructor(options: BaseRecorderOptions, aggregates: Aggregates) {
    this.outlet = options
    this.#random = options.random
    this.aggregates = aggregates
    this.immediate = options.immediate ?? false
    this.singly = options.carries?.singly ?? false
    this.now = options.now
    this.clock = options.clock
    this.maxSeries = options.maxSeries ?? 5_000
    this.#startedMs = options.now()
  }

  /** Handles held, overflow series included. */
  get size(): number {
    return this.handles.size
  }

  /**
   * The handle of (type, series, level); the same for the same.
   *
   * @throws InvalidMeasurementError when no series may have that name, source, tag or level
   * @throws UsageError when a gauge of that series combines otherwise, or by no known way
   */
  handle<T extends Type>(type: T, identity: Identity, combine: Combine = 'last'): Handles[T] {
    checkLevel(identity.level)
    const handle = this.#handle(type, identity, combine)
    const known = combineOf(handle)
    if (type === 'gauge' && known !== combine && handle.name !== OVERFLOW) {
      throw new UsageError(
        `gauge ${JSON.stringify(identity.name)} combines by "${known}" already and cannot by "${combine}" too; ` +
          `use one of them everywhere`,
      )
    }
    return handle as Handles[T]
  }

  /**
   * The child of a handle, without the tags that it must not carry; `kept` unless it must not be remembered under them.
   * Never throws.
   */
  child(parent: Instrument, tags: Tags): { handle: Instrument; kept: boolean } {
    if (parent.name === OVERFLOW) {
      this.overflowed++
      return { handle: parent, kept: false }
    }
    const { identity } = parent
    const given = Object.entries(tags ?? {}).filter(([, value]) => value !== undefined)
    const fit = given.filter(([tag, value]) => this.#isFit(identity, tag, value))
    try {
      const handle = this.#handle(
        parent.type,
        { ...identity, tags: { ...identity.tags, ...Object.fromEntries(fit) } },
        combineOf(parent),
      )
      return { handle, kept: handle.name !== OVERFLOW && fit.length === given.length }
    } catch (cause) {
      // each of them is a tag, but together they are too many
      this.#reject(parent.name, 'tag', (cause as Error).message)
      return { handle: parent, kept: false }
    }
  }

  /** Takes a one-shot measurement; answers the reason when it does not. Never throws. */
  record(measurement: Measurement, defaults: Defaults): string | undefined {
    try {
      takeShot(this.find(measurement, defaults), measurement)
      return undefined
    } catch (error) {
      // looking into what is no object, or is an odd one, throws errors of other kinds
      const message = error instanceof Error ? error.message : 'it cannot be read'
      const name: unknown = measurement?.name
      this.#reject(typeof name === 'string' ? name.slice(0, 255) : describe(name), 'invalid', message)
      return message
    }
  }

  /** Frames of all that was recorded since the last call. */
  seal(): SealedFrame[] {
    const frames: SealedFrame[] = []
    for (const group of this.groups.values()) this.#sealGroup(group, group.handles, frames)
    return frames
  }

  /** @internal Hands on a frame of one handle. */
  sealOne(handle: Instrument): void {
    const frames: SealedFrame[] = []
    this.#sealGroup(this.#group(handle), [handle], frames)
    for (const frame of frames) this.outlet.onFrame(frame)
  }

  /** @internal Counts a value that is no measurement, and says so once per name. */
  refuse(name: string, value: unknown): void {
    this.#reject(name, 'value', `${describe(value)} is not a finite number`)
  }

  /** @internal */
  observerFailed(name: string, cause: unknown): void {
    this.#reject(
      name,
      'observer',
      `its observe() function threw: ${cause instanceof Error ? cause.message : describe(cause)}`,
    )
  }

  /** @throws UsageError for a series that there is no place for */
  protected admit(_type: Type, _name: string): void {}

  /** Told of each new handle, and the key of its series. */
  protected added(_handle: Instrument, _key: string): void {}

  /** Told of each handle before a frame takes what it recorded. */
  protected draining(_handle: Instrument): void {}

  /** What to say of tags when there are too many series, before the advice to use fewer values. */
  protected tagsInUse(): string {
    return ''
  }

  /** The handle of a one-shot measurement. @throws InvalidMeasurementError when there can be none */
  protected find({ type, name, level, source, tags }: Measurement, defaults: Defaults): Instrument {
    if (tags !== undefined && (typeof tags !== 'object' || tags === null || Array.isArray(tags))) {
      throw new InvalidMeasurementError('tags must be an object of texts')
    }
    const identity = {
      name,
      source: source ?? defaults.source,
      level: level ?? defaults.level,
      tags: { ...defaults.tags, ...tags },
      allowTags: undefined,
    }
    checkLevel(identity.level)
    return this.#handle(type === 'unique' ? 'set' : type, identity)
  }

  #handle(type: Type, identity: Identity, combine: Combine = 'last', bounded = true): Instrument {
    const key = seriesKey(identity.name, identity.source, identity.tags)
    const series = `${type}\0${key}`
    const id = `${identity.level}\0${series}`
    const known = this.handles.get(id)
    if (known !== undefined) return known
    this.outlet.carries?.check(type, identity, combine)
    if (bounded) this.admit(type, identity.name)
    if (bounded && this.series.size >= this.maxSeries && !this.series.has(series)) {
      return this.#overflowHandle(type, identity)
    }
    const handle = createInstrument(type, this, identity, encodeKey(key), combine)
    if (bounded) this.series.add(series)
    this.handles.set(id, handle)
    this.#group(handle).handles.push(handle)
    this.added(handle, key)
    return handle
  }

  #overflowHandle(type: Type, { name, level, source }: Identity): Instrument {
    if (this.overflowed++ === 0) {
      this.outlet.warn({
        code: 'ZIBRATO_SERIES_LIMIT',
        message:
          `over ${this.maxSeries} series: ${JSON.stringify(name)} and other new ones count in "${OVERFLOW}" from now on. ` +
          `${this.tagsInUse()}Use fewer tag values, or raise maxSeries`,
      })
    }
    // sources can be what there are too many of
    const known = this.handles.size < 2 * this.maxSeries ? source : DEFAULT_SOURCE
    return this.#handle(type, { name: OVERFLOW, source: known, level, tags: {}, allowTags: undefined }, 'last', false)
  }

  #isFit({ name, allowTags }: Identity, tag: string, value: TagValue): boolean {
    try {
      checkTag(tag, value)
      if (allowTags === undefined || allowTags.includes(tag)) return true
      this.#reject(name, 'tag', `${JSON.stringify(tag)} is not among its allowTags`)
    } catch (cause) {
      this.#reject(name, 'tag', (cause as Error).message)
    }
    return false
  }

  #group({ level, key: { shard } }: Instrument): Group {
    const id = `${shard} ${level}`
    let group = this.groups.get(id)
    if (group === undefined) {
      group = { level, shard, handles: [], seq: 0, sealedMs: this.#startedMs }
      this.groups.set(id, group)
    }
    return group
  }

  #sealGroup(group: Group, handles: readonly Instrument[], frames: SealedFrame[]): void {
    const encoder = this.#encoder
    let nowMs = 0
    for (const handle of handles) {
      if (!handle.due()) continue
      nowMs ||= this.now()
      this.draining(handle)
      handle.drain(encoder, nowMs)
      if (encoder.size >= FRAME_BYTES) frames.push(this.#close(group, nowMs))
    }
    if (encoder.count > 0) frames.push(this.#close(group, nowMs))
    if (nowMs > 0) group.sealedMs = nowMs
  }

  #close(group: Group, nowMs: number): SealedFrame {
    // made only now: at the edge there are no random values while a module loads
    this.#publisher ??= newPublisher(this.#random)
    const { level, shard } = group
    // nor is there a time while it loads: it reads 0
    const seq = ++group.seq
    const bytes = this.#encoder.seal(this.#publisher, level, shard, seq, nowMs, nowMs - (group.sealedMs || nowMs))
    return { bytes, level, shard, seq, closedMs: nowMs }
  }

  #reject(name: string, reason: string, message: string): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1
    const complaint = `${reason} ${name}`
    if (this.#complained.size >= 1_000 || this.#complained.has(complaint)) return
    this.#complained.add(complaint)
    const what = reason === 'tag' ? 'tags' : 'measurements'
    this.outlet.warn({ code: 'ZIBRATO_DROPPED', message: `dropped ${what} of ${JSON.stringify(name)}: ${message}` })
  }
}

/** How a gauge combines. */
export function combineOf(handle: Instrument): Combine | undefined {
  return (handle as unknown as { combine?: Combine }).combine
}
