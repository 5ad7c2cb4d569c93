import { Summed } from './summed.ts'

/** Marks events whose rate matters: a worker keeps exponentially weighted rates over 1, 5 and 15 minutes. */
export class Meter<Tag extends string = string> extends Summed<Tag> {
  readonly type = 'meter'

  /** Marks a finite number of events, 1 unless given. */
  mark(count = 1): void {
    this.add(count)
  }
}
