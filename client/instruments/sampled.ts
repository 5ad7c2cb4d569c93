import type { Samples } from '../sketch/aggregates.ts'
import { Instrument } from './instrument.ts'

/** What timers and histograms share: values of which the distribution matters. */
export abstract class Sampled<Tag extends string = string> extends Instrument<Tag> {
  abstract override readonly type: 'timer' | 'histogram'
  /** @internal */
  readonly recorded: Samples = this.recorder.aggregates.samples()

  /** Records a finite number; of a timer, seconds. */
  record(value: number): void {
    this.take(value, 1)
  }

  /** @internal */
  take(value: number | string, weight: number): void {
    if (this.isFit(value)) this.touch(this.recorded.add(value as number, weight))
  }

  /** @internal */
  drain(entry: never): void {
    this.recorded.drain(entry)
  }
}
