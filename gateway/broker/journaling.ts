import { timingSafeEqual } from 'node:crypto'
import { eachFrame } from '../../client/wire/bundle.ts'
import type { Journal } from '../journal/journal.ts'
import { JournalQueue } from '../journal/queue.ts'

/**
 * How long what was received may wait to be written before no more is, and the broker falls silent. Publishers then take it
 * for dead 6 s after its last word, while they still have all that it was sent in the 15 s before.
 */
const BLOCKED_MS = 5_000
/** Bytes that may wait to be written. */
const HELD_BYTES = 64 << 20
const LOOK_MS = 20
/** How long stopping waits for what was received to be written. */
const STOP_MS = 5_000

/** Figures of a broker that writes a journal. */
export interface JournalingStats {
  /** Messages whose mark was not the journal's: they were written as any other. */
  readonly clearedMarks: number
  /** Messages that came with the journal's mark, and so were in it already. */
  readonly marked: number
  /** Bytes received and not written yet. */
  readonly heldBytes: number
  /** Bundles whose end could not be read. What stood before it was written. */
  readonly broken: number
}

/** What a broker has to do so that all that publishers send it directly is in the journal before they forget it. */
export class Journaling {
  readonly #journal: Journal
  readonly #queue: JournalQueue
  readonly #waiting: (() => void)[] = []
  #looking: ReturnType<typeof setInterval> | undefined
  #put = 0
  #written = 0
  #whenWritten: { readonly put: number; readonly call: () => void }[] = []
  #clearedMarks = 0
  #marked = 0
  #broken = 0

  constructor(journal: Journal) {
    this.#journal = journal
    this.#queue = new JournalQueue(journal)
  }

  /** Whether nothing more may be received, and nothing said to publishers. */
  get isBlocked(): boolean {
    // before it was ever reached its marks are not known
    return this.#queue.bytes > HELD_BYTES || this.#queue.waitedMs > BLOCKED_MS || this.#journal.token === undefined
  }

  /** Whether so much is held that nothing more may be received. */
  get isFull(): boolean {
    return this.#queue.bytes > HELD_BYTES
  }

  /** Resolves once it is not blocked, or {@link stop} was called. */
  unblocked(): Promise<void> {
    if (!this.isBlocked) return Promise.resolve()
    this.#looking ??= setInterval(() => {
      if (!this.isBlocked) this.#release()
    }, LOOK_MS)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Whether the third part of a message says that it is in the journal. */
  isMark(mark: Uint8Array): boolean {
    const { token } = this.#journal
    const known = token === undefined ? undefined : Buffer.from(token)
    if (known !== undefined && known.length === mark.length && timingSafeEqual(known, mark)) {
      this.#marked++
      return true
    }
    this.#clearedMarks++
    return false
  }

  /** Takes a bundle to be written. */
  take(shard: number, bundle: Uint8Array): void {
    const whole = this.#whole(bundle)
    if (whole.length === 0) return
    this.#put++
    this.#queue.put([{ shard, bundle: whole }], () => this.#count())
  }

  /** Calls back once all that was taken before is written. */
  written(call: () => void): void {
    if (this.#written === this.#put) call()
    else this.#whenWritten.push({ put: this.#put, call })
  }

  stats(): JournalingStats {
    return {
      clearedMarks: this.#clearedMarks,
      marked: this.#marked,
      heldBytes: this.#queue.bytes,
      broken: this.#broken,
    }
  }

  /** Writes what was taken, for a while. Answers how many bytes were given up. */
  stop(): Promise<number> {
    const stopped = this.#queue.close(STOP_MS)
    this.#release()
    return stopped
  }

  #release(): void {
    clearInterval(this.#looking)
    this.#looking = undefined
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #count(): void {
    this.#written++
    while (this.#whenWritten[0] !== undefined && this.#whenWritten[0].put <= this.#written) {
      this.#whenWritten.shift()?.call()
    }
  }

  /** What of a bundle can be read: what other bundles are joined to must not swallow them. */
  #whole(bundle: Uint8Array): Uint8Array {
    let whole = 0
    try {
      eachFrame(bundle, (_, end) => (whole = end))
    } catch {
      this.#broken++
    }
    return bundle.subarray(0, whole)
  }
}

/** The shard of a topic that was checked. */
export function shardOf(topic: Uint8Array): number {
  return Number.parseInt(String.fromCharCode(topic[1] as number, topic[2] as number), 16)
}
