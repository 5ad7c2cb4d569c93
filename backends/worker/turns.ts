/** How long tasks may go on before the loop has its round; there are as many as there are shards. */
const SLICE_MS = 50

/** Tasks that a loop does between two of its rounds, one after the other. */
export class Turns {
  readonly #wake: () => void
  #waiting: { readonly run: () => Promise<void>; readonly refuse: (error: Error) => void }[] = []
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

  /** Does what waits, for a while. For the loop. */
  async run(): Promise<void> {
    const end = performance.now() + SLICE_MS
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await next.run()
      if (performance.now() > end) break
    }
    if (this.#waiting.length > 0) this.#wake()
  }

  /** Refuses what waits, and all that comes. */
  end(error: Error): void {
    this.#ended ??= error
    for (const { refuse } of this.#waiting.splice(0)) refuse(this.#ended)
  }
}
