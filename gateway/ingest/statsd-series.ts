import { type Handles, OVERFLOW, Recorder, type RecorderOptions } from '../../client/registry/recorder.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { utf8 } from '../../client/wire/bytes.ts'
import { DEFAULT_SOURCE, TYPES, TYPE_CODE, type Type, seriesKey } from '../../client/wire/series.ts'
import { StatsdGauges } from './statsd-gauges.ts'
import { type LineIdentity, LineTable } from './statsd-table.ts'
import { cleanKey, tagsOf } from './statsd-tags.ts'

type Handle = Handles[Type]

export interface StatsdSeriesOptions extends Pick<RecorderOptions, 'random' | 'warn'> {
  /** ms since the epoch. */
  readonly now: () => number
  readonly level: string
  readonly maxSeries: number
  readonly sanitize: boolean
}

const { counter: COUNTER, meter: METER, gauge: GAUGE } = TYPE_CODE

/** Values of a series that wait in its record before they go to its handle. */
const WAITING = 6
/** Doubles of a record by type: a sum, or values that wait. Gauges have cells of their own. */
const ROOM: readonly number[] = TYPES.map((type) => {
  if (type === 'counter' || type === 'meter') return 1
  return type === 'timer' || type === 'histogram' ? WAITING : 0
})
/** Bytes of records, names and tags per series allowed. */
const BYTES_PER_SERIES = 512

/**
 * The series of StatsD lines. A line's record is found by its name and tags as they stand there; only those that are new
 * become text, and get a handle of the recorder's. Lines that name one series otherwise (its tags in another order) have
 * records of their own, with one handle.
 *
 * A few values wait in the record until there is no room for more or a frame is made: adding to a handle touches a dozen
 * places in memory, and that costs less for several values at once.
 */
export class StatsdSeries {
  readonly #options: StatsdSeriesOptions
  readonly #recorder: Recorder
  readonly #decoder: TextDecoder
  readonly #table = new LineTable(ROOM)
  // by slot
  #handles: Handle[] = []
  // which had values since idle ones were last forgotten
  #busy = new Uint8Array(1024)
  readonly #gauges: StatsdGauges

  constructor(options: StatsdSeriesOptions) {
    this.#options = options
    this.#gauges = new StatsdGauges(options.maxSeries)
    // what a sanitised name has in place of invalid bytes goes anyway
    this.#decoder = new TextDecoder('utf-8', { fatal: !options.sanitize, ignoreBOM: true })
    this.#recorder = new Recorder({
      maxSeries: options.maxSeries,
      onFrame: () => {},
      clock: { now: options.now },
      random: options.random,
      warn: options.warn,
    })
  }

  /** Series held. */
  get size(): number {
    return this.#recorder.size
  }

  /** Times that a line was turned away to `zibrato.overflow`. */
  get overflowed(): number {
    return this.#recorder.overflowed
  }

  /** Frames of all that was added since the last call. */
  seal(): SealedFrame[] {
    this.#pourAll()
    return this.#recorder.seal()
  }

  /** The record of a line, or 0 when it has none. */
  find(view: DataView, line: LineIdentity): number {
    return this.#table.find(view, line)
  }

  /**
   * Makes the record of a line that {@link find} did not find, or finds the one of `zibrato.overflow`.
   *
   * @returns what is wrong when no series may have that name or those tags
   */
  add(view: DataView, line: LineIdentity): number | 'name' | 'tags' {
    const { sanitize, level } = this.#options
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    const name = this.#nameOf(bytes, line)
    if (name === undefined) return 'name'
    let handle: Handle
    try {
      const tags = tagsOf(this.#decoder.decode(bytes.subarray(line.tags, line.tagsEnd)), sanitize)
      const type = TYPES[line.type] as Type
      handle = this.#recorder.handle(type, { name, source: DEFAULT_SOURCE, tags, level, combine: 'last' })
    } catch {
      return 'tags'
    }
    if (handle.name === OVERFLOW) {
      const overflow = overflowLine(line.type)
      return this.find(OVERFLOW_VIEW, overflow) || this.#insert(OVERFLOW_VIEW, overflow, handle)
    }
    return this.#insert(view, line, handle)
  }

  /** Adds to a counter or meter. */
  count(record: number, value: number): void {
    const table = this.#table
    const at = table.doublesOf(record)
    const sum = (table.doubles[at] as number) + value
    if (sum - sum !== 0) {
      this.#pour(record)
      this.count(record, value)
      return
    }
    table.doubles[at] = sum
    table.ints[table.spareOf(record)] = 1
  }

  /** Adds a value to a timer or histogram. */
  sample(record: number, value: number, weight: number): void {
    if (weight !== 1) {
      ;(this.#handle(record) as Handles['timer' | 'histogram']).take(value, weight)
      return
    }
    const { doubles, ints } = this.#table
    const spare = this.#table.spareOf(record)
    if (ints[spare] === WAITING) this.#pour(record)
    const waiting = ints[spare] as number
    doubles[this.#table.doublesOf(record) + waiting] = value
    ints[spare] = waiting + 1
  }

  /** Sets a gauge; a `timeMs` below 0 is `nowMs`. False when a change makes its value too large for a double. */
  set(record: number, value: number, isChange: boolean, timeMs: number, nowMs: number): boolean {
    const table = this.#table
    this.#busy[table.slot(record)] = 1
    return this.#gauges.set(table.ints[table.spareOf(record)] as number, value, isChange, timeMs, nowMs)
  }

  /** Adds a member to a set. */
  join(record: number, bytes: Uint8Array, start: number, end: number): void {
    this.#recorder.addMember(this.#handle(record) as Handles['set'], bytes, start, end)
  }

  /** Forgets the series that had no values since the last call. Right after {@link seal} only. */
  forgetIdle(): void {
    const handles = this.#handles
    const busy = this.#busy
    const live = new Set<Handle>()
    handles.forEach((handle, slot) => {
      if (busy[slot] === 1) live.add(handle)
    })
    this.#recorder.forget((handle) => !live.has(handle as Handle))
    this.#gauges.forget((gauge) => !live.has(gauge))
    const former = this.#table.prune((slot) => busy[slot] === 1)
    this.#handles = former.map((slot) => handles[slot] as Handle)
    this.#handles.forEach((handle, slot) => {
      if (handle.type === 'gauge') this.#setCell(this.#table.record(slot), handle)
    })
    busy.fill(0)
  }

  /** The handle of a record that gets a value. */
  #handle(record: number): Handle {
    const slot = this.#table.slot(record)
    this.#busy[slot] = 1
    return this.#handles[slot] as Handle
  }

  #pourAll(): void {
    const table = this.#table
    for (let slot = 0; slot < table.size; slot++) {
      const record = table.record(slot)
      if (table.ints[table.spareOf(record)] !== 0 && table.type(record) !== GAUGE) this.#pour(record)
    }
    this.#gauges.pour()
  }

  /** Gives a handle what waits in its record. */
  #pour(record: number): void {
    const { doubles, ints } = this.#table
    const type = this.#table.type(record)
    const handle = this.#handle(record)
    const at = this.#table.doublesOf(record)
    const spare = this.#table.spareOf(record)
    const end = at + (ints[spare] as number)
    ints[spare] = 0
    if (type === COUNTER) (handle as Handles['counter']).inc(doubles[at])
    else if (type === METER) (handle as Handles['meter']).mark(doubles[at])
    else {
      const sampled = handle as Handles['timer' | 'histogram']
      for (let index = at; index < end; index++) sampled.record(doubles[index] as number)
      return
    }
    doubles[at] = 0
  }

  #insert(view: DataView, line: LineIdentity, handle: Handle): number {
    const { maxSeries } = this.#options
    if (this.#table.size >= maxSeries * 2 || this.#table.bytes >= maxSeries * BYTES_PER_SERIES) {
      // the handles stay, and lines find them again
      this.#pourAll()
      this.#table.clear()
      this.#handles = []
      this.#busy.fill(0)
    }
    const record = this.#table.insert(view, line)
    const slot = this.#handles.push(handle) - 1
    if (slot === this.#busy.length) {
      const busy = new Uint8Array(slot * 2)
      busy.set(this.#busy)
      this.#busy = busy
    }
    if (handle.type === 'gauge') this.#setCell(record, handle)
    return record
  }

  #setCell(record: number, gauge: Handles['gauge']): void {
    const cell = this.#gauges.cell(gauge)
    this.#table.ints[this.#table.spareOf(record)] = cell
  }

  /** Undefined when it is none. */
  #nameOf(bytes: Uint8Array, { name, nameEnd }: LineIdentity): string | undefined {
    try {
      const raw = this.#decoder.decode(bytes.subarray(name, nameEnd))
      const text = this.#options.sanitize ? cleanKey(raw) : raw
      seriesKey(text, '')
      return raw.includes('|') ? undefined : text
    } catch {
      return undefined
    }
  }
}

const OVERFLOW_VIEW = new DataView(new ArrayBuffer(OVERFLOW.length + 3))
new Uint8Array(OVERFLOW_VIEW.buffer).set(utf8(OVERFLOW))

/** As if a line had named the overflow series of a type. */
function overflowLine(type: number): LineIdentity {
  return { name: 0, nameEnd: OVERFLOW.length, tags: 0, tagsEnd: 0, type, hash: type }
}
