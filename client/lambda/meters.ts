import type { Counter } from '../instruments/counter.ts'
import type { TimeScope } from '../instruments/scope.ts'
import type { Timer } from '../instruments/timer.ts'
import type { Zibrato } from '../zibrato.ts'

/** What is measured of every invocation. */
export class Meters {
  readonly #all:
    | {
        readonly invocations: Counter
        readonly errors: Counter
        readonly coldStarts: Counter
        readonly timeouts: Counter
        readonly duration: Timer
      }
    | undefined
  #cold = true

  constructor(z: Zibrato<string>, wanted: boolean) {
    if (!wanted) return
    this.#all = {
      invocations: z.counter('lambda.invocations'),
      errors: z.counter('lambda.errors'),
      coldStarts: z.counter('lambda.cold_starts'),
      timeouts: z.counter('lambda.timeouts'),
      duration: z.timer('lambda.duration'),
    }
  }

  /** Counts an invocation that begins. */
  begin(): TimeScope | undefined {
    if (this.#all === undefined) return undefined
    this.#all.invocations.inc()
    if (this.#cold) this.#all.coldStarts.inc()
    this.#cold = false
    return this.#all.duration.start()
  }

  failed(): void {
    this.#all?.errors.inc()
  }

  timedOut(): void {
    this.#all?.timeouts.inc()
  }
}
