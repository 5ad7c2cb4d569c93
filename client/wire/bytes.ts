import { InvalidFrameError } from '../errors.ts'

const encoder = /* @__PURE__ */ new TextEncoder()
const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8 bytes of a string; lone surrogates become U+FFFD. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** A growing little-endian buffer. `bytes()` is a copy, so one writer serves many frames. */
export class Writer {
  #buffer: Uint8Array
  #view: DataView
  length = 0

  constructor(capacity = 1024) {
    this.#buffer = new Uint8Array(capacity)
    this.#view = new DataView(this.#buffer.buffer)
  }

  reset(): void {
    this.length = 0
  }

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.length)
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#buffer[this.length++] = value
  }

  u32(value: number): void {
    this.#reserve(4)
    this.#view.setUint32(this.length, value, true)
    this.length += 4
  }

  f64(value: number): void {
    this.#reserve(8)
    this.#view.setFloat64(this.length, value, true)
    this.length += 8
  }

  /** A double; what overflowed is written as the largest there is, so that one absurd value cannot cost a frame. */
  finite(value: number): void {
    if (value - value === 0) this.f64(value)
    else this.f64(value > 0 ? Number.MAX_VALUE : value < 0 ? -Number.MAX_VALUE : 0)
  }

  /** Unsigned LEB128 of an integer in 0 .. 2^53 - 1. */
  varint(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= 0x80) {
      this.#buffer[this.length++] = (rest % 0x80) | 0x80
      rest = rest > 0x7fffffff ? Math.floor(rest / 0x80) : rest >>> 7
    }
    this.#buffer[this.length++] = rest
  }

  /** A signed 31-bit integer, zigzag, as a varint. */
  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value)
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.length)
    this.length += bytes.length
  }

  /** A varint length, then the bytes. */
  sized(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.raw(bytes)
  }

  text(value: string): void {
    this.sized(encoder.encode(value))
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.length + count))
    grown.set(this.#buffer.subarray(0, this.length))
    this.#buffer = grown
    this.#view = new DataView(grown.buffer)
  }
}

// the frames of a bundle are read one after another: they share a view
let viewed: Uint8Array | undefined
let view: DataView

function viewOf(source: Uint8Array): DataView {
  if (source === viewed) return view
  viewed = source
  view = new DataView(source.buffer, source.byteOffset, source.byteLength)
  return view
}

/** Reads what a {@link Writer} wrote; every read past `end` is an {@link InvalidFrameError}. */
export class Reader {
  readonly source: Uint8Array
  readonly #view: DataView
  readonly end: number
  offset: number

  constructor(source: Uint8Array, offset = 0, end: number = source.length) {
    this.source = source
    this.#view = viewOf(source)
    this.offset = offset
    this.end = end
  }

  u8(): number {
    this.#need(1)
    return this.source[this.offset++] as number
  }

  u32(): number {
    this.#need(4)
    const value = this.#view.getUint32(this.offset, true)
    this.offset += 4
    return value
  }

  f64(): number {
    this.#need(8)
    const value = this.#view.getFloat64(this.offset, true)
    this.offset += 8
    return value
  }

  /** A double that is neither NaN nor infinite. */
  finite(): number {
    const value = this.f64()
    if (value - value !== 0) throw new InvalidFrameError(`frame: ${value} is not a finite number`)
    return value
  }

  /** At most 2^53 - 1, in its shortest form. */
  varint(): number {
    // most are short
    if (this.offset < this.end && (this.source[this.offset] as number) < 0x80)
      return this.source[this.offset++] as number
    let value = 0
    let scale = 1
    for (let index = 0; index < 8; index++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (byte === 0 && index > 0) throw new InvalidFrameError('frame: a varint is longer than needed')
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 0x80
    }
    throw new InvalidFrameError('frame: a varint exceeds 2^53 - 1')
  }

  zigzag(): number {
    const value = this.varint()
    if (value > 0xffffffff) throw new InvalidFrameError('frame: a signed varint exceeds 32 bits')
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  skip(count: number): void {
    this.#need(count)
    this.offset += count
  }

  raw(count: number): Uint8Array {
    this.#need(count)
    return this.source.subarray(this.offset, (this.offset += count))
  }

  sized(): Uint8Array {
    return this.raw(this.varint())
  }

  text(): string {
    const bytes = this.sized()
    try {
      return decoder.decode(bytes)
    } catch (cause) {
      throw new InvalidFrameError('frame: a text is not UTF-8', { cause })
    }
  }

  #need(count: number): void {
    if (count > this.end - this.offset) {
      throw new InvalidFrameError(`frame: ends at byte ${this.end}, ${count} more wanted at ${this.offset}`)
    }
  }
}
