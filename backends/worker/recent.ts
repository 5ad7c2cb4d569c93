import type { Received } from './inbox.ts'

/** For longer than what an owner that hands a shard over may have received and not appended. */
const KEPT_MS = 3_000
/** Of one shard; what is dropped then is asked of its publishers. */
const MAX_BYTES = 8 << 20

/** What came of a shard in the last seconds. */
export class Recent {
  #items: { readonly received: Received; readonly ms: number }[] = []
  #bytes = 0

  /** Never has anybody wait: what is not this worker's must not hold up what is. */
  put(received: Received): void {
    const now = performance.now()
    this.#items.push({ received, ms: now })
    this.#bytes += received.bundle.length
    let old = 0
    for (const { received: first, ms } of this.#items) {
      if (this.#bytes <= MAX_BYTES && now - ms <= KEPT_MS) break
      this.#bytes -= first.bundle.length
      old++
    }
    this.#items.splice(0, old)
  }

  /** All of it, oldest first. */
  take(): Received[] {
    this.#bytes = 0
    return this.#items.splice(0).map(({ received }) => received)
  }
}
