import type { FrameEncoder } from '../wire/frame.ts'
import { TYPE_CODE } from '../wire/series.ts'
import { Instrument } from './instrument.ts'
import { CountScope } from './scope.ts'

/** Counts events: what matters is the sum over each window, and the running total. */
export class Counter<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'counter'
  #sum = 0

  /** Adds a finite number, 1 unless given. */
  inc(value = 1): void {
    if (typeof value !== 'number' || value - value !== 0) {
      this.refuse(value)
      return
    }
    this.#sum += value
    this.touch()
  }

  /** Subtracts a finite number, 1 unless given. */
  dec(value = 1): void {
    // a text would turn into a number
    this.inc(typeof value === 'number' ? -value : value)
  }

  /** Counts when the block ends: `using _ = orders.scope(2)`. */
  scope(value = 1): CountScope {
    return new CountScope(this, value)
  }

  /** @internal */
  take(value: number | string, weight: number): void {
    this.inc((value as number) * weight)
  }

  /** @internal */
  drain(encoder: FrameEncoder): void {
    encoder.entry(TYPE_CODE.counter, this.key).finite(this.#sum)
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
