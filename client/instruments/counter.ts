import { type CountScope, Scope } from './scope.ts'
import { Summed } from './summed.ts'

/** Counts events: what matters is the sum over each window, and the running total. */
export class Counter<Tag extends string = string> extends Summed<Tag> {
  readonly type = 'counter'

  /** Adds a finite number, 1 unless given. */
  inc(value = 1): void {
    this.add(value)
  }

  /** Subtracts a finite number, 1 unless given. */
  dec(value = 1): void {
    // a text would turn into a number
    if (this.isFit(value)) this.add(-value)
  }

  /** Counts when the block ends: `using _ = orders.scope(2)`. */
  scope(value = 1): CountScope {
    return new Scope((isRecorded) => {
      if (isRecorded) this.inc(value)
      return value
    })
  }
}
