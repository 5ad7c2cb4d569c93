/** Why a line, or a part of one, is not taken. */
export const FAULTS = {
  length: 'it is longer than 65,535 bytes, or has too many values with types of their own',
  format: 'it is not name:value|type',
  type: 'its type is none of c, m, g, ms, h, d and s',
  rate: 'its sample rate is not a decimal number over 0 and up to 1',
  timestamp: 'its timestamp is not in whole seconds since the epoch, or is over ten minutes ahead',
  value: 'its value is not a decimal number that a double holds, or is a time below 0',
  name: 'its name is empty, over 255 bytes, no UTF-8, or holds "|", NUL or a line break',
  tags: 'it has over 32 tags, or a tag without a key, with a key over 128 or a value over 255 bytes, no UTF-8, or with NUL or a line break',
} as const

export type Fault = keyof typeof FAULTS

/** How long to keep still after a warning. */
const QUIET_MS = 10_000
/** Bytes of a bad line that a warning shows. */
const SHOWN_BYTES = 120

const decoder = new TextDecoder()

/** Counts bad lines by reason, and tells of them now and then with one for a sample. */
export class BadLines {
  readonly counts: Record<Fault, number> = {
    length: 0,
    format: 0,
    type: 0,
    rate: 0,
    timestamp: 0,
    value: 0,
    name: 0,
    tags: 0,
  }
  total = 0
  #told = 0
  #toldMs = Number.NEGATIVE_INFINITY
  #sample: Uint8Array | undefined
  #sampleSize = 0
  #sampleFault: Fault = 'format'

  add(fault: Fault, bytes: Uint8Array, start: number, end: number): void {
    this.counts[fault]++
    this.total++
    if (this.#sample !== undefined) return
    this.#sample = bytes.slice(start, Math.min(end, start + SHOWN_BYTES))
    this.#sampleSize = end - start
    this.#sampleFault = fault
  }

  /**
   * Bad lines since the last time, in words; undefined when there were none or the last time is less than 10 s ago.
   *
   * @param last whether there will be no other time
   */
  report(nowMs: number, last: boolean): string | undefined {
    // a clock that was set back must not silence it
    const quiet = nowMs >= this.#toldMs && nowMs < this.#toldMs + QUIET_MS
    if (this.#sample === undefined || (quiet && !last)) return undefined
    const count = this.total - this.#told
    const shown = printable(decoder.decode(this.#sample)) + (this.#sampleSize > SHOWN_BYTES ? '...' : '')
    const message =
      `statsd: ${count} bad ${count === 1 ? 'line was' : 'lines were'} passed over, such as "${shown}": ` +
      FAULTS[this.#sampleFault]
    this.#told = this.total
    this.#toldMs = nowMs
    this.#sample = undefined
    return message
  }
}

/** Without what could move a cursor, turn a line round or look like something else in a log. */
function printable(text: string): string {
  return text.replaceAll(/["\\]|[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    character === '"' || character === '\\' ? `\\${character}` : `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`,
  )
}
