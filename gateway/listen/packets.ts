import { LineStream } from './lines.ts'
import { type Faults, type LineReader, MAX_LINE_BYTES, type StreamReader } from './reader.ts'

const PREFIX_BYTES = 4

/**
 * Packets of a stream, each behind its length in four bytes, little endian: what Datadog's clients say at `unixstream://`
 * (dogstatsd_stream_socket of its agent; `binary.LittleEndian` in datadog-go's conn.go).
 */
export class PacketStream implements StreamReader {
  readonly #reader: LineReader
  readonly #faults: Faults
  readonly #prefix: Uint8Array = new Uint8Array(PREFIX_BYTES)
  #prefixed = 0
  /** Bytes of the packet at hand that have not come. */
  #missing = 0
  /** What has come of it; none when it is passed over. */
  #packet: Uint8Array | undefined

  constructor(reader: LineReader, faults: Faults) {
    this.#reader = reader
    this.#faults = faults
  }

  push(bytes: Uint8Array): boolean {
    let offset = 0
    while (offset < bytes.length) {
      if (this.#prefixed < PREFIX_BYTES) {
        this.#prefix[this.#prefixed++] = bytes[offset++] as number
        if (this.#prefixed === PREFIX_BYTES && !this.#begin()) return false
        continue
      }
      const end = Math.min(offset + this.#missing, bytes.length)
      this.#take(bytes, offset, end)
      offset = end
    }
    return true
  }

  end(): void {
    this.cut()
  }

  cut(): void {
    if (this.#prefixed > 0) this.#faults.cut++
    this.#prefixed = 0
    this.#packet = undefined
  }

  #begin(): boolean {
    const length = lengthOf(this.#prefix)
    if (length === undefined) {
      this.#faults.unframed++
      this.#prefixed = 0
      return false
    }
    this.#missing = length
    if (length > MAX_LINE_BYTES) this.#faults.tooLong++
    if (length === 0) this.#prefixed = 0
    return true
  }

  #take(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start
    const length = lengthOf(this.#prefix) as number
    if (size === length && length <= MAX_LINE_BYTES) this.#reader.packet(bytes, start, end)
    else if (length <= MAX_LINE_BYTES) {
      this.#packet ??= new Uint8Array(length)
      this.#packet.set(bytes.subarray(start, end), length - this.#missing)
      if (size === this.#missing) this.#reader.packet(this.#packet, 0, length)
    }
    this.#missing -= size
    if (this.#missing > 0) return
    this.#prefixed = 0
    this.#packet = undefined
  }
}

/** Undefined for what is no length: nobody sends packets of 16 MiB, but four letters look like it. */
function lengthOf(prefix: Uint8Array): number | undefined {
  const [low = 0, mid = 0, high = 0, highest = 0] = prefix
  return highest === 0 ? low + mid * 0x100 + high * 0x10000 : undefined
}

/**
 * Lines, or packets behind their lengths: the first four bytes say which. The fourth of a length is NUL, which no line
 * has.
 */
export class LinesOrPackets implements StreamReader {
  readonly #reader: LineReader
  readonly #faults: Faults
  readonly #first: Uint8Array = new Uint8Array(PREFIX_BYTES)
  #seen = 0
  #stream: StreamReader | undefined

  constructor(reader: LineReader, faults: Faults) {
    this.#reader = reader
    this.#faults = faults
  }

  push(bytes: Uint8Array): boolean {
    if (this.#stream !== undefined) return this.#stream.push(bytes)
    const taken = Math.min(PREFIX_BYTES - this.#seen, bytes.length)
    this.#first.set(bytes.subarray(0, taken), this.#seen)
    this.#seen += taken
    if (this.#seen < PREFIX_BYTES) return true
    const Stream = lengthOf(this.#first) === undefined ? LineStream : PacketStream
    this.#stream = new Stream(this.#reader, this.#faults)
    // mostly all four came in the first piece, which then can be read where it is
    if (taken === PREFIX_BYTES) return this.#stream.push(bytes)
    return this.#stream.push(this.#first) && this.#stream.push(bytes.subarray(taken))
  }

  end(): void {
    this.#settled().end()
  }

  cut(): void {
    this.#settled().cut()
  }

  #settled(): StreamReader {
    if (this.#stream !== undefined) return this.#stream
    this.#stream = new LineStream(this.#reader, this.#faults)
    this.#stream.push(this.#first.subarray(0, this.#seen))
    return this.#stream
  }
}
