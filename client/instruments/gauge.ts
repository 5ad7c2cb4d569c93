import { describe } from '../describe.ts'
import type { GaugeReadings } from '../sketch/aggregates.ts'
import { COMBINES, type Combine, REPEATED } from '../sketch/combine.ts'
import { Instrument } from './instrument.ts'

/**
 * A value that goes up and down. Of several publishers of one series the last reading stays, or, by `combine`, their
 * newest readings are summed, or the least or largest of them taken.
 */
export class Gauge<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'gauge'
  /** @internal */
  readonly recorded: GaugeReadings = this.recorder.aggregates.readings()
  #observer: (() => number) | undefined
  // the newest value, for as long as this publisher lives
  #value = Number.NaN

  /** How several publishers' values become one. */
  get combine(): Combine {
    return this.identity.combine
  }

  /** Notes a finite reading, made now. */
  set(value: number): void {
    this.setAt(value)
  }

  /** Notes a finite reading made at a time, in ms since the epoch. Default: now. */
  setAt(value: number, timeMs: number = this.recorder.now()): void {
    // a time that makes no sense makes none of the value
    if (this.isFit(timeMs >= 0 && timeMs < 8.64e15 ? value : Number.NaN)) this.touch(this.#note(value, timeMs))
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
    this.setAt(value as number, timeMs)
  }

  /** @internal */
  override due(): boolean {
    this.observeNow()
    // the owner of the series drops a publisher that is silent, so a live one says its value again
    return this.touched || (this.combine !== 'last' && this.#value === this.#value)
  }

  /** @internal */
  drain(entry: never, nowMs: number): void {
    const flags = COMBINES.indexOf(this.combine) | (this.touched ? 0 : REPEATED)
    if (!this.touched) this.#note(this.#value, nowMs)
    this.recorded.drain(entry, flags)
  }

  /** @internal Has what is observed read now; without a function, nothing. */
  observeNow(): void {
    try {
      const value = this.#observer?.()
      if (this.#observer && this.isFit(value)) this.#note(value as number, this.recorder.now())
    } catch (cause) {
      this.recorder.reject(this.name, 'observer', new Error(`its observe() function threw: ${describe(cause)}`))
    }
  }

  #note(value: number, timeMs: number): ReturnType<GaugeReadings['add']> {
    this.#value = value
    this.touched = true
    return this.recorded.add(value, Math.floor(timeMs))
  }
}
