import { mix32 } from '../../client/wire/hash.ts'
import { TYPE_CODE } from '../../client/wire/series.ts'
import { AT, COLON, DOT, HASH, LETTERS, LETTER_M, LETTER_S, LETTER_T, LINE_FEED, PIPE, ZERO } from './statsd-bytes.ts'
import { findByte, findByteWithin, isBlank, rateOf } from './statsd-bytes.ts'
import type { StatsdSeries } from './statsd-series.ts'
import { type LineIdentity, hashStep, hashWords } from './statsd-table.ts'

/** Bytes of a name after which it is left to the grammar in full. No valid name is longer. */
const MAX_NAME = 256
/** Digits that a 31-bit integer holds for sure. */
const MAX_DIGITS = 9

const COLONS = COLON * 0x01010101

const { counter: COUNTER, meter: METER, gauge: GAUGE, timer: TIMER, set: SET } = TYPE_CODE

/** What {@link PlainLines.take} answers for a line that is not plain. */
export const NOT_PLAIN = -1

export interface PlainLinesOptions {
  readonly series: StatsdSeries
  /** Where lines stand. */
  readonly bytes: Uint8Array
  readonly seed: number
  /** ms since the epoch. */
  readonly now: () => number
}

/**
 * A short cut through the grammar for what nearly all lines are: of a series that is known, with a whole number without a sign, and its
 * fields in the order in which clients write them.
 *
 * ```text
 *  name:digits|type|@rate|#tags|c:container     the rate, the tags and what follows these may be missing
 * ```
 *
 * It takes a line or leaves it as it is to `StatsdLines`, which alone judges lines and makes series. So it need not check names and
 * tags: those it finds in the table are good, and what it makes of a line with a fault in them is not there.
 */
export class PlainLines {
  readonly #series: StatsdSeries
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #seed: number
  readonly #now: () => number
  readonly #line = { name: 0, nameEnd: 0, tags: 0, tagsEnd: 0, type: 0, hash: 0 } satisfies LineIdentity

  constructor({ series, bytes, seed, now }: PlainLinesOptions) {
    this.#series = series
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#seed = seed
    this.#now = now
  }

  /**
   * Takes the line at `start`, if it is one of these: then it is counted with its series.
   *
   * @param end where the last line break stands
   * @returns where that of this line is, or {@link NOT_PLAIN}
   */
  take(start: number, end: number): number {
    const bytes = this.#bytes
    const view = this.#view
    const line = this.#line
    let hash = this.#seed
    let at = start
    // as hashWords does, and findByte, in one go; in a line without a colon it runs into the next, with a name that is none
    for (;;) {
      const word = view.getInt32(at, true)
      const flipped = word ^ COLONS
      const zeros = (flipped - 0x01010101) & ~flipped & 0x80808080
      if (zeros !== 0) {
        const before = 24 - Math.clz32(zeros & -zeros)
        if (before > 0) hash = hashStep(hash, word & ((1 << before) - 1))
        at += before >> 3
        break
      }
      hash = hashStep(hash, word)
      at += 4
      if (at - start > MAX_NAME) return NOT_PLAIN
    }
    // behind it stand lines of before; from here on the line break there stops all
    if (at >= end) return NOT_PLAIN
    line.name = start
    line.nameEnd = at
    const digits = ++at
    let number = 0
    for (let digit = digitAt(bytes, at); digit >= 0 && digit <= 9; digit = digitAt(bytes, ++at)) {
      number = (number * 10 + digit) | 0
    }
    if (bytes[at] !== PIPE || at === digits || at - digits > MAX_DIGITS) return NOT_PLAIN
    const letter = bytes[++at] as number
    let type = LETTERS[letter] as number
    at++
    if (letter === LETTER_M && bytes[at] === LETTER_S) {
      type = TIMER
      at++
    }
    if (type === 0 || type === SET) return NOT_PLAIN
    let weight = 1
    if (bytes[at] === PIPE && bytes[at + 1] === AT) {
      const rate = at + 2
      at = rate
      for (let digit = digitAt(bytes, at); (digit >= 0 && digit <= 9) || bytes[at] === DOT; digit = digitAt(bytes, at))
        at++
      weight = 1 / rateOf(bytes, rate, at)
    }
    line.tags = line.tagsEnd = 0
    if (bytes[at] !== LINE_FEED) {
      at = this.#readTags(at)
      if (at === NOT_PLAIN) return NOT_PLAIN
      if (line.tags < line.tagsEnd) hash = hashWords(view, line.tags, line.tagsEnd, hash)
    }
    line.type = type
    line.hash = mix32(hash) | 0
    const record = this.#series.find(view, line)
    const value = type === TIMER ? number / 1000 : type === COUNTER || type === METER ? number * weight : number
    // of a rate that is none too
    if (record === 0 || weight - weight !== 0 || value - value !== 0) return NOT_PLAIN
    if (type === COUNTER || type === METER) this.#series.count(record, value)
    else if (type === GAUGE) this.#series.set(record, value, false, -1, this.#now())
    else this.#series.sample(record, value, weight)
    return at
  }

  /** Where a line ends whose tags begin here, with nothing behind them that means something. */
  #readTags(start: number): number {
    const bytes = this.#bytes
    const line = this.#line
    if (bytes[start] !== PIPE || bytes[start + 1] !== HASH) return NOT_PLAIN
    line.tags = start + 2
    const end = findByte(this.#view, line.tags, LINE_FEED)
    line.tagsEnd = findByteWithin(this.#view, line.tags, end, PIPE)
    // blanks at the end of a line are no part of it
    if (line.tagsEnd === end) return isBlank(bytes[end - 1] as number) ? NOT_PLAIN : end
    for (let at = line.tagsEnd; at < end; at = findByteWithin(this.#view, at, end, PIPE)) {
      const kind = bytes[++at]
      if (kind === AT || kind === HASH || kind === LETTER_T) return NOT_PLAIN
    }
    return end
  }
}

/** 0 to 9, or what is none. */
function digitAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) - ZERO
}
