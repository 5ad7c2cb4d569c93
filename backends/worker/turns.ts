/** How long tasks may go on before the loop has its round, at the least and at the most; there are as many as there are shards. */
const SLICE_MS = 50
const LONGEST_SLICE_MS = 500

/** Tasks that a loop does between two of its rounds, one after the other. */
export class Turns {
  readonly #wake: () => void
  #waiting: { readonly run: () => Promise<void>; readonly refuse: (error: Error) => void }[] = []
  // when the loop last began a round, ms of `performance.now()`
  #roundMs = performance.now()
  #ended: Error | undefined

  /** @param wake has the loop come round */
  constructor(wake: () => void) {
    this.#wake = wake
  }

  /** Resolves with what the task answers, once the loop has done it; rejects when it ends before. */
  take<Result>(task: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended)
        return
      }
      this.#waiting.push({ run: () => task().then(resolve, reject), refuse: reject })
      this.#wake()
    })
  }

  /** Does what waits, for about as long as the loop's last round took. For the loop. */
  async run(): Promise<void> {
    const now = performance.now()
    // where the state is slow, all that is to be done would else have a small part of the time
    const end = now + Math.min(Math.max(SLICE_MS, now - this.#roundMs), LONGEST_SLICE_MS)
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await next.run()
      if (performance.now() > end) break
    }
    if (this.#waiting.length > 0) this.#wake()
    this.#roundMs = performance.now()
  }

  /** Refuses what waits, and all that comes. */
  end(error: Error): void {
    this.#ended ??= error
    for (const { refuse } of this.#waiting.splice(0)) refuse(this.#ended)
  }
}
