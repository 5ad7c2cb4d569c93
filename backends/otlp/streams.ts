/** A stream that comes back after this long begins anew, as its totals in the worker do. */
const FORGOTTEN_SECONDS = 86_400
/** Where room is needed, a stream that was silent for this long makes it. */
const IDLE_SECONDS = 600

export interface Stream<State> {
  /** When its counting began, seconds since the epoch. */
  readonly start: number
  /** The end of the last window that is in it. */
  readonly end: number
  readonly state: State
}

/**
 * Running totals by series, as cumulative points need them. Of those that are too many nothing is kept, so that each of
 * their points starts with its window: true all the same, as when a counting program restarts.
 */
export class Streams<State> {
  readonly #limit: number
  // in the order in which they were last updated
  readonly #streams = new Map<string, Stream<State>>()

  /** @param limit how many are kept */
  constructor(limit: number) {
    this.#limit = limit
  }

  get(key: string): Stream<State> | undefined {
    return this.#streams.get(key)
  }

  /** Keeps a stream in place of the one before, if there is room. */
  set(key: string, stream: Stream<State>): void {
    if (!this.#streams.delete(key)) this.#makeRoom(stream.end)
    if (this.#streams.size < this.#limit) this.#streams.set(key, stream)
  }

  #makeRoom(now: number): void {
    for (const [key, { end }] of this.#streams) {
      const idle = now - end
      if (idle <= (this.#streams.size < this.#limit ? FORGOTTEN_SECONDS : IDLE_SECONDS)) return
      this.#streams.delete(key)
    }
  }
}
