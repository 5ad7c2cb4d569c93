import type { Clock } from '../clock.ts'
import { durationMs } from '../duration.ts'
import { UsageError } from '../errors.ts'
import type { Counter } from '../instruments/counter.ts'
import type { Gauge } from '../instruments/gauge.ts'
import type { Histogram } from '../instruments/histogram.ts'
import type { Instrument } from '../instruments/instrument.ts'
import type { Meter } from '../instruments/meter.ts'
import type { Timer } from '../instruments/timer.ts'
import type { Unique } from '../instruments/unique.ts'
import type { GaugeOptions, InstrumentOptions, Publishable } from '../options.ts'
import { atOnce, paced } from '../pace.ts'
import type { Combine } from '../sketch/gauge.ts'
import type { WarningSink } from '../warning.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import type { Frame } from '../wire/frame.ts'
import { DEFAULT_SOURCE, type Tags, type Type, parseKey, seriesKey } from '../wire/series.ts'
import type { Defaults } from './defaults.ts'
import { givenDefaults } from './given.ts'
import { type Handles, OVERFLOW, type Outlet, Recorder } from './recorder.ts'
import type { SeriesStats, StatsOf } from './stats.ts'
import { type Span, type Tally, createTally } from './tally.ts'
import { keepTicking } from './ticker.ts'
import { type StatsTree, TreeBuilder, put } from './tree.ts'

/** What `new Registry(...)` takes. Durations are milliseconds, or a text such as `'5m'`. */
export interface RegistryOptions<Level extends string = string> {
  /** Where measurements are made. Default `ZIBRATO_SOURCE`, else `not_specified`. */
  readonly source?: string | undefined
  /** Level of instruments that name none, for when it is published. Default `ZIBRATO_LEVEL`, else `info`. */
  readonly level?: Level | undefined
  /** Tags of every instrument. */
  readonly tags?: Tags | undefined
  /** How far back percentiles, extremes and distinct members look. Default 5 minutes. */
  readonly window?: number | string | undefined
  /** Series at the most, then `zibrato.overflow` takes new ones. Default 5,000. */
  readonly maxSeries?: number | undefined
  /** Called with what deserves a look. */
  readonly onWarning?: WarningSink | undefined
  /** For tests. */
  readonly clock?: Clock | undefined
}

/** What `gauge` takes. */
export interface RegistryGaugeOptions<Level extends string = string> extends GaugeOptions<Level> {
  /** Reads the value whenever somebody looks. */
  readonly read?: (() => number) | undefined
}

/** What an instrument's series is called, and how it is to be found. */
interface Name {
  readonly type: Type
  readonly path: readonly string[]
  readonly tallies: Tally[]
}

/**
 * Instruments that are read in the program itself: what Tapes and Dropwizard call a registry. A `Zibrato` client may publish
 * the same instruments; recording on them costs the same either way.
 */
export class Registry<Level extends string = string> implements Publishable {
  /** @internal */
  readonly defaults: Defaults
  /** What was not taken, by reason. */
  readonly dropped: Readonly<Record<string, number>>
  readonly #recorder: Recorder
  readonly #windowMs: number
  readonly #maxSeries: number
  readonly #plainSuffix: string
  readonly #warn: WarningSink
  #outlet: (Outlet & { seal(): void }) | undefined
  readonly #names = new Map<string, Name>()
  /** By type and key. */
  readonly #tallies = new Map<string, Tally>()
  readonly #ofHandle = new Map<Instrument, Tally>()
  #byDepth: Name[] | undefined
  /** When what is cleared now was recorded. */
  #span: Span
  #isTicking = false

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: RegistryOptions<Level> = {}) {
    const { clock, maxSeries = 5_000, onWarning } = options
    this.defaults = givenDefaults('registry', options, env)
    this.#plainSuffix = seriesKey('n', this.defaults.source, this.defaults.tags).slice(1)
    if (!(maxSeries >= 1)) {
      throw new UsageError(`registry: maxSeries ${maxSeries} makes no sense; give a number from 1 up, or leave it out`)
    }
    this.#maxSeries = maxSeries
    this.#windowMs = durationMs(options.window ?? 300_000)
    if (!(this.#windowMs > 0)) {
      throw new UsageError(
        `registry: a window of ${String(options.window)} holds nothing; give a duration such as '5m'`,
      )
    }
    this.#warn = sink(onWarning)
    this.#recorder = new Recorder({
      onFrame: () => {},
      warn: this.#warn,
      maxSeries,
      clock,
      random: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      reader: {
        check: (type, name) => this.#check(type, name),
        added: (handle, key) => {
          const tally = this.#tally(handle.type, key)
          tally.handles.push(handle)
          this.#ofHandle.set(handle, tally)
        },
        turn: () => this.#turn(),
        cleared: (handle) => this.#cleared(handle),
      },
    })
    this.dropped = this.#recorder.dropped
    const nowMs = this.#recorder.clock()
    this.#span = { sinceMs: nowMs, nowMs }
  }

  /** Series held, those of other processes included. */
  get size(): number {
    return this.#tallies.size
  }

  /**
   * A counter; the same handle for the same name, source, tags and level, as with all instruments.
   *
   * @throws InvalidMeasurementError when no series may be called so
   * @throws UsageError when an instrument of another type has that name
   */
  counter<Tag extends string = string>(name = 'default_counter', options?: InstrumentOptions<Level>): Counter<Tag> {
    return this.#handle('counter', name, options) as Counter<Tag>
  }

  /** A meter. @throws as {@link counter} */
  meter<Tag extends string = string>(name = 'default', options?: InstrumentOptions<Level>): Meter<Tag> {
    return this.#handle('meter', name, options) as Meter<Tag>
  }

  /** A timer. @throws as {@link counter} */
  timer<Tag extends string = string>(name = 'default_timer', options?: InstrumentOptions<Level>): Timer<Tag> {
    return this.#handle('timer', name, options) as Timer<Tag>
  }

  /** A histogram. @throws as {@link counter} */
  histogram<Tag extends string = string>(name = 'default', options?: InstrumentOptions<Level>): Histogram<Tag> {
    return this.#handle('histogram', name, options) as Histogram<Tag>
  }

  /** A counter of distinct members. @throws as {@link counter} */
  unique<Tag extends string = string>(name = 'default', options?: InstrumentOptions<Level>): Unique<Tag> {
    return this.#handle('set', name, options) as Unique<Tag>
  }

  /**
   * A gauge that is set, or one that reads its value whenever somebody looks: `gauge('heap', () => heapUsed())`.
   *
   * @throws as {@link counter}, and UsageError when it combines otherwise already
   */
  gauge<Tag extends string = string>(
    name = 'default',
    options: RegistryGaugeOptions<Level> | (() => number) = {},
  ): Gauge<Tag> {
    const { read, combine, ...rest } = typeof options === 'function' ? { read: options } : options
    const gauge = this.#handle('gauge', name, rest, combine) as Gauge<Tag>
    if (read !== undefined) gauge.observe(read)
    return gauge
  }

  /**
   * The numbers of all series, nested as {@link StatsTree} says.
   *
   * @typeParam Shape - what the caller knows of its names, such as `{ my: { timer: TimerStats } }`; nothing checks it
   */
  getStats<Shape extends object = StatsTree>(): Shape {
    return atOnce(this.#build()) as object as Shape
  }

  /** {@link getStats} that lets the event loop breathe, for thousands of series. */
  async getStatsAsync<Shape extends object = StatsTree>(): Promise<Shape> {
    return (await paced(this.#build())) as object as Shape
  }

  /** The numbers of each series, those of one name together, each as of when it is asked for. */
  *series(): Generator<SeriesStats> {
    this.tick()
    for (const { tallies } of this.#names.values()) {
      for (const tally of tallies) yield tally.stats(this.#recorder.clock())
    }
  }

  /** The numbers of an instrument's own series. */
  statsOf<I extends Instrument>(instrument: I): StatsOf[I['type']] {
    this.tick()
    const tally = this.#ofHandle.get(instrument)
    if (tally === undefined) {
      throw new UsageError(`registry: ${JSON.stringify(instrument.name)} is no instrument of it, or was removed`)
    }
    return tally.read(this.#recorder.clock()) as StatsOf[I['type']]
  }

  /**
   * Forgets all series of a name, whatever their tags. What a client publishes goes out first. Handles on them that are
   * still held record into nothing from then on: ask for new ones.
   *
   * @returns whether there were any
   */
  remove(name: string): boolean {
    const known = this.#names.get(name)
    if (known === undefined) return false
    this.#outlet?.seal()
    this.#recorder.forget((handle) => handle.name === name)
    for (const tally of known.tallies) {
      this.#tallies.delete(tally.id)
      for (const handle of tally.handles) this.#ofHandle.delete(handle)
    }
    this.#names.delete(name)
    this.#byDepth = undefined
    return true
  }

  /** {@link remove} of everything. */
  clear(): void {
    this.#outlet?.seal()
    this.#recorder.forget(() => true)
    this.#tallies.clear()
    this.#ofHandle.clear()
    this.#names.clear()
    this.#byDepth = undefined
  }

  /**
   * Takes up what was recorded since the last time, and moves rates and windows on. It happens by itself, every 5 s and when
   * somebody looks; where a client publishes the registry, when the client makes frames.
   */
  tick(): void {
    if (this.#outlet === undefined) this.#recorder.collect()
  }

  /**
   * Adds what another process published. Whether a frame is a repeat is for the caller to know.
   *
   * @returns entries left out, because they are of another type than what has that name here
   */
  takeIn(frame: Frame): number {
    const nowMs = this.#recorder.clock()
    const span = { sinceMs: nowMs - frame.spanMs, nowMs }
    let left = 0
    for (const { series, aggregate } of frame.entries) {
      const { type, name } = series
      const known = this.#names.get(nameId(type, name))
      if (known !== undefined && known.type !== type) {
        left++
        continue
      }
      const key = seriesKey(name, series.source, series.tags)
      const isNew = !this.#tallies.has(`${type}\0${key}`)
      const kept = isNew && this.#tallies.size >= this.#maxSeries ? seriesKey(OVERFLOW, DEFAULT_SOURCE) : key
      this.#tally(type, kept).merge(aggregate, span, frame)
    }
    return left
  }

  /** Drops what only counts while its process lives: its part of gauges that are combined. */
  forget(publisher: string): void {
    for (const tally of this.#tallies.values()) tally.forget(publisher)
  }

  /** @internal Writes all that is known, for one that takes this one's place: number varint, of each series its id and numbers. */
  encode(writer: Writer): void {
    this.tick()
    writer.varint(this.#tallies.size)
    for (const tally of this.#tallies.values()) {
      writer.text(tally.id)
      tally.encode(writer)
    }
  }

  /** @internal Takes over what {@link encode} wrote, by a clock that goes on. */
  restore(reader: Reader): void {
    for (let left = reader.varint(); left > 0; left--) {
      const id = reader.text()
      const at = id.indexOf('\0')
      this.#tally(id.slice(0, at) as Type, id.slice(at + 1)).restore(reader)
    }
  }

  /** @internal Has a client, or whatever else makes use of frames, publish what is recorded. */
  publishTo(outlet: Outlet & { seal(): void }): Recorder {
    if (this.#outlet !== undefined) {
      throw new UsageError('registry: a client publishes it already; close that one first, or use another registry')
    }
    const warn: WarningSink = (warning) => {
      this.#warn(warning)
      outlet.warn(warning)
    }
    this.#recorder.publishTo({ ...outlet, warn })
    this.#outlet = outlet
    return this.#recorder
  }

  /** @internal The opposite of {@link publishTo}. */
  release(): void {
    this.#outlet = undefined
    this.#recorder.unpublish()
  }

  #handle(type: Type, name: string, options: InstrumentOptions<Level> = {}, combine: Combine = 'last'): Handles[Type] {
    const { level, source, tags } = this.defaults
    return this.#recorder.handle(type, {
      name,
      level: options.level ?? level,
      source: options.source ?? source,
      tags: options.tags === undefined ? tags : { ...tags, ...options.tags },
      allowTags: options.allowTags,
      combine,
    })
  }

  #check(type: Type, name: string): void {
    const known = this.#names.get(nameId(type, name))
    if (known === undefined || known.type === type) return
    throw new UsageError(
      `registry: ${JSON.stringify(name)} is a ${called(known.type)} already and cannot be a ${called(type)} too; ` +
        'use another name for one of them',
    )
  }

  #tally(type: Type, key: string): Tally {
    const id = `${type}\0${key}`
    const known = this.#tallies.get(id)
    if (known !== undefined) return known
    if (!this.#isTicking) {
      this.#isTicking = true
      keepTicking(new WeakRef(this))
    }
    const series = parseKey(type, key)
    const plain = key.slice(series.name.length) === this.#plainSuffix
    const tally = createTally(id, series, plain, this.#windowMs, this.#recorder.clock())
    this.#tallies.set(id, tally)
    const nameKey = nameId(type, series.name)
    const name = this.#names.get(nameKey)
    if (name !== undefined) name.tallies.push(tally)
    else {
      this.#names.set(nameKey, { type, path: nameKey.split('.'), tallies: [tally] })
      this.#byDepth = undefined
    }
    return tally
  }

  #turn(): void {
    this.#span = { sinceMs: this.#span.nowMs, nowMs: this.#recorder.clock() }
  }

  #cleared(handle: Instrument): void {
    this.#ofHandle.get(handle)?.take(handle.recorded, this.#span)
  }

  *#build(): Generator<void, StatsTree> {
    this.tick()
    const builder = new TreeBuilder()
    this.#byDepth ??= [...this.#names.values()].sort((left, right) => left.path.length - right.path.length)
    for (const { path, tallies } of this.#byDepth) {
      const node = builder.at(path)
      for (const tally of tallies) {
        put(node, tally.stats(this.#recorder.clock()), tally.plain)
        yield
      }
    }
    return builder.root
  }
}

/** Names of instruments are of one type, but for that of the series that takes what is too much. */
function nameId(type: Type, name: string): string {
  return name === OVERFLOW ? `${name}.${type}` : name
}

function called(type: Type): string {
  return type === 'set' ? 'unique' : type
}

// what runs on Node has it, and Workers that are compatible with Node
function env(name: string): string | undefined {
  return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name]
}

/** A sink that never throws, whatever the program's does. */
function sink(onWarning: WarningSink | undefined): WarningSink {
  return (warning) => {
    try {
      onWarning?.(warning)
    } catch {
      // recording must not suffer from a listener's error
    }
  }
}
