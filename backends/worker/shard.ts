import { Distribution } from '../../client/sketch/distribution.ts'
import { COMBINES, Gauge } from '../../client/sketch/gauge.ts'
import { Members } from '../../client/sketch/members.ts'
import { decodeAggregate } from '../../client/sketch/aggregate.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { Reader, Writer } from '../../client/wire/bytes.ts'
import { InvalidFrameError } from '../../client/errors.ts'
import { type FrameHeader, checkKey, publisherName, readHeader } from '../../client/wire/frame.ts'
import { ReplayFilter } from '../../client/wire/replay-filter.ts'
import { DEFAULT_SOURCE, TYPE_CODE, encodeKey, seriesKey } from '../../client/wire/series.ts'
import { SeriesTable } from '../../client/wire/table.ts'
import { atOnce } from '../../client/pace.ts'
import type { Commit, Position } from '../state/state.ts'
import { Combined } from '../../client/sketch/combined.ts'
import { type Idle, IdleRules } from './idle.ts'
import { Rates } from '../../client/sketch/rates.ts'
import { WindowEncoder } from './rollup.ts'
import { saturated } from '../../client/sketch/saturated.ts'
import {
  type GaugeState,
  type MeterState,
  type SlotState,
  createState,
  decodeGauge,
  encodeGauge,
} from './series-state.ts'

const { counter: COUNTER, meter: METER, gauge: GAUGE, set: SET } = TYPE_CODE

/** Changes are folded into a full snapshot once they outweigh it, and this. */
const LEAST_FULL_BYTES = 65_536
/** Series between two chances for others to run. */
const SLICE = 1_000

export interface ShardOptions {
  readonly shard: number
  /** Length of a window, ms. */
  readonly intervalMs: number
  /** Levels whose frames count; the others are passed over. Default: all. */
  readonly levels?: ReadonlySet<string> | undefined
  /** Series at the most; new ones then count in `zibrato.overflow`. */
  readonly maxSeries: number
  /** What becomes of series that are known and have no data in a window. */
  readonly idle: Idle
  /** What windows and snapshots are encoded in; shards of one worker share it. Default: its own. */
  readonly scratch?: Scratch | undefined
  /** Called with every frame that is merged. */
  readonly onFrame?: ((bytes: Uint8Array, start: number, end: number) => void) | undefined
  /** Called with the first key beyond the bound, once per window. */
  readonly onOverflow?: ((key: string) => void) | undefined
}

/**
 * Buffers that grow to the size of the largest shard. Shards close one after the other, so one pair serves them all: a
 * pair each would take more memory than their series do.
 */
export class Scratch {
  readonly window: WindowEncoder = new WindowEncoder()
  readonly snapshot: Writer = new Writer(4096)
}

/** What became of frames. */
export interface ShardFigures {
  merged: number
  replays: number
  invalid: number
  refused: number
  overflowed: number
}

/**
 * All that a shard's owner holds: its series with the sums of the window at hand, totals and rates, and the filter that
 * tells replays. In memory is exactly the last snapshot plus the log behind it.
 *
 * Counters are columns indexed by a slot of the table; other types have an object each.
 */
export class Shard {
  readonly shard: number
  readonly figures: ShardFigures = { merged: 0, replays: 0, invalid: 0, refused: 0, overflowed: 0 }
  readonly #options: ShardOptions
  readonly #idle: IdleRules
  #table = new SeriesTable()
  #sums = new Float64Array(16)
  #totals = new Float64Array(16)
  // end of the last window with data, seconds; the one at hand marks its series as touched
  #seen = new Float64Array(16)
  readonly #states = new Map<number, SlotState>()
  #touched: number[] = []
  // series that are emitted without data too: meters until still, combined gauges while publishers live
  readonly #live = new Set<number>()
  readonly #filter = new ReplayFilter()
  readonly #encoder: WindowEncoder
  readonly #snapshot: Writer
  #end = 0
  #committedEnd = 0
  #position: Position | undefined
  #fullBytes = 0
  #changedBytes = 0
  // series from this slot on stand in no snapshot yet
  #written = 0
  #overflowReported = false
  // where the entries of the frame being merged belong; -1: new
  #slots = new Int32Array(256)

  constructor(options: ShardOptions) {
    this.shard = options.shard
    this.#options = options
    this.#idle = new IdleRules(options.idle, options.intervalMs)
    const { window, snapshot } = options.scratch ?? new Scratch()
    this.#encoder = window
    this.#snapshot = snapshot
  }

  /** End of the window at hand, ms; 0 before the first {@link open}. */
  get end(): number {
    return this.#end
  }

  /** The last entry merged; undefined: none since it was restored. */
  get position(): Position | undefined {
    return this.#position
  }

  get series(): number {
    return this.#table.size
  }

  /** Frames known to be missing, and those given up. */
  get missing(): number {
    return this.#filter.missing
  }

  get lost(): number {
    return this.#filter.lost
  }

  get publishers(): number {
    return this.#filter.size
  }

  /** Bytes of the columns that counters take. */
  get memory(): number {
    return this.#table.memory + this.#sums.byteLength + this.#totals.byteLength + this.#seen.byteLength
  }

  /** Whether the window at hand has anything to emit or to remember. */
  get dirty(): boolean {
    // who wants idle series gets a window of them alone too
    const hasIdle = this.#idle.any && this.#table.size > 0
    return this.#touched.length > 0 || this.#live.size > 0 || hasIdle || this.#changedBytes === Number.POSITIVE_INFINITY
  }

  /** What was committed before is gone: the next commit carries all that the shard knows. */
  commitAll(): void {
    this.#changedBytes = Number.POSITIVE_INFINITY
  }

  /** Starts the window that holds a time; it is never one that was committed. */
  open(timeMs: number): void {
    const { intervalMs } = this.#options
    // windows may have had another length before a restart
    this.#end = Math.floor(Math.max(timeMs, this.#committedEnd) / intervalMs) * intervalMs + intervalMs
  }

  /** Takes over what {@link close} wrote, oldest first. */
  restore(snapshots: readonly Uint8Array[], end: number): void {
    atOnce(this.restoring(snapshots, end))
  }

  /** {@link restore} in slices of a millisecond or two. Until it is through, the shard is of no use. */
  *restoring(snapshots: readonly Uint8Array[], end: number): Generator<void, void> {
    for (const bytes of snapshots) {
      yield* this.#restoreOne(bytes)
      if (bytes[1] === 1) this.#fullBytes = bytes.length
      else this.#changedBytes += bytes.length
    }
    // forgotten once more what was forgotten then, without counting it as lost again
    const { lost } = this.#filter
    yield* this.#filter.forgetting(end)
    this.#filter.lost = lost
    this.#written = this.#table.size
    this.#committedEnd = end
  }

  /** Merges a log entry into the window at hand. Bad frames are counted and never take their neighbours along. */
  merge(bundle: Uint8Array, position: Position, timeMs: number): void {
    this.#position = position
    try {
      eachFrame(bundle, (start, end) => this.#mergeFrame(bundle, start, end, timeMs))
    } catch (error) {
      if (!(error instanceof InvalidFrameError)) throw error
      this.figures.invalid++
    }
  }

  /** The window at hand as a commit, and a new window after it. The commit must be made before anything is merged. */
  close(): Commit {
    return atOnce(this.closing())
  }

  /**
   * {@link close} in slices of a millisecond or two. Until it is through, nothing may be merged, and no other shard with the
   * same scratch be closed.
   */
  *closing(): Generator<void, Commit> {
    const end = this.#end / 1000
    const interval = this.#options.intervalMs / 1000
    this.#encoder.begin(end - interval, end)
    const changed = yield* this.#emit(end, interval)
    yield* this.#filter.forgetting(this.#end)
    const full = this.#changedBytes > Math.max(LEAST_FULL_BYTES, this.#fullBytes)
    if (full) yield* this.#forgetIdle(end)
    const snapshot = yield* this.#encodeSnapshot(
      full ? Array.from({ length: this.#table.size }, (_, slot) => slot) : changed,
      full,
    )
    if (full) {
      this.#fullBytes = snapshot.length
      this.#changedBytes = 0
    } else {
      this.#changedBytes += snapshot.length
    }
    const commit: Commit = {
      shard: this.shard,
      end: this.#end,
      position: this.#position,
      snapshot: { kind: full ? 'full' : 'changes', bytes: snapshot },
      outbox: this.#encoder.count === 0 ? undefined : this.#encoder.bytes(),
    }
    this.#written = this.#table.size
    this.#committedEnd = this.#end
    this.#end += this.#options.intervalMs
    this.#touched = []
    this.#overflowReported = false
    return commit
  }

  #mergeFrame(bytes: Uint8Array, start: number, end: number, timeMs: number): void {
    let header: FrameHeader
    try {
      header = readHeader(bytes, start, end)
      // what its owner does not take is not its to judge
      if (this.#options.levels?.has(header.level) === false) return
      this.#check(header)
    } catch (error) {
      if (!(error instanceof InvalidFrameError)) throw error
      this.figures.invalid++
      return
    }
    const verdict = this.#filter.admit(header.publisher, header.level, header.seq, timeMs)
    if (verdict !== 'new') {
      if (verdict === 'replay') this.figures.replays++
      else this.figures.refused++
      return
    }
    this.figures.merged++
    this.#mergeEntries(header, timeMs)
    this.#options.onFrame?.(bytes, start, end)
  }

  /**
   * Reads a frame to its last byte before any of it is merged, and looks its series up on the way: those that are held had
   * their hash and shard checked when they came, a new one's are checked now.
   */
  #check(header: FrameHeader): void {
    const { bytes, end } = header
    if (header.shard !== this.shard)
      throw new InvalidFrameError(`frame: shard ${header.shard} came under another's topic`)
    if (header.count > this.#slots.length) this.#slots = new Int32Array(header.count * 2)
    const reader = new Reader(bytes, header.entries, end)
    for (let index = 0; index < header.count; index++) {
      const type = reader.u8()
      const hash = reader.u32()
      const length = reader.varint()
      const key = reader.offset
      reader.skip(length)
      const slot = this.#table.find(type, hash, bytes, key, key + length)
      this.#slots[index] = slot
      if (slot < 0) checkKey(bytes, key, key + length, hash, header.shard)
      if (type === COUNTER) reader.finite()
      else decodeAggregate(type, reader, undefined)
    }
    if (reader.offset !== end) throw new InvalidFrameError(`frame: ${end - reader.offset} bytes follow the last entry`)
  }

  #mergeEntries(header: FrameHeader, timeMs: number): void {
    const { bytes, entries, end, count } = header
    const reader = new Reader(bytes, entries, end)
    const windowEnd = this.#end / 1000
    for (let index = 0; index < count; index++) {
      const type = reader.u8()
      const hash = reader.u32()
      const length = reader.varint()
      const key = reader.offset
      reader.skip(length)
      let slot = this.#slots[index] as number
      if (slot < 0) slot = this.#slot(type, hash, bytes, key, key + length)
      if (this.#seen[slot] !== windowEnd) {
        this.#seen[slot] = windowEnd
        this.#touched.push(slot)
      }
      if (type === COUNTER) this.#sums[slot] = (this.#sums[slot] as number) + reader.f64()
      else this.#mergeState(slot, type, reader, header, timeMs)
    }
  }

  #mergeState(slot: number, type: number, reader: Reader, header: FrameHeader, timeMs: number): void {
    let state = this.#states.get(slot)
    if (state === undefined) this.#states.set(slot, (state = createState(type)))
    if (type === METER) {
      ;(state as MeterState).count += reader.f64()
      this.#live.add(slot)
      return
    }
    if (type !== GAUGE) {
      decodeAggregate(type, reader, state as Distribution | Members)
      return
    }
    const gauge = new Gauge()
    Gauge.decode(reader, gauge)
    const held = state as GaugeState
    // a repeat has no count: it says that the publisher lives, not that anything was read
    if (gauge.count > 0) held.window.merge(gauge)
    if (gauge.time >= held.timeMs) {
      held.timeMs = gauge.time
      held.value = gauge.value
    }
    if (gauge.combine === 'last' && held.combined === undefined) return
    held.combined ??= new Combined(gauge.combine)
    if (COMBINES.indexOf(gauge.combine) > COMBINES.indexOf(held.combined.combine)) {
      held.combined.combine = gauge.combine
    }
    held.combined.hear(publisherName(header.publisher), gauge.value, gauge.time, timeMs, header.spanMs)
    this.#live.add(slot)
  }

  #slot(type: number, hash: number, bytes: Uint8Array, start: number, end: number): number {
    const found = this.#table.find(type, hash, bytes, start, end)
    if (found >= 0) return found
    if (this.#table.size < this.#options.maxSeries) return this.#insert(type, hash, bytes, start, end)
    this.figures.overflowed++
    if (!this.#overflowReported) {
      this.#overflowReported = true
      this.#options.onOverflow?.(new TextDecoder().decode(bytes.subarray(start, end)))
    }
    const overflow = encodeKey(seriesKey('zibrato.overflow', DEFAULT_SOURCE, { shard: this.shard }))
    const slot = this.#table.find(type, overflow.hash, overflow.bytes, 0, overflow.bytes.length)
    return slot >= 0 ? slot : this.#insert(type, overflow.hash, overflow.bytes, 0, overflow.bytes.length)
  }

  #insert(type: number, hash: number, bytes: Uint8Array, start: number, end: number): number {
    const slot = this.#table.insert(type, hash, bytes, start, end)
    if (slot === this.#sums.length) {
      const capacity = Math.ceil(slot * 1.5)
      this.#sums = grown(this.#sums, new Float64Array(capacity))
      this.#totals = grown(this.#totals, new Float64Array(capacity))
      this.#seen = grown(this.#seen, new Float64Array(capacity))
    }
    return slot
  }

  /** Writes the window's rollups; answers the series that the snapshot has to tell of. */
  *#emit(end: number, interval: number): Generator<void, number[]> {
    const changed: number[] = []
    let count = 0
    for (const slot of this.#touched) {
      if (this.#emitOne(slot, end, interval)) changed.push(slot)
      if (++count % SLICE === 0) yield
    }
    for (const slot of this.#live) {
      if (this.#seen[slot] !== end && this.#emitOne(slot, end, interval)) changed.push(slot)
      if (++count % SLICE === 0) yield
    }
    if (!this.#idle.any) return changed
    for (let slot = 0; slot < this.#table.size; slot++) {
      if (++count % SLICE === 0) yield
      const seen = this.#seen[slot] as number
      if (seen !== end && !this.#live.has(slot)) this.#emitIdle(slot, end - seen)
    }
    return changed
  }

  /** Whether the snapshot has to tell of the series: it is new, or its lasting state changed. */
  #emitOne(slot: number, end: number, interval: number): boolean {
    const type = this.#table.type(slot)
    const key = this.#table.key(slot)
    if (type === COUNTER) {
      const sum = saturated(this.#sums[slot] as number)
      const total = saturated((this.#totals[slot] as number) + sum)
      this.#totals[slot] = total
      this.#sums[slot] = 0
      this.#encoder.counter(key, sum, total)
      return true
    }
    const state = this.#states.get(slot)
    if (type === METER) {
      const meter = state as MeterState
      const count = saturated(meter.count)
      meter.rates.advance(count, end, interval)
      this.#encoder.meter(key, count, meter.rates)
      meter.count = 0
      if (meter.rates.still) this.#live.delete(slot)
      return true
    }
    if (type === GAUGE) return this.#emitGauge(slot, key, state as GaugeState, end)
    // nothing of these lasts beyond the window; dropping them gives their memory back
    this.#states.delete(slot)
    if (type === SET) this.#encoder.set(key, state as Members)
    else this.#encoder.distribution(type, key, state as Distribution)
    // but that the series is known does: it counts towards the bound, and when it had data last where that matters
    return slot >= this.#written || this.#idle.emits(type)
  }

  #emitGauge(slot: number, key: Uint8Array, state: GaugeState, end: number): boolean {
    const { window, combined } = state
    if (combined === undefined) {
      // a value that was only said again was not read
      if (window.length === 0) this.#encoder.gauge(key, window, state.value, true)
      else this.#encoder.gauge(key, window, window.value, false)
    } else {
      // in a long window all can have come and gone: then what they came to when the last was heard
      const came = this.#seen[slot] === end && combined.gone(this.#end)
      const value = combined.value(came ? combined.heardMs : this.#end)
      if (value === undefined) this.#live.delete(slot)
      else this.#encoder.gauge(key, window, value, true)
    }
    window.clear()
    return true
  }

  #emitIdle(slot: number, idleS: number): void {
    const type = this.#table.type(slot)
    if (!this.#idle.emits(type) || !this.#idle.isEmitted(type, idleS)) return
    const key = this.#table.key(slot)
    if (type === COUNTER) this.#encoder.counter(key, 0, this.#totals[slot] as number)
    else if (type === SET) this.#encoder.set(key, new Members())
    else if (type !== GAUGE) this.#encoder.idleDistribution(type, key)
    else {
      const state = this.#states.get(slot) as GaugeState | undefined
      if (state !== undefined && state.combined === undefined) {
        this.#encoder.gauge(key, new Gauge(), state.value, true)
      }
    }
  }

  /** Rebuilds the table without series that had no data for a day, or for as long as they are emitted without. */
  *#forgetIdle(end: number): Generator<void, void> {
    const old = this.#table
    const kept: number[] = []
    for (let slot = 0; slot < old.size; slot++) {
      const idleS = end - (this.#seen[slot] as number)
      if (this.#live.has(slot) || this.#idle.isRemembered(old.type(slot), idleS)) kept.push(slot)
    }
    if (kept.length === old.size) return
    const [sums, totals, seen] = [this.#sums, this.#totals, this.#seen]
    const states = new Map(this.#states)
    const live = new Set(this.#live)
    this.#table = new SeriesTable()
    this.#states.clear()
    this.#live.clear()
    this.#sums = new Float64Array(Math.max(16, kept.length))
    this.#totals = new Float64Array(Math.max(16, kept.length))
    this.#seen = new Float64Array(Math.max(16, kept.length))
    for (const [index, slot] of kept.entries()) {
      if (index % SLICE === SLICE - 1) yield
      const key = old.key(slot)
      const moved = this.#insert(old.type(slot), old.hash(slot), key, 0, key.length)
      this.#sums[moved] = sums[slot] as number
      this.#totals[moved] = totals[slot] as number
      this.#seen[moved] = seen[slot] as number
      const state = states.get(slot)
      if (state !== undefined) this.#states.set(moved, state)
      if (live.has(slot)) this.#live.add(moved)
    }
  }

  /**
   * version u8; full u8; number of series varint, and for each: type u8, hash u32, key, last window's end f64, lasting
   * state; then the replay filter.
   */
  *#encodeSnapshot(slots: readonly number[], full: boolean): Generator<void, Uint8Array> {
    const writer = this.#snapshot
    writer.reset()
    writer.u8(1)
    writer.u8(full ? 1 : 0)
    writer.varint(slots.length)
    for (const [index, slot] of slots.entries()) {
      if (index % SLICE === SLICE - 1) yield
      const type = this.#table.type(slot)
      writer.u8(type)
      writer.u32(this.#table.hash(slot))
      writer.sized(this.#table.key(slot))
      writer.f64(this.#seen[slot] as number)
      if (type === COUNTER) writer.f64(this.#totals[slot] as number)
      else if (type === METER) (this.#states.get(slot) as MeterState).rates.encode(writer)
      else if (type === GAUGE) encodeGauge(writer, this.#states.get(slot) as GaugeState)
    }
    yield* this.#filter.encoding(writer, full ? 'all' : 'changed')
    return writer.bytes()
  }

  *#restoreOne(bytes: Uint8Array): Generator<void, void> {
    const reader = new Reader(bytes)
    const version = reader.u8()
    if (version !== 1)
      throw new Error(`snapshot: version ${version} was written by a newer zibrato; upgrade this worker`)
    reader.u8()
    const count = reader.varint()
    for (let index = 0; index < count; index++) {
      if (index % SLICE === SLICE - 1) yield
      const type = reader.u8()
      const hash = reader.u32()
      const key = reader.sized()
      let slot = this.#table.find(type, hash, key, 0, key.length)
      if (slot < 0) slot = this.#insert(type, hash, key, 0, key.length)
      this.#seen[slot] = reader.f64()
      if (type === COUNTER) this.#totals[slot] = reader.f64()
      else if (type === METER) {
        const rates = Rates.decode(reader)
        this.#states.set(slot, { count: 0, rates })
        if (rates.still) this.#live.delete(slot)
        else this.#live.add(slot)
      } else if (type === GAUGE) {
        const state = decodeGauge(reader)
        this.#states.set(slot, state)
        if (state.combined !== undefined && state.combined.size > 0) this.#live.add(slot)
        else this.#live.delete(slot)
      }
    }
    yield* this.#filter.restoring(reader)
  }
}

function grown(from: Float64Array, into: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  into.set(from)
  return into
}
