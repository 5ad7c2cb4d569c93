import { describe } from '../describe.ts'
import { UsageError } from '../errors.ts'
import { COMBINES, type Combine } from '../sketch/combine.ts'
import { Readings, encodeRepeat } from '../sketch/readings.ts'
import type { FrameEncoder } from '../wire/frame.ts'
import { type EncodedKey, TYPE_CODE } from '../wire/series.ts'
import { type Identity, Instrument, type Registrar } from './instrument.ts'

/**
 * A value that goes up and down. Of several publishers of one series the last reading stays, or, by `combine`, their
 * newest readings are summed, or the least or largest of them taken.
 */
export class Gauge<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'gauge'
  readonly #readings: Readings
  #observer: (() => number) | undefined
  // the newest value, for as long as this publisher lives
  #value = Number.NaN

  /** @internal @throws UsageError when there is no such way to combine */
  constructor(recorder: Registrar, identity: Identity, key: EncodedKey, combine: Combine) {
    super(recorder, identity, key)
    if (!COMBINES.includes(combine)) {
      throw new UsageError(
        `gauge ${JSON.stringify(identity.name)} cannot combine by ${describe(combine)}; use one of ${COMBINES.join(', ')}`,
      )
    }
    this.#readings = new Readings(combine)
  }

  /** How several publishers' values become one. */
  get combine(): Combine {
    return this.#readings.combine
  }

  /** Notes a finite reading, made now. */
  set(value: number): void {
    this.setAt(value, this.recorder.now())
  }

  /** Notes a finite reading made at a time, in ms since the epoch. */
  setAt(value: number, timeMs: number): void {
    if (typeof value !== 'number' || value - value !== 0 || !(timeMs >= 0 && timeMs < 8.64e15)) {
      this.refuse(value)
      return
    }
    this.#value = value
    this.#readings.set(value, Math.floor(timeMs))
    this.touch()
  }

  /**
   * Reads the value whenever a frame is made. A function that throws or answers no finite number leaves that frame's
   * reading out. A second call replaces the function.
   *
   * @returns stops the reading; of a gauge that combines, the last one is then said no more, as by a client that is gone
   */
  observe(read: () => number): () => void {
    this.#observer = read
    return () => {
      if (this.#observer !== read) return
      this.#observer = undefined
      this.#value = Number.NaN
    }
  }

  /** @internal */
  take(value: number | string, _weight: number, timeMs: number | undefined): void {
    this.setAt(value as number, timeMs ?? this.recorder.now())
  }

  /** @internal */
  override due(): boolean {
    this.observeNow()
    // the owner of the series drops a publisher that is silent, so a live one says its value again
    return this.touched || (this.combine !== 'last' && this.#value === this.#value)
  }

  /** @internal */
  drain(encoder: FrameEncoder, nowMs: number): void {
    const writer = encoder.entry(TYPE_CODE.gauge, this.key)
    if (!this.touched) {
      encodeRepeat(writer, this.combine, this.#value, Math.floor(nowMs))
      return
    }
    this.#readings.encode(writer)
    this.clear()
  }

  /** @internal */
  get recorded(): Readings {
    return this.#readings
  }

  /** @internal */
  clear(): void {
    this.#readings.clear()
    this.touched = false
  }

  /** @internal Has what is observed read now; without a function, nothing. */
  observeNow(): void {
    if (this.#observer !== undefined) this.#read(this.#observer)
  }

  #read(observer: () => number): void {
    try {
      const value = observer()
      if (typeof value !== 'number' || value - value !== 0) {
        this.refuse(value)
        return
      }
      this.#value = value
      this.#readings.set(value, Math.floor(this.recorder.now()))
      this.touched = true
    } catch (cause) {
      this.recorder.observerFailed(this.name, cause)
    }
  }
}
