import type { Client } from './client.ts'
import type { Counter } from './instruments/counter.ts'
import type { Gauge } from './instruments/gauge.ts'
import type { Histogram } from './instruments/histogram.ts'
import type { Meter } from './instruments/meter.ts'
import type { Timer } from './instruments/timer.ts'
import type { Unique } from './instruments/unique.ts'
import type { Instrument } from './instruments/instrument.ts'
import { type MethodDecorator, methodDecorator } from './measure/decorator.ts'
import { type AnyFunction, type MeasureOptions, wrap } from './measure/wrap.ts'
import type { Measurement } from './measurement.ts'
import type { GaugeOptions, InstrumentOptions } from './options.ts'
import { type Defaults, withDefaults } from './registry/defaults.ts'
import type { ZibratoStats } from './stats.ts'
import type { Transport } from './transport/transport.ts'
import type { Tags, Type } from './wire/series.ts'

/** What `timeMe` takes: an instrument's options and its name. */
export interface TimeMeOptions<Level extends string = string> extends InstrumentOptions<Level>, MeasureOptions {
  /** Default `default_timer`. */
  readonly name?: string | undefined
}

/** What `countMe` takes. */
export interface CountMeOptions<Level extends string = string> extends InstrumentOptions<Level>, MeasureOptions {
  /** Default `default_counter`. */
  readonly name?: string | undefined
  /** Added per call. Default 1. */
  readonly value?: number | undefined
}

export interface ChildOptions<Level extends string = string> {
  readonly level?: Level | undefined
  readonly source?: string | undefined
  /** Added to the parent's. */
  readonly tags?: Tags | undefined
}

/**
 * Counts, times and gauges code, aggregates what was measured in place, and publishes it. Create one per program, keep the
 * handles it gives, and `close` it (or let `await using` or the exit hooks do so).
 *
 * @typeParam Level - the levels in use
 */
export class Zibrato<Level extends string = string> implements AsyncDisposable {
  readonly #client: Client
  readonly #defaults: Defaults

  /** @internal */
  constructor(client: Client, defaults: Defaults = client.defaults) {
    this.#client = client
    this.#defaults = defaults
  }

  /** Default level of instruments. */
  get level(): Level {
    return this.#defaults.level as Level
  }

  /** Default source of instruments. */
  get source(): string {
    return this.#defaults.source
  }

  /**
   * A counter; the same handle for the same name, source, tags and level, as with all instruments.
   *
   * @throws InvalidMeasurementError when no series may be called so
   */
  counter<Tag extends string = string>(name = 'default_counter', options?: InstrumentOptions<Level>): Counter<Tag> {
    return this.handle('counter', name, options) as Counter<Tag>
  }

  /** A gauge. @throws InvalidMeasurementError, or UsageError when it already combines otherwise */
  gauge<Tag extends string = string>(name = 'default', options?: GaugeOptions<Level>): Gauge<Tag> {
    return this.handle('gauge', name, options) as Gauge<Tag>
  }

  /** A timer. @throws InvalidMeasurementError */
  timer<Tag extends string = string>(name = 'default_timer', options?: InstrumentOptions<Level>): Timer<Tag> {
    return this.handle('timer', name, options) as Timer<Tag>
  }

  /** A histogram. @throws InvalidMeasurementError */
  histogram<Tag extends string = string>(name = 'default', options?: InstrumentOptions<Level>): Histogram<Tag> {
    return this.handle('histogram', name, options) as Histogram<Tag>
  }

  /** A meter. @throws InvalidMeasurementError */
  meter<Tag extends string = string>(name = 'default', options?: InstrumentOptions<Level>): Meter<Tag> {
    return this.handle('meter', name, options) as Meter<Tag>
  }

  /** A counter of distinct members. @throws InvalidMeasurementError */
  unique<Tag extends string = string>(name = 'default', options?: InstrumentOptions<Level>): Unique<Tag> {
    return this.handle('set', name, options) as Unique<Tag>
  }

  /**
   * Records one measurement, looking its handle up. Never throws: what is invalid is dropped, counted and said once.
   *
   * @returns whether it was taken
   */
  record(measurement: Measurement<Level>): boolean {
    return this.#client.recorder.record(measurement, this.#defaults) === undefined
  }

  /** A decorator that times every call of a method; the counterpart of Python's `time_me`. */
  timeMe(options: TimeMeOptions<Level> = {}): MethodDecorator {
    const timer = this.timer(options.name, options)
    return methodDecorator('timeMe', (method) => timer.wrap(method, options))
  }

  /** A decorator that counts every call of a method; the counterpart of Python's `count_me`. */
  countMe(options: CountMeOptions<Level> = {}): MethodDecorator {
    return methodDecorator('countMe', (method) => this.wrapCounted(method, options))
  }

  /** A function like `fn` whose calls are counted once they end. */
  wrapCounted<Fn extends AnyFunction>(fn: Fn, options: CountMeOptions<Level> = {}): Fn {
    const counter = this.counter(options.name, options)
    return wrap<Fn, Counter>(fn, counter, options, () => (to) => to.inc(options.value))
  }

  /** The same client with other defaults; it shares everything else, and closing it only flushes. */
  child(options: ChildOptions<Level>): Zibrato<Level> {
    return new Zibrato<Level>(...this.inherit(options))
  }

  /**
   * Makes frames of what was recorded and waits, up to `timeoutMs` (default `closeTimeout`), until they have gone out. What
   * has not is kept. Never rejects.
   */
  flush(timeoutMs?: number): Promise<void> {
    return this.#client.flush(timeoutMs)
  }

  /** Flushes and lets go of connections and timers. Idempotent; never rejects. */
  close(): Promise<void> {
    return this.#defaults === this.#client.defaults ? this.#client.close() : this.#client.flush()
  }

  /** Whether what is flushed now is likely to go out now. */
  connected(): boolean {
    return this.#client.transport.connected()
  }

  /** @internal What carries its frames. */
  get transport(): Transport {
    return this.#client.transport
  }

  /** Figures since the start. */
  stats(): ZibratoStats {
    return this.#client.stats()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal What a child of the same runtime's class is made of. */
  protected inherit(options: ChildOptions<Level>): [Client, Defaults] {
    return [this.#client, withDefaults(options, this.#defaults)]
  }

  /** @internal */
  protected handle(type: Type, name: string, options: GaugeOptions<Level> = {}): Instrument {
    const { level, source, tags } = withDefaults(options, this.#defaults)
    const { allowTags, combine = 'last' } = options
    return this.#client.recorder.handle(type, { name, level, source, tags, allowTags, combine })
  }
}
