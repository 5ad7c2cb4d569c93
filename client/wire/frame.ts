import { InvalidFrameError } from '../errors.ts'
import { type Aggregate, createAggregate, decodeAggregate, typeOf } from '../sketch/aggregate.ts'
import { Reader, Writer, utf8 } from './bytes.ts'
import { fnv1a32 } from './hash.ts'
import { type EncodedKey, LIMITS, type Series, SHARDS, checkLevel, hashIfKey, parseKey, shardOf } from './series.ts'

export const FRAME_VERSION = 1

/** Frames a client closes past this many bytes; what is left goes into the next. */
export const FRAME_BYTES = 60_000

/** 8 random bytes as two halves, so that a filter can keep them in typed arrays. */
export interface Publisher {
  readonly high: number
  readonly low: number
}

export function newPublisher(random: (bytes: Uint8Array) => Uint8Array): Publisher {
  const bytes = random(new Uint8Array(8))
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8)
  return { high: view.getUint32(0), low: view.getUint32(4) }
}

/** 16 hex digits. */
export function publisherName({ high, low }: Publisher): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
}

/** Gathers the entries of one frame; reuse it. */
export class FrameEncoder {
  readonly #entries = new Writer(4096)
  readonly #frame = new Writer(4096)
  /** Entries since the last seal. */
  count = 0

  /** Bytes of the entries since the last seal. */
  get size(): number {
    return this.#entries.length
  }

  add(type: number, key: EncodedKey, aggregate: { encode(writer: Writer): void }): void {
    aggregate.encode(this.entry(type, key))
  }

  /** Starts an entry; the caller writes the payload. */
  entry(type: number, key: EncodedKey): Writer {
    const writer = this.#entries
    writer.u8(type)
    writer.u32(key.hash)
    writer.sized(key.bytes)
    this.count++
    return writer
  }

  /** The frame; the encoder is empty again. */
  seal(publisher: Publisher, level: string, shard: number, seq: number, closedMs: number, spanMs: number): Uint8Array {
    const writer = this.#frame
    writer.reset()
    writer.u8(0x5a)
    writer.u8(0x42)
    writer.u8(FRAME_VERSION)
    writer.u8(0)
    writer.u32(swap(publisher.high))
    writer.u32(swap(publisher.low))
    writer.varint(seq)
    writer.varint(Math.max(0, Math.round(closedMs)))
    writer.varint(Math.max(0, Math.round(spanMs)))
    writer.sized(utf8(level))
    writer.u8(shard)
    writer.varint(this.count)
    writer.raw(this.#entries.bytes())
    this.#entries.reset()
    this.count = 0
    return writer.bytes()
  }
}

// publisher bytes are opaque and travel in their own order, not little endian
function swap(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0
}

/** The identity and extent of a frame within some bytes. */
export interface FrameHeader {
  readonly bytes: Uint8Array
  /** Where the frame starts and ends, and its entries start. */
  readonly start: number
  readonly end: number
  readonly entries: number
  readonly publisher: Publisher
  readonly level: string
  readonly shard: number
  readonly seq: number
  /** When the client closed the frame, ms since the epoch by its own clock. */
  readonly closedMs: number
  /** For how long it had gathered, ms. */
  readonly spanMs: number
  readonly count: number
}

/** @throws InvalidFrameError */
export function readHeader(bytes: Uint8Array, start = 0, end: number = bytes.length): FrameHeader {
  const reader = new Reader(bytes, start, end)
  if (reader.u8() !== 0x5a || reader.u8() !== 0x42) throw new InvalidFrameError('frame: does not start with "ZB"')
  const version = reader.u8()
  if (version !== FRAME_VERSION) {
    throw new InvalidFrameError(
      `frame: version ${version} is unknown, ${FRAME_VERSION} is read here; upgrade this side`,
    )
  }
  if (reader.u8() !== 0) throw new InvalidFrameError('frame: unknown flags are set')
  const publisher = { high: swap(reader.u32()), low: swap(reader.u32()) }
  const seq = reader.varint()
  if (seq === 0) throw new InvalidFrameError('frame: seq starts at 1')
  const closedMs = reader.varint()
  const spanMs = reader.varint()
  const level = readLevel(reader)
  const shard = reader.u8()
  if (shard >= SHARDS) throw new InvalidFrameError(`frame: shard ${shard} is over ${SHARDS - 1}`)
  const count = reader.varint()
  // an entry takes 17 bytes at the least
  if (count === 0 || count * 17 > end - reader.offset) {
    throw new InvalidFrameError(`frame: ${count} entries do not fit into ${end - reader.offset} bytes`)
  }
  return { bytes, start, end, entries: reader.offset, publisher, level, shard, seq, closedMs, spanMs, count }
}

// the few levels in use, so that a frame need not decode and check its own
const levels = new Map<number, { text: string; bytes: Uint8Array }>()

function readLevel(reader: Reader): string {
  const length = reader.varint()
  if (length > LIMITS.level) throw new InvalidFrameError(`frame: a level of ${length} bytes`)
  const { source, offset } = reader
  reader.skip(length)
  const id = fnv1a32(source, offset, offset + length)
  const known = levels.get(id)
  if (known !== undefined && same(known.bytes, source, offset, length)) return known.text
  const bytes = source.slice(offset, offset + length)
  const text = decodeText(bytes, 'a level')
  try {
    checkLevel(text)
  } catch (cause) {
    throw new InvalidFrameError(`frame: ${(cause as Error).message}`, { cause })
  }
  if (levels.size >= 256) levels.clear()
  levels.set(id, { text, bytes })
  return text
}

function same(known: Uint8Array, source: Uint8Array, offset: number, length: number): boolean {
  if (known.length !== length) return false
  for (let index = 0; index < length; index++) if (known[index] !== source[offset + index]) return false
  return true
}

/**
 * Reads a frame to its last byte, so that whoever merges it later need not expect anything wrong.
 *
 * @param hashes whether to check every entry's hash and shard too; an owner does that itself for series it does not know
 * @throws InvalidFrameError
 */
export function checkFrame(bytes: Uint8Array, start: number, end: number, hashes: boolean): FrameHeader {
  const header = readHeader(bytes, start, end)
  const reader = new Reader(bytes, header.entries, end)
  for (let index = 0; index < header.count; index++) {
    const type = reader.u8()
    const hash = reader.u32()
    const length = reader.varint()
    const from = reader.offset
    reader.skip(length)
    if (hashes) checkKey(bytes, from, reader.offset, hash, header.shard)
    decodeAggregate(type, reader, undefined)
  }
  if (reader.offset !== end) throw new InvalidFrameError(`frame: ${end - reader.offset} bytes follow the last entry`)
  return header
}

/** @throws InvalidFrameError when bytes are no series key, or not the one of this hash and shard */
export function checkKey(bytes: Uint8Array, start: number, end: number, hash: number, shard: number): void {
  const computed = hashIfKey(bytes, start, end)
  if (computed < 0) throw new InvalidFrameError('frame: an entry has no valid series key')
  if (computed !== hash) throw new InvalidFrameError("frame: an entry's hash is not its key's")
  if (shardOf(hash) !== shard) throw new InvalidFrameError(`frame: an entry belongs to shard ${shardOf(hash)}`)
}

/** A decoded frame, for those who want every aggregate as it comes. */
export interface Frame {
  /** 16 hex digits. */
  readonly publisher: string
  readonly level: string
  readonly shard: number
  readonly seq: number
  readonly closedMs: number
  readonly spanMs: number
  readonly entries: readonly FrameEntry[]
}

export interface FrameEntry {
  readonly series: Series
  readonly aggregate: Aggregate
}

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @throws InvalidFrameError */
export function decodeFrame(bytes: Uint8Array, start = 0, end: number = bytes.length): Frame {
  const header = checkFrame(bytes, start, end, true)
  const reader = new Reader(bytes, header.entries, end)
  const entries: FrameEntry[] = []
  for (let index = 0; index < header.count; index++) {
    const code = reader.u8()
    reader.skip(4)
    const key = decodeKey(reader.sized())
    const aggregate = createAggregate(code)
    decodeAggregate(code, reader, aggregate)
    entries.push({ series: parseKey(typeOf(code), key), aggregate })
  }
  const { level, shard, seq, closedMs, spanMs } = header
  return { publisher: publisherName(header.publisher), level, shard, seq, closedMs, spanMs, entries }
}

/** @throws InvalidFrameError */
export function decodeKey(bytes: Uint8Array): string {
  return decodeText(bytes, 'a series key')
}

function decodeText(bytes: Uint8Array, what: string): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new InvalidFrameError(`frame: ${what} is not UTF-8`, { cause })
  }
}
