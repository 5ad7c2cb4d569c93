import { InvalidMeasurementError, UsageError } from '../errors.ts'
import { type Handles, createInstrument } from '../instruments/create.ts'
import type { Identity, Instrument, Registrar } from '../instruments/instrument.ts'
import { findTags, growTags } from '../instruments/path.ts'
import { type Measurement, SECONDS } from '../measurement.ts'
import { COMBINES, type Combine } from '../sketch/gauge.ts'
import type { Carries, SealedFrame } from '../transport/transport.ts'
import type { WarningSink } from '../warning.ts'
import type { Defaults } from './defaults.ts'
import { FRAME_BYTES, FrameEncoder, type Publisher, newPublisher } from '../wire/frame.ts'
import {
  DEFAULT_SOURCE,
  type TagValue,
  type Tags,
  type Type,
  checkLevel,
  encodeKey,
  seriesKey,
} from '../wire/series.ts'

export type { Handles } from '../instruments/create.ts'

/** Where frames go, and what they may be. */
export interface Outlet {
  /** Whether each measurement becomes a frame at once, handed to `onFrame`. Default false. */
  readonly immediate?: boolean
  /** What the frames can carry; everything when undefined. */
  readonly carries?: Carries | undefined
  readonly onFrame: (frame: SealedFrame) => void
  readonly warn: WarningSink
}

/** Reads what is recorded, beside the frames or in their place: a registry. */
export interface Reader {
  /** @throws UsageError for a series that it has no place for */
  check(type: Type, name: string): void
  /** Told of each new handle, and the key of its series. */
  added(handle: Instrument, key: string): void
  /** Told before some handles are cleared, and then of each of them. */
  turn(): void
  cleared(handle: Instrument): void
}

export interface RecorderOptions extends Outlet {
  /** Series at the most; what comes beyond is counted in `zibrato.overflow`. Default 5,000. */
  readonly maxSeries?: number | undefined
  readonly reader?: Reader | undefined
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
export class Recorder implements Registrar {
  /** Whether each measurement becomes a frame at once. */
  immediate = false
  /** Whether each value of a timer or histogram does. */
  singly = false
  readonly now: () => number
  readonly clock: () => number
  /** Measurements not taken, by reason. */
  readonly dropped: Record<string, number> = {}
  /** Times that a new series was turned away to the overflow series. */
  overflowed = 0
  readonly #options: RecorderOptions
  readonly #reader: Reader | undefined
  #outlet: Outlet
  readonly #maxSeries: number
  readonly #handles = new Map<string, Instrument>()
  readonly #series = new Set<string>()
  readonly #groups = new Map<string, Group>()
  readonly #encoder = new FrameEncoder()
  #forgets = 0
  // one-shot paths grown since they were last cleared
  #paths = 0
  readonly #complained = new Set<string>()
  #publisher: Publisher | undefined
  readonly #startedMs: number

  constructor(options: RecorderOptions) {
    this.#options = options
    this.#reader = options.reader
    this.#outlet = options
    this.publishTo(options)
    this.now = options.now
    this.clock = options.clock
    this.#maxSeries = options.maxSeries ?? 5_000
    this.#startedMs = options.now()
  }

  /** Handles held, overflow series included. */
  get size(): number {
    return this.#handles.size
  }

  /**
   * The handle of (type, series, level); the same for the same.
   *
   * @throws InvalidMeasurementError when no series may have that name, source, tag or level
   * @throws UsageError when a gauge of that series combines otherwise, or by no known way
   */
  handle<T extends Type>(type: T, identity: Identity, combine: Combine = 'last'): Handles[T] {
    checkLevel(identity.level)
    if (!COMBINES.includes(combine)) {
      throw new UsageError(
        `gauge ${JSON.stringify(identity.name)} cannot combine by ${describe(combine)}; use one of ${COMBINES.join(', ')}`,
      )
    }
    const handle = this.#handle(type, identity, combine)
    if (
      type === 'gauge' &&
      (handle as unknown as { combine: Combine }).combine !== combine &&
      handle.name !== OVERFLOW
    ) {
      throw new UsageError(
        `gauge ${JSON.stringify(identity.name)} combines by "${(handle as unknown as { combine: Combine }).combine}" ` +
          `already and cannot by "${combine}" too; use one of them everywhere`,
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
    const allowed = this.#without(tags, (tag) => this.#refusesTag(parent.identity, tag))
    try {
      const handle = this.#childHandle(parent, allowed)
      return { handle, kept: handle.name !== OVERFLOW && allowed === tags }
    } catch {
      const valid = this.#without(allowed, (tag) => this.#isNoTag(parent.name, tag, allowed[tag]))
      try {
        return { handle: this.#childHandle(parent, valid), kept: false }
      } catch (cause) {
        // each of them is a tag, but together they are too many
        this.#reject(parent.name, 'tag', (cause as Error).message)
        return { handle: parent, kept: false }
      }
    }
  }

  /** Takes a one-shot measurement; answers the reason when it does not. Never throws. */
  record(measurement: Measurement, defaults: Defaults): string | undefined {
    try {
      this.#take(measurement, defaults)
      return undefined
    } catch (error) {
      // looking into what is no object, or is an odd one, throws errors of other kinds
      const message = error instanceof Error ? error.message : 'it cannot be read'
      const name: unknown = measurement?.name
      this.#reject(typeof name === 'string' ? name.slice(0, 255) : describe(name), 'invalid', message)
      return message
    }
  }

  /**
   * Has frames go elsewhere from now on.
   *
   * @throws UsageError when handles that are there already would have to work in another way
   * @throws InvalidMeasurementError when the outlet cannot carry a series that is there already
   */
  publishTo(outlet: Outlet): void {
    const immediate = outlet.immediate ?? false
    const singly = outlet.carries?.singly ?? false
    if (this.#handles.size > 0 && (immediate !== this.immediate || singly !== this.singly)) {
      throw new UsageError(
        'a registry that has instruments cannot change over to sending each value at once, or back; ' +
          'give it to the client before the first of them is made',
      )
    }
    for (const handle of this.#handles.values()) {
      outlet.carries?.check(handle.type, handle.identity, (handle as { combine?: Combine }).combine ?? 'last')
    }
    this.immediate = immediate
    this.singly = singly
    this.#outlet = outlet
  }

  /** Has frames go nowhere again. */
  unpublish(): void {
    this.#outlet = this.#options
  }

  /** Lets the reader have all that was recorded since the last call, and makes no frames of it. */
  collect(): void {
    this.#reader?.turn()
    for (const { handles } of this.#groups.values()) {
      for (const handle of handles) {
        if (!handle.touched) continue
        this.#reader?.cleared(handle)
        handle.clear()
      }
    }
  }

  /** Frames of all that was recorded since the last call. */
  seal(): SealedFrame[] {
    this.#reader?.turn()
    const frames: SealedFrame[] = []
    for (const group of this.#groups.values()) this.#sealGroup(group, group.handles, frames)
    return frames
  }

  /** @internal Hands on a frame of one handle. */
  sealOne(handle: Instrument): void {
    const frames: SealedFrame[] = []
    this.#reader?.turn()
    this.#sealGroup(this.#group(handle), [handle], frames)
    for (const frame of frames) this.#outlet.onFrame(frame)
  }

  /** Forgets all handles, and what they hold: so {@link seal} first. Only for whoever never lets a handle out of its hands. */
  forgetIdle(defaults: Defaults): void {
    defaults.shots.clear()
    this.#paths = 0
    this.#handles.clear()
    this.#series.clear()
    for (const group of this.#groups.values()) group.handles = []
  }

  /** Forgets the handles that `idle` names, and what they hold: so {@link seal} first. Only for whoever lets go of them too. */
  forget(idle: (handle: Instrument) => boolean): void {
    this.#forgets++
    const levels = new Set<string>()
    for (const group of this.#groups.values()) {
      levels.add(group.level)
      group.handles = group.handles.filter((handle) => !idle(handle))
    }
    for (const [id, handle] of this.#handles) {
      if (!idle(handle)) continue
      this.#handles.delete(id)
      const series = id.slice(handle.level.length + 1)
      if (![...levels].some((level) => this.#handles.has(`${level}\0${series}`))) this.#series.delete(series)
    }
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

  #take(measurement: Measurement, defaults: Defaults): void {
    const { type, name, value, tags, rate, unit, timestamp } = measurement
    if (defaults.forgets !== this.#forgets) {
      defaults.forgets = this.#forgets
      defaults.shots.clear()
    }
    let path = defaults.shots.step(type)?.step(name)?.step(measurement.level)?.step(measurement.source)
    if (path !== undefined && tags !== undefined) path = findTags(path, tags)
    const handle = path?.handle ?? this.#lookUp(measurement, defaults)
    if (handle.type !== 'set' && (typeof value !== 'number' || value - value !== 0)) {
      throw new InvalidMeasurementError(`${describe(value)} is not a finite number`)
    }
    if (handle.type === 'set' && typeof value !== 'string' && (typeof value !== 'number' || value - value !== 0)) {
      throw new InvalidMeasurementError(`the value of a set is a text or a finite number, not ${describe(value)}`)
    }
    let weight = 1
    if (rate !== undefined) {
      if (typeof rate !== 'number' || !(rate > 0 && rate <= 1 && 1 / rate < Infinity)) {
        throw new InvalidMeasurementError(`rate must lie over 0 and up to 1, not ${describe(rate)}`)
      }
      weight = 1 / rate
    }
    let scaled = value
    if (unit !== undefined) {
      const seconds = Object.hasOwn(SECONDS, unit) ? SECONDS[unit] : undefined
      if (seconds === undefined || handle.type !== 'timer') {
        throw new InvalidMeasurementError('unit is for timers: "s", "ms", "us" or "ns"')
      }
      // dividing keeps 12 ms the double nearest to 0.012
      scaled = (value as number) / Math.round(1 / seconds)
    }
    if (timestamp !== undefined && (typeof timestamp !== 'number' || !(timestamp >= 0 && timestamp < 8.64e12))) {
      throw new InvalidMeasurementError(`timestamp must be seconds since the epoch, not ${describe(timestamp)}`)
    }
    handle.take(scaled, weight, timestamp === undefined ? undefined : Math.round(timestamp * 1000))
  }

  #lookUp(measurement: Measurement, defaults: Defaults): Instrument {
    const { name, level, source, tags } = measurement
    if (tags !== undefined && (typeof tags !== 'object' || tags === null || Array.isArray(tags))) {
      throw new InvalidMeasurementError('tags must be an object of texts')
    }
    const identity = {
      name,
      source: source ?? defaults.source,
      level: level ?? defaults.level,
      tags: tags === undefined ? defaults.tags : { ...defaults.tags, ...tags },
      allowTags: undefined,
    }
    checkLevel(identity.level)
    const handle = this.#handle(measurement.type === 'unique' ? 'set' : measurement.type, identity, undefined)
    if (handle.name === OVERFLOW) return handle
    if (this.#paths++ >= this.#maxSeries * 2) {
      this.#paths = 1
      defaults.shots.clear()
    }
    const path = defaults.shots.grow(measurement.type).grow(name).grow(level).grow(source)
    growTags(path, tags ?? {}).handle = handle
    return handle
  }

  #handle(type: Type, identity: Identity, combine: Combine | undefined, bounded = true): Instrument {
    const key = seriesKey(identity.name, identity.source, identity.tags)
    const series = `${type}\0${key}`
    const id = `${identity.level}\0${series}`
    const known = this.#handles.get(id)
    if (known !== undefined) return known
    this.#outlet.carries?.check(type, identity, combine ?? 'last')
    if (bounded) this.#reader?.check(type, identity.name)
    if (bounded && this.#series.size >= this.#maxSeries && !this.#series.has(series)) {
      this.#overflow(identity)
      return this.#overflowHandle(type, identity)
    }
    const handle = createInstrument(type, this, identity, encodeKey(key), combine ?? 'last')
    if (bounded) this.#series.add(series)
    this.#handles.set(id, handle)
    this.#group(handle).handles.push(handle)
    this.#reader?.added(handle, key)
    return handle
  }

  #overflowHandle(type: Type, { level, source }: Identity): Instrument {
    this.overflowed++
    // sources can be what there are too many of
    const known = this.#handles.size < 2 * this.#maxSeries ? source : DEFAULT_SOURCE
    return this.#handle(type, { name: OVERFLOW, source: known, level, tags: {}, allowTags: undefined }, 'last', false)
  }

  #childHandle(parent: Instrument, tags: Tags): Instrument {
    const { type, identity } = parent
    const combine = type === 'gauge' ? (parent as unknown as { combine: Combine }).combine : 'last'
    return this.#handle(type, { ...identity, tags: { ...identity.tags, ...tags } }, combine)
  }

  /** The tags, the same object unless some are unfit. */
  #without(tags: Tags, unfit: (tag: string) => boolean): Tags {
    const left = Object.keys(tags ?? {}).filter((tag) => tags[tag] !== undefined && unfit(tag))
    return left.length === 0 ? tags : Object.fromEntries(Object.entries(tags).filter(([tag]) => !left.includes(tag)))
  }

  #refusesTag({ name, allowTags }: Identity, tag: string): boolean {
    if (allowTags === undefined || allowTags.includes(tag)) return false
    this.#reject(name, 'tag', `${JSON.stringify(tag)} is not among its allowTags`)
    return true
  }

  #isNoTag(name: string, tag: string, value: TagValue): boolean {
    try {
      seriesKey(name, '', { [tag]: value })
      return false
    } catch (cause) {
      this.#reject(name, 'tag', (cause as Error).message)
      return true
    }
  }

  #group({ level, key }: Instrument): Group {
    const id = `${key.shard} ${level}`
    let group = this.#groups.get(id)
    if (group === undefined) {
      group = { level, shard: key.shard, handles: [], seq: 0, sealedMs: this.#startedMs }
      this.#groups.set(id, group)
    }
    return group
  }

  #sealGroup(group: Group, handles: readonly Instrument[], frames: SealedFrame[]): void {
    const encoder = this.#encoder
    let nowMs = 0
    for (const handle of handles) {
      if (!handle.due()) continue
      nowMs ||= this.now()
      this.#reader?.cleared(handle)
      handle.drain(encoder, nowMs)
      if (encoder.size >= FRAME_BYTES) frames.push(this.#close(group, nowMs))
    }
    if (encoder.count > 0) frames.push(this.#close(group, nowMs))
    if (nowMs > 0) group.sealedMs = nowMs
  }

  #close(group: Group, nowMs: number): SealedFrame {
    // made only now: at the edge there are no random values while a module loads
    this.#publisher ??= newPublisher(this.#options.random)
    const { level, shard } = group
    const seq = ++group.seq
    const bytes = this.#encoder.seal(this.#publisher, level, shard, seq, nowMs, nowMs - group.sealedMs)
    return { bytes, level, shard, seq, closedMs: nowMs }
  }

  #overflow(identity: Identity): void {
    if (this.overflowed > 0) return
    this.#outlet.warn({
      code: 'ZIBRATO_SERIES_LIMIT',
      message:
        `over ${this.#maxSeries} series: ${JSON.stringify(identity.name)} and other new ones count in "${OVERFLOW}" from now on. ` +
        `${this.#busiestTag()} Use fewer tag values, or raise maxSeries`,
    })
  }

  /** The tag with the most values, in words. */
  #busiestTag(): string {
    const values = new Map<string, Set<string>>()
    for (const { name, tags } of this.#handles.values()) {
      for (const tag in tags) {
        const id = `tag ${JSON.stringify(tag)} of ${JSON.stringify(name)}`
        let seen = values.get(id)
        if (seen === undefined) values.set(id, (seen = new Set()))
        seen.add(String(tags[tag]))
      }
    }
    let most = ''
    let count = 0
    for (const [id, seen] of values) {
      if (seen.size <= count) continue
      most = id
      count = seen.size
    }
    return count === 0 ? 'No tags are in use.' : `The ${most} has the most values, ${count}.`
  }

  #reject(name: string, reason: string, message: string): void {
    this.#count(reason)
    const complaint = `${reason} ${name}`
    if (this.#complained.size >= 1_000 || this.#complained.has(complaint)) return
    this.#complained.add(complaint)
    const what = reason === 'tag' ? 'tags' : 'measurements'
    this.#outlet.warn({ code: 'ZIBRATO_DROPPED', message: `dropped ${what} of ${JSON.stringify(name)}: ${message}` })
  }

  #count(reason: string): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1
  }
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  // an object's own way to become a text may throw
  return typeof value === 'function' || (typeof value === 'object' && value !== null)
    ? `this ${typeof value}`
    : String(value)
}
