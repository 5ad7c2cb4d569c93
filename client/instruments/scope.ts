/** Counts once when its block ends, unless cancelled. */
export class CountScope implements Disposable {
  readonly #counter: { inc(value: number): void }
  readonly #value: number
  #done = false

  /** @internal */
  constructor(counter: { inc(value: number): void }, value: number) {
    this.#counter = counter
    this.#value = value
  }

  /** Counts now; later calls do nothing. */
  stop(): void {
    if (this.#done) return
    this.#done = true
    this.#counter.inc(this.#value)
  }

  /** Never counts. */
  cancel(): void {
    this.#done = true
  }

  [Symbol.dispose](): void {
    this.stop()
  }
}

/** A running clock that records once when it is stopped or its block ends, unless cancelled. */
export class TimeScope implements Disposable {
  readonly #timer: { record(seconds: number): void }
  readonly #clock: () => number
  readonly #startedMs: number
  #seconds: number | undefined

  /** @internal */
  constructor(timer: { record(seconds: number): void }, clock: () => number) {
    this.#timer = timer
    this.#clock = clock
    this.#startedMs = clock()
  }

  /** Records the time since the start and returns it in seconds; later calls return the same and record nothing. */
  stop(): number {
    if (this.#seconds === undefined) {
      this.#seconds = (this.#clock() - this.#startedMs) / 1000
      this.#timer.record(this.#seconds)
    }
    return this.#seconds
  }

  /** Records nothing, ever. */
  cancel(): void {
    this.#seconds ??= (this.#clock() - this.#startedMs) / 1000
  }

  [Symbol.dispose](): void {
    this.stop()
  }
}
