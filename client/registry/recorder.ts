import { UsageError } from '../errors.ts'
import type { Handles } from '../instruments/create.ts'
import type { Identity, Instrument } from '../instruments/instrument.ts'
import { Summed } from '../instruments/summed.ts'
import { Path, findTags, growTags } from '../instruments/path.ts'
import type { Measurement } from '../measurement.ts'
import type { Distribution } from '../sketch/distribution.ts'
import type { Members } from '../sketch/members.ts'
import type { Readings } from '../sketch/readings.ts'
import { SKETCHES } from '../sketch/sketches.ts'
import type { SealedFrame } from '../transport/transport.ts'
import { SketchEncoder } from '../wire/sketch-encoder.ts'
import type { Tags, Type } from '../wire/series.ts'
import { BaseRecorder, type BaseRecorderOptions, OVERFLOW, type Outlet } from './base-recorder.ts'
import type { Defaults } from './defaults.ts'

export type { Handles } from '../instruments/create.ts'
export { OVERFLOW, type Outlet } from './base-recorder.ts'

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

export interface RecorderOptions extends BaseRecorderOptions {
  /** Whether each measurement becomes a frame at once, handed to `onFrame`. Default false. */
  readonly immediate?: boolean
  /** Fills the publisher's 8 bytes. Default: at random. */
  readonly random?: ((bytes: Uint8Array) => Uint8Array) | undefined
  readonly reader?: Reader | undefined
}

/** The recorder of programs that live long: what its handles hold stays small, and handles can be forgotten. */
export class Recorder extends BaseRecorder {
  // to handles of one-shot measurements, grown since they were last cleared
  #paths = 0
  #forgets = 0
  #immediate: boolean
  // whether each value of a timer or histogram becomes a frame at once
  #singly: boolean
  readonly #own: Outlet
  readonly #reader: Reader | undefined

  constructor(options: RecorderOptions) {
    super(options, SKETCHES, new SketchEncoder(options.random))
    this.#immediate = options.immediate ?? false
    this.#singly = options.carries?.singly ?? false
    this.#own = options
    this.#reader = options.reader
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
    if (this.handles.size > 0 && (immediate !== this.#immediate || singly !== this.#singly)) {
      throw new UsageError(
        'a registry that has instruments cannot change over to sending each value at once, or back; ' +
          'give it to the client before the first of them is made',
      )
    }
    for (const handle of this.handles.values()) {
      outlet.carries?.check(handle.type, handle.identity, handle.identity.combine)
    }
    this.#immediate = immediate
    this.#singly = singly
    this.outlet = outlet
  }

  /** Has frames go nowhere again. */
  unpublish(): void {
    this.outlet = this.#own
  }

  /** Lets the reader have all that was recorded since the last call, and makes no frames of it. */
  collect(): void {
    this.#reader?.turn()
    for (const { handles } of Object.values(this.groups)) {
      for (const handle of handles) {
        if (!handle.touched) continue
        this.#reader?.cleared(handle)
        clear(handle)
      }
    }
  }

  override seal(): SealedFrame[] {
    this.#reader?.turn()
    return super.seal()
  }

  /** @internal */
  override sealOne(handle: Instrument): void {
    this.#reader?.turn()
    super.sealOne(handle)
  }

  /** Adds a member that is there as its UTF-8 to a set. */
  addMember(set: Handles['set'], bytes: Uint8Array, start: number, end: number): void {
    ;(set.recorded as Members).addBytes(bytes, start, end)
    set.touched = true
    if (set.immediate) this.sealOne(set)
  }

  /** Forgets all handles, and what they hold: so {@link seal} first. Only for whoever never lets a handle out of its hands. */
  forgetIdle(defaults: Defaults): void {
    defaults.shots = undefined
    this.#paths = 0
    this.handles.clear()
    this.series.clear()
    for (const group of Object.values(this.groups)) group.handles = []
  }

  /** Forgets the handles that `idle` names, and what they hold: so {@link seal} first. Only for whoever lets go of them too. */
  forget(idle: (handle: Instrument) => boolean): void {
    this.#forgets++
    const levels = new Set<string>()
    for (const group of Object.values(this.groups)) {
      levels.add(group.level)
      group.handles = group.handles.filter((handle) => !idle(handle))
    }
    for (const [id, handle] of this.handles) {
      if (!idle(handle)) continue
      this.handles.delete(id)
      const series = id.slice(handle.level.length + 1)
      if (![...levels].some((level) => this.handles.has(`${level}\0${series}`))) this.series.delete(series)
    }
  }

  /** Remembers what it answered, so that tags that come again are only looked up. */
  override child(parent: Instrument, tags: Tags): Instrument {
    const known = parent.children === undefined ? undefined : findTags(parent.children, tags)?.handle
    if (known !== undefined) return known
    const rejected = this.dropped['tag']
    const handle = super.child(parent, tags)
    // what is left out of them is counted each time, and so is what there is no place for
    if (handle.name !== OVERFLOW && this.dropped['tag'] === rejected) {
      growTags((parent.children ??= new Path()), tags).handle = handle
    }
    return handle
  }

  protected override create(type: Type, identity: Identity, key: string): Instrument {
    this.outlet.carries?.check(type, identity, identity.combine)
    if (identity.name !== OVERFLOW) this.#reader?.check(type, identity.name)
    const handle = super.create(type, identity, key)
    handle.immediate = this.#immediate || (this.#singly && (type === 'timer' || type === 'histogram'))
    this.#reader?.added(handle, key)
    return handle
  }

  protected override drain(handle: Instrument, closedMs: number): void {
    this.#reader?.cleared(handle)
    super.drain(handle, closedMs)
  }

  protected override warn(code: string, message: string): void {
    super.warn(code, code === 'ZIBRATO_SERIES_LIMIT' ? `${message}. ${this.#tagsInUse()}` : message)
  }

  protected override find(measurement: Measurement, defaults: Defaults): Instrument {
    const { type, name, level, source, tags } = measurement
    if (defaults.forgets !== this.#forgets) {
      defaults.forgets = this.#forgets
      defaults.shots = undefined
    }
    let path = defaults.shots?.step(type)?.step(name)?.step(level)?.step(source)
    if (path !== undefined && tags !== undefined) path = findTags(path, tags)
    if (path?.handle !== undefined) return path.handle
    const handle = super.find(measurement, defaults)
    if (handle.name === OVERFLOW) return handle
    if (this.#paths++ >= this.maxSeries * 2) {
      this.#paths = 1
      defaults.shots = undefined
    }
    defaults.shots ??= new Path()
    growTags(defaults.shots.grow(type).grow(name).grow(level).grow(source), tags ?? {}).handle = handle
    return handle
  }

  /** The tag with the most values, in words. */
  #tagsInUse(): string {
    const values = new Map<string, Set<string>>()
    for (const { name, tags } of this.handles.values()) {
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
    return count === 0 ? 'No tags are in use' : `The ${most} has the most values, ${count}`
  }
}

/** Has a handle begin anew, without a frame. */
function clear(handle: Instrument): void {
  if (handle instanceof Summed) handle.clear()
  else (handle.recorded as Distribution | Members | Readings).clear()
  handle.touched = false
}
