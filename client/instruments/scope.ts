/** Counts once when its block ends, unless cancelled. */
export interface CountScope extends Disposable {
  /** Counts now; later calls do nothing. */
  stop(): void
  /** Never counts. */
  cancel(): void
}

/** A running clock that records once when it is stopped or its block ends, unless cancelled. */
export interface TimeScope extends Disposable {
  /** Records the time since the start and returns it in seconds; later calls return the same and record nothing. */
  stop(): number
  /** Records nothing, ever. */
  cancel(): void
}

/** What ends once, recording what it came to or not. */
export class Scope implements CountScope, TimeScope {
  readonly #end: (isRecorded: boolean) => number
  #result: number | undefined

  /** @param end answers what it came to, and records that when told to */
  constructor(end: (isRecorded: boolean) => number) {
    this.#end = end
  }

  stop(): number {
    return (this.#result ??= this.#end(true))
  }

  cancel(): void {
    this.#result ??= this.#end(false)
  }

  [Symbol.dispose](): void {
    this.stop()
  }
}
