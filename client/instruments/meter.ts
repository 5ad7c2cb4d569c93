import type { FrameEncoder } from '../wire/frame.ts'
import { TYPE_CODE } from '../wire/series.ts'
import { Instrument } from './instrument.ts'

/** Marks events whose rate matters: a worker keeps exponentially weighted rates over 1, 5 and 15 minutes. */
export class Meter<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'meter'
  #sum = 0

  /** Marks a finite number of events, 1 unless given. */
  mark(count = 1): void {
    if (typeof count !== 'number' || count - count !== 0) {
      this.refuse(count)
      return
    }
    this.#sum += count
    this.touch()
  }

  /** @internal */
  take(value: number | string, weight: number): void {
    this.mark((value as number) * weight)
  }

  /** @internal */
  drain(encoder: FrameEncoder): void {
    encoder.entry(TYPE_CODE.meter, this.key).finite(this.#sum)
    this.clear()
  }

  /** @internal */
  get recorded(): number {
    return this.#sum
  }

  /** @internal */
  clear(): void {
    this.#sum = 0
    this.touched = false
  }
}
