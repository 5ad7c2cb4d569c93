import { measured } from '../measure/measured.ts'
import { type MeasureOptions, wrap } from '../measure/wrap.ts'
import { Sampled } from './sampled.ts'
import { Scope, type TimeScope } from './scope.ts'

/** Durations: count, sum, extremes and percentiles of each window. Seconds everywhere. */
export class Timer<Tag extends string = string> extends Sampled<Tag> {
  readonly type = 'timer'

  /** Records a finite number of milliseconds. */
  recordMs(milliseconds: number): void {
    // divided, a text would be a number
    if (this.isFit(milliseconds)) this.record(milliseconds / 1000)
  }

  /** Starts a clock: `using _ = db.start()` records when the block ends. */
  start(): TimeScope {
    const { clock } = this.recorder
    const startedMs = clock()
    return new Scope((isRecorded) => {
      const seconds = (clock() - startedMs) / 1000
      if (isRecorded) this.record(seconds)
      return seconds
    })
  }

  /** Calls `body`, records how long it took, also when it throws or rejects, and returns what it returned. */
  time<Result>(body: () => Result): Result {
    const running = this.start()
    return measured(body, () => running.stop())
  }

  /** A function like `fn` (same `this`, name, length, result and errors) of which every call is timed. */
  wrap<Fn extends (...args: never[]) => unknown>(fn: Fn, options: MeasureOptions = {}): Fn {
    const { clock } = this.recorder
    return wrap<Fn, Timer>(fn, this, options, () => {
      const startedMs = clock()
      return (timer) => timer.recordMs(clock() - startedMs)
    })
  }
}
