export interface Clock {
  /** ms since the epoch. */
  now(): number
  /** ms since some fixed point, never going back; default `now`. */
  elapsed?(): number
}

/** A clock that stands still until it is turned: for tests. */
export class ManualClock implements Clock {
  #nowMs: number

  /** @param nowMs ms since the epoch */
  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs
  }

  /** Turns the clock forward. */
  advance(ms: number): void {
    this.#nowMs += ms
  }
}
