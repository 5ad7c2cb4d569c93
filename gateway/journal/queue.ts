import { Fifo } from '../../client/transport/fifo.ts'
import { sleep } from '../../client/sleep.ts'
import type { JournalEntry } from './batch.ts'
import type { Journal } from './journal.ts'

/** Bytes written at once. */
const WRITE_BYTES = 4 << 20
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000

interface Held {
  readonly entries: readonly JournalEntry[]
  readonly bytes: number
  /** ms of `performance.now()` */
  readonly sinceMs: number
  readonly onWritten: (() => void) | undefined
}

/** Entries that nobody else has: kept, in order, until they are in the journal, however often that takes. */
export class JournalQueue {
  readonly #journal: Journal
  readonly #held = new Fifo<Held>()
  // what is being written
  #batch: readonly Held[] = []
  #bytes = 0
  #running: Promise<void> | undefined
  #givesUpMs = Number.POSITIVE_INFINITY

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** Of what is not written. */
  get bytes(): number {
    return this.#bytes
  }

  /** How long the oldest has waited, ms; 0 when nothing waits. */
  get waitedMs(): number {
    const oldest = this.#batch[0] ?? this.#held.first
    return oldest === undefined ? 0 : performance.now() - oldest.sinceMs
  }

  /** @param onWritten called once they are in the journal */
  put(entries: readonly JournalEntry[], onWritten?: () => void): void {
    const bytes = entries.reduce((sum, { bundle }) => sum + bundle.length, 0)
    this.#bytes += bytes
    this.#held.push({ entries, bytes, sinceMs: performance.now(), onWritten })
    this.#running ??= this.#run()
  }

  /** Tries for up to `timeoutMs` to write what is there. Answers how many bytes were given up. */
  async close(timeoutMs: number): Promise<number> {
    this.#givesUpMs = performance.now() + timeoutMs
    await this.#running
    return this.#bytes
  }

  async #run(): Promise<void> {
    let pause = FIRST_PAUSE_MS
    while (this.#held.length > 0 || this.#batch.length > 0) {
      if (this.#batch.length === 0) this.#batch = this.#take()
      try {
        await this.#journal.append(this.#batch.flatMap(({ entries }) => entries))
        const written = this.#batch
        this.#batch = []
        for (const { bytes, onWritten } of written) {
          this.#bytes -= bytes
          onWritten?.()
        }
        pause = FIRST_PAUSE_MS
      } catch {
        // the journal says itself what is wrong
        if (performance.now() + pause > this.#givesUpMs) break
        await sleep(pause)
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
      }
    }
    this.#running = undefined
  }

  #take(): Held[] {
    const batch: Held[] = []
    let bytes = 0
    while (this.#held.first !== undefined && (bytes === 0 || bytes + this.#held.first.bytes <= WRITE_BYTES)) {
      const held = this.#held.shift() as Held
      bytes += held.bytes
      batch.push(held)
    }
    return batch
  }
}
