import type { Writable } from 'node:stream'

/** Characters that may wait for a reader who does not keep up. */
const WAITING = 4 << 20

/** Prints lines to a reader who may be slow, which makes it leave lines out, or go away. */
export class Printer {
  /** Lines left out. */
  skipped = 0
  /** Resolves when nobody reads any more. */
  readonly gone: Promise<void>
  readonly #output: Writable

  constructor(output: Writable) {
    this.#output = output
    this.gone = new Promise((resolve) => output.once('error', () => resolve()))
    output.on('error', () => {})
  }

  print(line: string): void {
    if (this.#output.writableLength > WAITING) this.skipped++
    else this.#output.write(`${line}\n`)
  }
}
