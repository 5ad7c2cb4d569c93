import { type Faults, type LineReader, MAX_LINE_BYTES, type StreamReader } from './reader.ts'

const LINE_FEED = 0x0a
const SMALLEST = 256

/**
 * Lines of a stream. Hands each piece on up to its last line break and keeps what follows; only lines that two pieces
 * share are copied.
 */
export class LineStream implements StreamReader {
  readonly #reader: LineReader
  readonly #faults: Faults
  /** The beginning of a line whose end has not come. */
  #rest: Uint8Array = new Uint8Array(0)
  #held = 0
  #skipping = false

  constructor(reader: LineReader, faults: Faults) {
    this.#reader = reader
    this.#faults = faults
  }

  push(bytes: Uint8Array): boolean {
    // a longer piece could hold lines over the bound that nobody would notice
    for (let offset = 0; offset < bytes.length; offset += MAX_LINE_BYTES) {
      this.#take(bytes.length <= MAX_LINE_BYTES ? bytes : bytes.subarray(offset, offset + MAX_LINE_BYTES))
    }
    return true
  }

  end(): void {
    if (this.#held > 0) this.#reader.packet(this.#rest, 0, this.#held)
    this.#forget()
  }

  cut(): void {
    if (this.#held > 0) this.#faults.cut++
    this.#forget()
  }

  #take(bytes: Uint8Array): void {
    let start = 0
    if (this.#held > 0 || this.#skipping) {
      const end = bytes.indexOf(LINE_FEED) + 1
      const head = end === 0 ? bytes.length : end
      if (!this.#skipping && this.#held + head > MAX_LINE_BYTES) this.#skip()
      if (!this.#skipping) this.#keep(bytes, 0, head)
      if (end === 0) return
      if (this.#skipping) this.#skipping = false
      else this.#reader.packet(this.#rest, 0, this.#held)
      this.#forget()
      start = end
    }
    const end = bytes.lastIndexOf(LINE_FEED) + 1
    if (end > start) this.#reader.packet(bytes, start, end)
    this.#keep(bytes, Math.max(start, end), bytes.length)
  }

  #keep(bytes: Uint8Array, start: number, end: number): void {
    if (end === start) return
    const held = this.#held + end - start
    if (held > this.#rest.length) {
      const larger = new Uint8Array(Math.min(Math.max(SMALLEST, 2 * held), MAX_LINE_BYTES))
      larger.set(this.#rest.subarray(0, this.#held))
      this.#rest = larger
    }
    this.#rest.set(bytes.subarray(start, end), this.#held)
    this.#held = held
  }

  #skip(): void {
    this.#faults.tooLong++
    this.#skipping = true
    this.#forget()
  }

  #forget(): void {
    this.#held = 0
    // a connection that sent one long line need not hold its room for good
    if (this.#rest.length > 16 * SMALLEST) this.#rest = new Uint8Array(0)
  }
}
