import { InvalidMeasurementError } from '../errors.ts'
import { utf8 } from './bytes.ts'
import { parseDecimal } from './decimal.ts'
import { FNV_BASIS, FNV_PRIME } from './hash.ts'
import { DEFAULT_SOURCE, LIMITS, type Type } from './series.ts'

/** What a text line can tell of. */
export type TextType = 'counter' | 'gauge' | 'timer'

/** What a text line says. */
export interface TextMeasurement {
  readonly level: string
  readonly type: TextType
  readonly name: string
  /** Finite; of a timer, seconds. */
  readonly value: number
  /** Seconds since the epoch; NaN when the line does not say. */
  readonly timestamp: number
  readonly source: string
}

/** What in a text line names its series. */
export type TextSeries = Pick<TextMeasurement, 'level' | 'type' | 'name' | 'source'>

/** Why a line is none, in words. */
export const TEXT_FAULTS = {
  parts: 'it is not level|type|name|value|timestamp|source, or over 1,024 bytes long',
  level: 'its level is empty, over 64 bytes, no UTF-8, starts with "#" or "?", or holds NUL or a line break',
  type: 'its type is nothing like counter, gauge or timer',
  name: 'its name is empty, over 255 bytes, no UTF-8, or holds NUL or a line break',
  value: 'its value is not a decimal number that a double holds',
  timestamp: 'its timestamp is not in seconds since the epoch',
  source: 'its source is over 255 bytes, no UTF-8, or holds NUL or a line break',
} as const

export type TextFault = keyof typeof TEXT_FAULTS

const BAR = 0x7c
const LINE_BYTES = 1_024
const WORDS: Readonly<Record<TextType, string>> = { counter: 'Counter', gauge: 'Gauge', timer: 'Timer' }
const TYPES: Readonly<Record<string, TextType>> = {
  counter: 'counter',
  counters: 'counter',
  gauge: 'gauge',
  gauges: 'gauge',
  timer: 'timer',
  timers: 'timer',
}
/** Letters of a type that may be wrong, missing or too many. */
const WRONG_LETTERS = 2
const LONGEST_TYPE = 'counters'.length + WRONG_LETTERS
const LATEST = 8.64e12

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Reads text lines, one after another, without making anything of them that is not asked for. */
export class TextReader {
  /** The value of the line read last. */
  value = 0
  /** Its timestamp, or NaN. */
  timestamp: number = Number.NaN
  /** A hash of what names its series. */
  hash = 0
  #line: Uint8Array = new Uint8Array(0)
  readonly #bars = new Int32Array(5)

  /** Takes a line and answers what is wrong with its form or numbers, if anything. What names its series is not looked at. */
  read(line: Uint8Array): TextFault | undefined {
    if (line.length > LINE_BYTES) return 'parts'
    this.#line = line
    const bars = this.#bars
    let count = 0
    let hash = FNV_BASIS
    for (let index = 0; index < line.length; index++) {
      const byte = line[index] as number
      if (byte === BAR) {
        if (count === 5) return 'parts'
        bars[count++] = index
      }
      // level, type and name; then, from its bar on, the source
      if (count < 3 || count === 5) hash = Math.imul(hash ^ byte, FNV_PRIME)
    }
    if (count < 5) return 'parts'
    this.hash = hash
    this.value = parseDecimal(line, (bars[2] as number) + 1, bars[3] as number)
    if (this.value - this.value !== 0) return 'value'
    const from = (bars[3] as number) + 1
    const to = bars[4] as number
    this.timestamp = from === to ? Number.NaN : parseDecimal(line, from, to)
    return from === to || (this.timestamp >= 0 && this.timestamp < LATEST) ? undefined : 'timestamp'
  }

  /** The series of the line read last, or what is wrong with it. */
  series(): TextSeries | TextFault {
    const bars = this.#bars
    const level = this.#text(0, bars[0] as number, LIMITS.level)
    if (level === undefined || level === '' || level.startsWith('#') || level.startsWith('?')) return 'level'
    const type = this.#type((bars[0] as number) + 1, bars[1] as number)
    if (type === undefined) return 'type'
    const name = this.#text((bars[1] as number) + 1, bars[2] as number, LIMITS.name)
    if (name === undefined || name === '') return 'name'
    const source = this.#text((bars[4] as number) + 1, this.#line.length, LIMITS.source)
    if (source === undefined) return 'source'
    return { level, type, name, source: source === '' ? DEFAULT_SOURCE : source }
  }

  /** The bytes that name the series of the line read last, a copy. */
  identity(): Uint8Array {
    const head = this.#bars[2] as number
    const tail = this.#bars[4] as number
    const identity = new Uint8Array(head + this.#line.length - tail)
    identity.set(this.#line.subarray(0, head))
    identity.set(this.#line.subarray(tail), head)
    return identity
  }

  /** Whether the line read last has this {@link identity}. */
  is(identity: Uint8Array): boolean {
    const line = this.#line
    const head = this.#bars[2] as number
    // what is left out between them
    const gap = (this.#bars[4] as number) - head
    if (identity.length !== line.length - gap) return false
    for (let index = 0; index < head; index++) if (identity[index] !== line[index]) return false
    for (let index = head; index < identity.length; index++) if (identity[index] !== line[index + gap]) return false
    return true
  }

  #text(start: number, end: number, limit: number): string | undefined {
    if (end - start > limit) return undefined
    const bytes = this.#line.subarray(start, end)
    let bits = 0
    for (const byte of bytes) {
      if (byte === 0 || byte === 0x0a || byte === 0x0d) return undefined
      bits |= byte
    }
    // a decoder costs several times as much, and most names are ASCII
    if (bits < 0x80) return String.fromCharCode(...bytes)
    try {
      return decoder.decode(bytes)
    } catch {
      return undefined
    }
  }

  #type(start: number, end: number): TextType | undefined {
    return end - start > LONGEST_TYPE
      ? undefined
      : textType(String.fromCharCode(...this.#line.subarray(start, end)).toLowerCase())
  }
}

/** What a line says, or what is wrong with it. Never throws. */
export function parseText(line: Uint8Array): TextMeasurement | TextFault {
  const reader = new TextReader()
  const fault = reader.read(line)
  if (fault !== undefined) return fault
  const series = reader.series()
  return typeof series === 'string' ? series : { ...series, value: reader.value, timestamp: reader.timestamp }
}

/**
 * The line of a measurement, as Zibrato for Python wrote it: `info|Counter|orders|5|1700000000|shop`. Whole seconds, and
 * none where the timestamp is NaN. The caller has {@link checkTextSeries}ed what it names.
 */
export function formatText({ level, type, name, value, timestamp, source }: TextMeasurement): Uint8Array {
  const time = timestamp === timestamp ? Math.floor(timestamp) : ''
  return utf8(`${level}|${WORDS[type]}|${name}|${value}|${time}|${source}`)
}

/** @throws InvalidMeasurementError for a series of which no text line can tell */
export function checkTextSeries(
  type: Type,
  { name, source, tags }: { readonly name: string; readonly source: string; readonly tags: object },
): void {
  if (type === 'meter' || type === 'set') {
    const kind = type === 'set' ? 'unique' : type
    throw new InvalidMeasurementError(
      `${JSON.stringify(name)}: text lines have no ${kind}; use a counter, or leave out format: 'text'`,
    )
  }
  for (const [what, text] of [
    ['name', name],
    ['source', source],
  ] as const) {
    if (!text.includes('|')) continue
    throw new InvalidMeasurementError(
      `${what} ${JSON.stringify(text)} holds "|", which ends it in a text line; rename it, or leave out format: 'text'`,
    )
  }
  if (Object.values(tags).some((value) => value !== undefined)) {
    throw new InvalidMeasurementError(
      `${JSON.stringify(name)}: text lines have no tags; put them into the name, or leave out format: 'text'`,
    )
  }
}

/** The type that some lower case letters mean: the nearest one, singular or plural, with at most two letters wrong. */
function textType(letters: string): TextType | undefined {
  const exact = Object.hasOwn(TYPES, letters) ? TYPES[letters] : undefined
  if (exact !== undefined) return exact
  let nearest: TextType | undefined
  let least = WRONG_LETTERS + 1
  for (const [word, type] of Object.entries(TYPES)) {
    const wrong = distance(word, letters)
    if (wrong >= least) continue
    nearest = type
    least = wrong
  }
  return nearest
}

/** Letters to replace, insert or leave out to make one text of the other (Levenshtein). */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const replaced = (row[j - 1] as number) + (left[i - 1] === right[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[right.length] as number
}
