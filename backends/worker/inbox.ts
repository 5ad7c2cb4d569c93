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
  // bytes that whoever waits wants to be there
  #wanted = 0
  #woken = false
  #isClosed = false
  #drained: (() => void)[] = []

  constructor(maxBytes: number = 256 << 20) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Answers what to wait for where there is no room for more. */
  put(item: Received): Promise<void> | undefined {
    this.#items.push(item)
    this.#bytes += item.bundle.length
    if (this.#bytes >= this.#wanted) this.#arrived?.()
    return this.#bytes > this.#maxBytes && !this.#isClosed
      ? new Promise((resolve) => this.#drained.push(resolve))
      : undefined
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
    const taken = this.#items.splice(0, count)
    this.#drain(taken)
    return taken
  }

  /** All that arrived of one shard. */
  takeShard(shard: number): Received[] {
    const taken: Received[] = []
    const left: Received[] = []
    for (const item of this.#items) (item.shard === shard ? taken : left).push(item)
    this.#items = left
    this.#drain(taken)
    return taken
  }

  /** Resolves when something is there, and so many bytes, when {@link wake} is called, or after `timeoutMs`. */
  async wait(timeoutMs: number, bytes: number = 0): Promise<void> {
    if (this.#items.length > 0 && this.#bytes >= bytes) return
    if (this.#woken) {
      this.#woken = false
      return
    }
    this.#wanted = bytes
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#arrived = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#arrived = undefined
    this.#woken = false
  }

  /** Has nobody wait for room any more. */
  close(): void {
    this.#isClosed = true
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  wake(): void {
    this.#woken = true
    this.#arrived?.()
  }

  #drain(taken: readonly Received[]): void {
    for (const { bundle } of taken) this.#bytes -= bundle.length
    if (this.#bytes <= this.#maxBytes) for (const resolve of this.#drained.splice(0)) resolve()
  }
}
