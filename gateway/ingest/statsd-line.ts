import { mix32 } from '../../client/wire/hash.ts'
import { TYPE_CODE } from '../../client/wire/series.ts'
import { AHEAD } from './json.ts'
import type { BadLines, Fault } from './statsd-faults.ts'
import { parseDecimal } from '../../client/wire/decimal.ts'
import {
  AT,
  COLON,
  HASH,
  LETTER_T,
  LINE_FEED,
  MINUS,
  PIPE,
  PLUS,
  UNDERSCORE,
  ZERO,
  findByte,
  findByteWithin,
  isBlank,
  rateOf,
  typeOf,
} from './statsd-bytes.ts'
import { NOT_PLAIN, PlainLines } from './statsd-plain.ts'
import type { StatsdSeries } from './statsd-series.ts'
import { type LineIdentity, hashWords } from './statsd-table.ts'

/** Bytes of a line at the most, and of what is read at once. */
const ROOM = 65_535
/** Bytes at the most of the fields of a line with several values and types, all times that they are read. */
const MAX_COPIED = 1 << 20
/** Digits of a timestamp at the most. */
const MAX_DIGITS = 12

const { counter: COUNTER, meter: METER, gauge: GAUGE, timer: TIMER, set: SET } = TYPE_CODE

export interface StatsdLinesOptions {
  readonly series: StatsdSeries
  readonly bad: BadLines
  /** ms since the epoch. */
  readonly now: () => number
  /** Where the hash of names starts: random, so that it is hard to choose names that collide. */
  readonly seed: number
}

/** The line at hand: where its parts are, and what holds for all its values. */
class Line implements LineIdentity {
  name = 0
  nameEnd = 0
  tags = 0
  tagsEnd = 0
  type = 0
  hash = 0
  end = 0
  /** 1 / sample rate. */
  weight = 1
  /** ms since the epoch, or -1. */
  timeMs = -1
  /** The record of its series, once it was looked for. */
  record = 0
}

/**
 * Reads lines of StatsD and DogStatsD, byte by byte and without a text of any but those that name a new series, and
 * records what they say.
 *
 * ```text
 *  name:value|type|@rate|#key:value,word|T1700000000|c:container     and any other field behind the type
 *  name:value:value|type|...                                         several values, of DogStatsD
 *  name:value|type|@rate:value|type|#...                             several values with their types, of statsd
 * ```
 */
export class StatsdLines {
  /** Lines that are not empty. */
  lines = 0
  /** Values taken. */
  metrics = 0
  events = 0
  checks = 0
  readonly #series: StatsdSeries
  readonly #bad: BadLines
  readonly #clock: () => number
  readonly #seed: number
  readonly #line = new Line()
  // lines are read here; behind them is room to take one apart
  readonly #bytes = new Uint8Array(2 * (ROOM + 4))
  readonly #view = new DataView(this.#bytes.buffer)
  readonly #plain: PlainLines
  // read once a piece, if at all
  #nowMs = 0

  constructor({ series, bad, now, seed }: StatsdLinesOptions) {
    this.#series = series
    this.#bad = bad
    this.#clock = now
    this.#seed = seed
    this.#plain = new PlainLines({ series, bytes: this.#bytes, seed, now: () => this.#now() })
  }

  /** Takes lines separated by line breaks; the last need not end with one. */
  take(bytes: Uint8Array, start: number, end: number): void {
    let from = start
    while (end - from > ROOM) {
      const cut = bytes.lastIndexOf(LINE_FEED, from + ROOM)
      if (cut >= from) {
        this.#takePiece(bytes.subarray(from, cut))
        from = cut + 1
        continue
      }
      this.lines++
      const next = bytes.indexOf(LINE_FEED, from + ROOM + 1)
      const lineEnd = next < 0 || next > end ? end : next
      this.#bad.add('length', bytes, from, lineEnd)
      from = lineEnd + 1
    }
    if (from < end) this.#takePiece(from === 0 && end === bytes.length ? bytes : bytes.subarray(from, end))
  }

  #takePiece(piece: Uint8Array): void {
    const bytes = this.#bytes
    const view = this.#view
    const end = piece.length
    bytes.set(piece)
    // the search for the last line's end needs one too
    bytes[end] = LINE_FEED
    this.#nowMs = 0
    let at = 0
    while (at < end) {
      const plainEnd = this.#plain.take(at, end)
      if (plainEnd !== NOT_PLAIN) {
        this.lines++
        this.metrics++
        at = plainEnd + 1
        continue
      }
      const next = findByte(view, at, LINE_FEED)
      let lineEnd = next
      while (lineEnd > at && isBlank(bytes[lineEnd - 1] as number)) lineEnd--
      if (lineEnd > at) {
        this.lines++
        this.#read(at, lineEnd)
      }
      at = next + 1
    }
  }

  #read(start: number, end: number): void {
    const bytes = this.#bytes
    const view = this.#view
    const line = this.#line
    line.name = start
    line.end = end
    if (bytes[start] === UNDERSCORE && this.#isOther(start, end)) return
    const nameEnd = findByteWithin(view, start, end, COLON)
    let at = nameEnd + 1
    const value = at
    let packed = false
    for (; at < end; at++) {
      const byte = bytes[at] as number
      if (byte === PIPE) break
      if (byte === COLON) packed = true
    }
    if (at >= end || nameEnd === start) return this.#refuse('format')
    const valueEnd = at
    const typeStart = ++at
    while (at < end && bytes[at] !== PIPE && bytes[at] !== COLON) at++
    const ratesEnd = this.#skipRates(at, end)
    if (ratesEnd < end && bytes[ratesEnd] === COLON) return this.#readSeveral(start, nameEnd, end)
    const type = typeOf(bytes, typeStart, at)
    if (type === 0) return this.#refuse('type')
    line.nameEnd = nameEnd
    line.type = type
    line.tags = line.tagsEnd = 0
    line.weight = 1
    line.timeMs = -1
    line.record = 0
    if (at < end && !this.#readFields(at, end)) return
    let hash = hashWords(view, start, nameEnd, this.#seed)
    if (line.tags < line.tagsEnd) hash = hashWords(view, line.tags, line.tagsEnd, hash)
    line.hash = mix32(hash) | 0
    if (type === SET) this.#takeMember(value, valueEnd)
    else if (packed) this.#takePacked(value, valueEnd)
    else this.#takeValue(value, valueEnd)
  }

  /** Where sample rates end that follow a type: what begins there with a colon is a further value of statsd's. */
  #skipRates(start: number, end: number): number {
    const bytes = this.#bytes
    let at = start
    while (at + 1 < end && bytes[at] === PIPE && bytes[at + 1] === AT) {
      at++
      while (at < end && bytes[at] !== PIPE && bytes[at] !== COLON) at++
    }
    return at
  }

  /** Reads what follows the type, from its `|` on. False when it is wrong. */
  #readFields(start: number, end: number): boolean {
    const bytes = this.#bytes
    const line = this.#line
    let at = start
    while (at < end) {
      const field = ++at
      const kind = at < end ? bytes[at] : PIPE
      if (kind === AT) {
        at = findByteWithin(this.#view, at, end, PIPE)
        line.weight = 1 / rateOf(bytes, field + 1, at)
        // a rate of nothing, over all or under what a double can turn round
        if (line.weight - line.weight !== 0) {
          this.#refuse('rate')
          return false
        }
        continue
      }
      if (kind !== HASH) {
        at = findByteWithin(this.#view, at, end, PIPE)
        if (kind === LETTER_T && !this.#readTime(field + 1, at)) return false
        continue
      }
      line.tags = ++at
      at = findByteWithin(this.#view, at, end, PIPE)
      line.tagsEnd = at
    }
    return true
  }

  #readTime(start: number, end: number): boolean {
    const bytes = this.#bytes
    const line = this.#line
    let seconds = 0
    for (let at = start; at < end; at++) {
      const digit = (bytes[at] as number) - ZERO
      seconds = digit >= 0 && digit <= 9 ? seconds * 10 + digit : Number.NaN
    }
    line.timeMs = seconds * 1000
    const isTime = seconds > 0 && end - start <= MAX_DIGITS
    if (isTime && (line.type !== GAUGE || line.timeMs <= this.#now() + AHEAD * 1000)) return true
    this.#refuse('timestamp')
    return false
  }

  /** Reads `name:value|type|@rate:value|type|fields` as if each value stood in a line of its own. */
  #readSeveral(start: number, nameEnd: number, end: number): void {
    const bytes = this.#bytes
    const groups: number[] = []
    let at = nameEnd
    do {
      groups.push(++at)
      at = findByteWithin(this.#view, at, end, PIPE)
      if (at < end) at++
      while (at < end && bytes[at] !== PIPE && bytes[at] !== COLON) at++
      at = this.#skipRates(at, end)
      groups.push(at)
    } while (at < end && bytes[at] === COLON)
    if ((groups.length / 2) * (end - at) > MAX_COPIED) return this.#refuse('length')
    // behind all lines that are there
    const copy = ROOM + 4
    const valuesAt = copy + nameEnd + 1 - start
    bytes.copyWithin(copy, start, nameEnd + 1)
    for (let group = 0; group < groups.length; group += 2) {
      const values = groups[group] as number
      const valuesEnd = groups[group + 1] as number
      bytes.copyWithin(valuesAt, values, valuesEnd)
      bytes.copyWithin(valuesAt + valuesEnd - values, at, end)
      this.#read(copy, valuesAt + valuesEnd - values + end - at)
    }
  }

  #takePacked(start: number, end: number): void {
    const bytes = this.#bytes
    let from = start
    for (let at = start; at <= end; at++) {
      if (at < end && bytes[at] !== COLON) continue
      if (!this.#takeValue(from, at)) return
      from = at + 1
    }
  }

  #takeMember(start: number, end: number): void {
    if (start === end) return this.#refuse('value')
    const record = this.#record()
    if (record === 0) return
    this.#series.join(record, this.#bytes, start, end)
    this.metrics++
  }

  /** False when the line's series is none. */
  #takeValue(start: number, end: number): boolean {
    const { type, weight, timeMs } = this.#line
    const number = parseDecimal(this.#bytes, start, end)
    const value = type === TIMER ? number / 1000 : type === COUNTER || type === METER ? number * weight : number
    if (value - value !== 0 || (type === TIMER && value < 0)) {
      this.#refuse('value')
      return true
    }
    const record = this.#record()
    if (record === 0) return false
    if (type === GAUGE) {
      const sign = this.#bytes[start]
      const isChange = sign === PLUS || sign === MINUS
      if (!this.#series.set(record, value, isChange, timeMs, this.#now())) {
        this.#refuse('value')
        return true
      }
    } else if (type === COUNTER || type === METER) this.#series.count(record, value)
    else this.#series.sample(record, value, weight)
    this.metrics++
    return true
  }

  /** The record of the line, or 0 when its series is none. */
  #record(): number {
    const line = this.#line
    if (line.record !== 0) return line.record
    const known = this.#series.find(this.#view, line)
    if (known !== 0) return (line.record = known)
    const made = this.#series.add(this.#view, line)
    if (typeof made === 'number') return (line.record = made)
    this.#refuse(made)
    return 0
  }

  /** Whether a line is an event or a service check of DogStatsD. */
  #isOther(start: number, end: number): boolean {
    const [, second, third, fourth] = this.#bytes.subarray(start, Math.min(end, start + 4))
    if (second === 0x65 && third === 0x7b) this.events++
    else if (second === 0x73 && third === 0x63 && fourth === PIPE) this.checks++
    else return false
    return true
  }

  #refuse(fault: Fault): void {
    this.#bad.add(fault, this.#bytes, this.#line.name, this.#line.end)
  }

  #now(): number {
    return (this.#nowMs ||= this.#clock())
  }
}
