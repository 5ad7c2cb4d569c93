import type { Clock } from '../clock.ts'
import { UsageError } from '../errors.ts'
import { type Handles, createInstrument } from '../instruments/create.ts'
import type { Identity, Instrument, Registrar } from '../instruments/instrument.ts'
import type { Measurement } from '../measurement.ts'
import type { Aggregates } from '../sketch/aggregates.ts'
import { COMBINES } from '../sketch/combine.ts'
import type { Carries, SealedFrame } from '../transport/transport.ts'
import type { WarningSink } from '../warning.ts'
import type { Encoder } from '../wire/encoder.ts'
import { FRAME_BYTES } from '../wire/frame.ts'
import { DEFAULT_SOURCE, type Tags, type Type, checkLevel, checkTag, encodeKey, seriesKey } from '../wire/series.ts'
import { type Defaults, withDefaults } from './defaults.ts'
import { checkOneOf, describe, unfit } from '../describe.ts'
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
  /** Default: the machine's. */
  readonly clock?: Clock | undefined
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
  readonly now: () => number
  readonly clock: () => number
  /** Measurements not taken, by reason. */
  readonly dropped: Record<string, number> = {}
  /** Times that a new series was turned away to the overflow series. */
  overflowed = 0
  protected readonly handles: Map<string, Instrument> = new Map()
  protected readonly series: Set<string> = new Set()
  protected readonly groups: Record<string, Group> = {}
  protected readonly maxSeries: number
  protected outlet: Outlet
  readonly #encoder: Encoder
  readonly #complained = new Set<string>()
  readonly #startedMs: number

  constructor(options: BaseRecorderOptions, aggregates: Aggregates, encoder: Encoder) {
    const { clock, maxSeries = 5_000 } = options
    this.outlet = options
    this.aggregates = aggregates
    this.now = clock ? () => clock.now() : Date.now
    this.clock = clock ? () => clock.elapsed?.() ?? clock.now() : () => performance.now()
    this.maxSeries = maxSeries
    this.#encoder = encoder
    this.#startedMs = this.now()
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
  handle<T extends Type>(type: T, identity: Identity): Handles[T] {
    const { combine } = identity
    const what = `combine of "${identity.name}"`
    checkOneOf(what, combine, COMBINES, UsageError)
    const handle = this.#handle(type, identity)
    const known = handle.identity.combine
    if (known !== combine && handle.name !== OVERFLOW) checkOneOf(what, combine, [known], UsageError)
    return handle as Handles[T]
  }

  /** The child of a handle, without the tags that it must not carry. Never throws. */
  child(parent: Instrument, tags: Tags): Instrument {
    const { type, name, identity } = parent
    const fit = Object.entries(tags ?? {}).filter(
      ([tag, value]) => value !== undefined && this.#succeeds(name, () => checkTag(tag, value, identity.allowTags)),
    )
    const all = { ...parent.tags, ...Object.fromEntries(fit) }
    let handle = parent
    // each of them is a tag, but together they may be too many
    this.#succeeds(name, () => (handle = this.#handle(type, { ...identity, tags: all })))
    return handle
  }

  /** Takes a one-shot measurement; answers the reason when it does not. Never throws. */
  record(measurement: Measurement, defaults: Defaults): string | undefined {
    try {
      takeShot(this.find(measurement, defaults), measurement)
      return undefined
    } catch (cause) {
      return this.reject(measurement?.name, 'invalid', cause)
    }
  }

  /** Frames of all that was recorded since the last call. */
  seal(): SealedFrame[] {
    return Object.values(this.groups).flatMap((group) => this.#seal(group, group.handles))
  }

  /** @internal Hands on a frame of one handle. */
  sealOne(handle: Instrument): void {
    for (const frame of this.#seal(this.#group(handle), [handle])) this.outlet.onFrame(frame)
  }

  /** @internal Counts what was not taken, and says so once per name and reason; answers why. */
  reject(name: unknown, reason: string, cause: unknown): string {
    // looking into what is no object, or is an odd one, throws errors of other kinds
    const message = describe(cause)
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1
    const what = `dropped ${reason === 'tag' ? 'tags' : 'measurements'} of ${describe(name)}: `
    const complaint = reason + what
    if (this.#complained.size < 1_000 && !this.#complained.has(complaint)) {
      this.#complained.add(complaint)
      this.warn('ZIBRATO_DROPPED', what + message)
    }
    return message
  }

  /** Whether `take` did not throw; it is counted when it did. */
  #succeeds(name: string, take: () => void): boolean {
    try {
      take()
      return true
    } catch (cause) {
      this.reject(name, 'tag', cause)
      return false
    }
  }

  protected warn(code: string, message: string): void {
    this.outlet.warn({ code, message })
  }

  /** A new handle. @throws UsageError or InvalidMeasurementError for a series that there is no place for */
  protected create(type: Type, identity: Identity, key: string): Instrument {
    const handle = createInstrument(type, this, identity, encodeKey(key))
    handle.immediate = this.outlet.immediate ?? false
    return handle
  }

  /** Has a frame take what a handle recorded. */
  protected drain(handle: Instrument, closedMs: number): void {
    handle.drain(this.#encoder.entry(handle.type, handle.key) as never, closedMs)
    handle.touched = false
  }

  /** The handle of a one-shot measurement. @throws InvalidMeasurementError when there can be none */
  protected find(measurement: Measurement, defaults: Defaults): Instrument {
    const { type, name, tags = {} } = measurement
    if (typeof tags !== 'object' || tags === null || Array.isArray(tags)) {
      throw unfit('tags', 'an object of texts', tags)
    }
    const { level, source, tags: all } = withDefaults(measurement, defaults)
    return this.#handle(type === 'unique' ? 'set' : type, { name, level, source, tags: all, combine: 'last' })
  }

  #handle(type: Type, identity: Identity, isBounded = true): Instrument {
    const { name, source, level, tags } = identity
    checkLevel(level)
    const key = seriesKey(name, source, tags)
    const series = `${type}\0${key}`
    const id = `${level}\0${series}`
    const known = this.handles.get(id)
    if (known) return known
    if (isBounded && this.series.size >= this.maxSeries && !this.series.has(series)) {
      if (!this.overflowed++) {
        this.warn(
          'ZIBRATO_SERIES_LIMIT',
          `over ${this.maxSeries} series: ${describe(name)} and other new ones count in "${OVERFLOW}"; ` +
            `use fewer tag values, or raise maxSeries`,
        )
      }
      // sources can be what there are too many of
      const few = this.handles.size < 2 * this.maxSeries
      const overflow = {
        name: OVERFLOW,
        source: few ? source : DEFAULT_SOURCE,
        level,
        tags: {},
        combine: 'last',
      } as const
      return this.#handle(type, overflow, false)
    }
    const handle = this.create(type, identity, key)
    if (isBounded) this.series.add(series)
    this.handles.set(id, handle)
    this.#group(handle).handles.push(handle)
    return handle
  }

  #group({ level, key: { shard } }: Instrument): Group {
    return (this.groups[`${shard} ${level}`] ??= { level, shard, handles: [], seq: 0, sealedMs: this.#startedMs })
  }

  #seal(group: Group, handles: readonly Instrument[]): SealedFrame[] {
    const frames: SealedFrame[] = []
    // all of them first: what is observed meanwhile may record, and make frames
    const due = handles.filter((handle) => handle.due())
    if (due.length === 0) return frames
    const closedMs = this.now()
    const encoder = this.#encoder
    const { level, shard } = group
    const close = (): void => {
      const seq = ++group.seq
      // at the edge there is no time while a module loads: it reads 0
      const spanMs = closedMs - (group.sealedMs || closedMs)
      const bytes = encoder.seal(level, shard, seq, closedMs, spanMs)
      frames.push({ bytes, level, shard, seq, closedMs })
    }
    for (const handle of due) {
      this.drain(handle, closedMs)
      if (encoder.size >= FRAME_BYTES) close()
    }
    if (encoder.size > 0) close()
    group.sealedMs = closedMs
    return frames
  }
}
