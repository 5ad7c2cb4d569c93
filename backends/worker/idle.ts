import { TYPES, type Type } from '../../client/wire/series.ts'

/** Types of series of which something can be said when nothing was measured. Meters decay by themselves. */
export type IdleType = Exclude<Type, 'meter'>

/**
 * For how many windows after its last one with data a series of a type is still emitted: counters and sets as 0, gauges
 * with their last value, timers and histograms with a count of 0. None when a type is not named.
 */
export type IdleWindows = Readonly<Partial<Record<IdleType, number>>>

/**
 * What becomes of series without data: `skip` leaves them out, `zero` emits counters and sets for a day more, `repeat` also
 * gauges.
 */
export type Idle = 'skip' | 'zero' | 'repeat' | IdleWindows

/** How long a series without data is remembered at least, seconds. */
const REMEMBERED_S = 86_400

/** {@link Idle} as a shard asks it. */
export class IdleRules {
  /** Whether any series is emitted without data. */
  readonly any: boolean
  // by type code, seconds
  readonly #emitted: readonly number[]
  readonly #intervalS: number

  /** @param intervalMs length of a window */
  constructor(idle: Idle, intervalMs: number) {
    this.#intervalS = intervalMs / 1000
    const windows = typeof idle === 'string' ? named(idle, REMEMBERED_S / this.#intervalS) : idle
    this.#emitted = TYPES.map((type) => (windows[type as IdleType] ?? 0) * this.#intervalS)
    this.any = this.#emitted.some((seconds) => seconds > 0)
  }

  /** Whether series of a type are emitted without data. */
  emits(type: number): boolean {
    return (this.#emitted[type] as number) > 0
  }

  /** Whether a series is emitted that was last measured so many seconds ago, both by the ends of windows. */
  isEmitted(type: number, idleS: number): boolean {
    // half a window takes up what sums of fractions lose
    return idleS < (this.#emitted[type] as number) + this.#intervalS / 2
  }

  /** Whether a series is remembered, be it that nothing is emitted. */
  isRemembered(type: number, idleS: number): boolean {
    return idleS < REMEMBERED_S || (this.emits(type) && this.isEmitted(type, idleS))
  }
}

function named(idle: 'skip' | 'zero' | 'repeat', aDay: number): IdleWindows {
  if (idle === 'skip') return {}
  return idle === 'zero' ? { counter: aDay, set: aDay } : { counter: aDay, set: aDay, gauge: aDay }
}
