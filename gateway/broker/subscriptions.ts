/** Prefixes that may be subscribed at once; past it, new ones are not passed on. */
const PREFIXES = 100_000
/** Bytes of a prefix: room for any topic, and for a text line's level, type and name. */
const PREFIX_BYTES = 512

/** What subscribers asked for, and what of it goes upstream. */
export class Subscriptions {
  /** Subscriptions seen, repeated ones too. */
  seen = 0
  /** Subscriptions not passed on because there were too many prefixes, or one was too long. */
  refused = 0
  /** Messages from subscribers that are no subscription. */
  invalid = 0
  readonly #active = new Set<string>()

  /** Prefixes subscribed now. */
  get active(): number {
    return this.#active.size
  }

  /** What to send upstream, in order, for what a subscriber sent. */
  upstream(parts: readonly Uint8Array[]): readonly Uint8Array[] {
    const message = parts[0]
    const action = message?.[0]
    if (parts.length !== 1 || message === undefined || (action !== 0 && action !== 1)) {
      this.invalid++
      return []
    }
    const prefix = Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('latin1', 1)
    if (action === 0) return this.#active.delete(prefix) ? [message] : []
    this.seen++
    if (this.#active.has(prefix)) return [message, cancellation(message)]
    if (this.#active.size >= PREFIXES || prefix.length > PREFIX_BYTES) {
      this.refused++
      return []
    }
    this.#active.add(prefix)
    return [message]
  }
}

// Of identical subscriptions an XPUB tells of each, but only of the last cancellation, while an XSUB counts both. One more
// cancellation, which goes no further than that count, lets the last one through; else publishers would never stop.
function cancellation(subscription: Uint8Array): Uint8Array {
  const bytes = Buffer.from(subscription)
  bytes[0] = 0
  return bytes
}
