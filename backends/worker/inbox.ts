/** A bundle received and not yet in the log. */
export interface Received {
  readonly shard: number
  readonly bundle: Uint8Array
}

/** Bundles between a source and the log: bounded in bytes, so that a slow disk slows the source down. */
export class Inbox {
  readonly #maxBytes: number
  #items: Received[] = []
  #bytes = 0
  #arrived: (() => void) | undefined
  #drained: (() => void)[] = []

  constructor(maxBytes: number = 256 << 20) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Resolves when there is room for more. */
  async put(item: Received): Promise<void> {
    this.#items.push(item)
    this.#bytes += item.bundle.length
    this.#arrived?.()
    if (this.#bytes > this.#maxBytes) await new Promise<void>((resolve) => this.#drained.push(resolve))
  }

  /** Up to `maxBytes` of what arrived first. */
  take(maxBytes: number): Received[] {
    let bytes = 0
    let count = 0
    for (const { bundle } of this.#items) {
      if (count > 0 && bytes + bundle.length > maxBytes) break
      bytes += bundle.length
      count++
    }
    this.#bytes -= bytes
    if (this.#bytes <= this.#maxBytes) for (const resolve of this.#drained.splice(0)) resolve()
    return this.#items.splice(0, count)
  }

  /** Resolves when something is there, when {@link wake} is called, or after `timeoutMs`. */
  async wait(timeoutMs: number): Promise<void> {
    if (this.#items.length > 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#arrived = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#arrived = undefined
  }

  wake(): void {
    this.#arrived?.()
  }
}
