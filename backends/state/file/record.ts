import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import type { Committed, Mark } from '../ledger.ts'

/** What a log starts with: seven letters and the version of its format. */
export const MAGIC: Uint8Array = Uint8Array.of(0x5a, 0x42, 0x53, 0x54, 0x41, 0x54, 0x45, 1)

/** Length and length of the meta part before a record's body, CRC-32 behind it. */
export const HEAD_BYTES = 8
export const CRC_BYTES = 4

const BUNDLE_META = 18

/** What a bundle's record takes beside the bundle, which starts `BUNDLE_HEAD` bytes behind the record's start. */
export const BUNDLE_HEAD: number = HEAD_BYTES + BUNDLE_META
export const BUNDLE_OVERHEAD: number = BUNDLE_HEAD + CRC_BYTES

// summed between two turns of the event loop: about 5 ms
const CRC_SLICE = 16 << 20

const KINDS = ['header', 'bundle', 'commit', 'attempt', 'release', 'settle', 'shard', 'snapshot', 'window'] as const

/** Bytes within the log. Only a rewritten log changes where they are. */
export interface Piece {
  offset: number
  readonly length: number
}

/** The records of a log; `README.md` has them to the byte. */
export type LogRecord<P = Piece> =
  | { kind: 'header'; lastMs: number; group: string; backends: readonly string[] }
  | { kind: 'bundle'; shard: number; number: number; timeMs: number; bundle: P }
  | { kind: 'commit'; timeMs: number; parts: readonly Committed<P>[]; dropped: readonly string[] }
  | { kind: Mark; backend: string; ids: readonly string[] }
  | { kind: 'shard'; shard: number; end: number; through: number }
  | { kind: 'snapshot'; shard: number; snapshot: P }
  | {
      kind: 'window'
      shard: number
      end: number
      pending: readonly string[]
      attempted: readonly string[]
      window: P
    }

/** A record as it is written: one after another, these are its bytes. */
export type Encoded = Uint8Array[]

/** Encodes a record. Large ones take several turns of the event loop. */
export async function encodeRecord(record: LogRecord<Uint8Array>): Promise<Encoded> {
  const { head, blobs } = encodeHead(record)
  let crc = crc32(head)
  for (const blob of blobs) {
    for (let at = 0; at < blob.length; at += CRC_SLICE) {
      if (at > 0) await setImmediate()
      crc = crc32(blob.subarray(at, at + CRC_SLICE), crc)
    }
  }
  return [head, ...blobs, encodeCrc(crc)]
}

/** A record's bytes up to its blobs, and those. With pieces for blobs only their lengths are looked at. */
export function encodeHead<P extends { readonly length: number }>(
  record: LogRecord<P>,
): { head: Uint8Array; blobs: readonly P[] } {
  const writer = new Writer(64)
  writer.u32(0)
  writer.u32(0)
  const blobs = encodeMeta(writer, record)
  const head = writer.bytes()
  const length = blobs.reduce((sum, blob) => sum + blob.length, head.length - HEAD_BYTES)
  if (length > 0xffffffff) throw new RangeError(`a record of ${length} bytes is past the format's limit of 4 GiB`)
  const view = new DataView(head.buffer, head.byteOffset)
  view.setUint32(0, length, true)
  view.setUint32(4, head.length - HEAD_BYTES, true)
  return { head, blobs }
}

export function encodeCrc(crc: number): Uint8Array {
  return Uint8Array.of(crc, crc >>> 8, crc >>> 16, crc >>> 24)
}

function encodeMeta<P extends { readonly length: number }>(writer: Writer, record: LogRecord<P>): readonly P[] {
  writer.u8(KINDS.indexOf(record.kind))
  switch (record.kind) {
    case 'header':
      writer.f64(record.lastMs)
      writer.text(record.group)
      writeTexts(writer, record.backends)
      return []
    case 'bundle':
      writer.u8(record.shard)
      writer.f64(record.number)
      writer.f64(record.timeMs)
      return [record.bundle]
    case 'commit':
      writer.f64(record.timeMs)
      writer.varint(record.parts.length)
      for (const { shard, end, through, kind, snapshot, outbox } of record.parts) {
        writer.u8(shard)
        writer.f64(end)
        writer.f64(through)
        writer.u8((kind === 'full' ? 1 : 0) | (outbox === undefined ? 0 : 2))
        writer.varint(snapshot.length)
        if (outbox !== undefined) writer.varint(outbox.length)
      }
      writeTexts(writer, record.dropped)
      return record.parts.flatMap(({ snapshot, outbox }) => (outbox === undefined ? [snapshot] : [snapshot, outbox]))
    case 'attempt':
    case 'release':
    case 'settle':
      writer.text(record.backend)
      writeTexts(writer, record.ids)
      return []
    case 'shard':
      writer.u8(record.shard)
      writer.f64(record.end)
      writer.f64(record.through)
      return []
    case 'snapshot':
      writer.u8(record.shard)
      return [record.snapshot]
    case 'window':
      writer.u8(record.shard)
      writer.f64(record.end)
      writeTexts(writer, record.pending)
      writeTexts(writer, record.attempted)
      return [record.window]
  }
}

/**
 * Reads the meta part of a record whose CRC was found right.
 *
 * @param at where its blobs start in the log
 * @param length bytes of them
 * @throws Error when it makes no sense
 */
export function decodeRecord(meta: Uint8Array, at: number, length: number): LogRecord {
  const reader = new Reader(meta)
  let offset = at
  const take = (size: number): Piece => {
    offset += size
    return { offset: offset - size, length: size }
  }
  const record = decodeMeta(reader, take, length)
  if (reader.offset !== meta.length || offset !== at + length) throw new Error('its parts do not add up to its length')
  return record
}

function decodeMeta(reader: Reader, take: (size: number) => Piece, length: number): LogRecord {
  const code = reader.u8()
  const kind = KINDS[code]
  switch (kind) {
    case 'header':
      return { kind, lastMs: reader.finite(), group: reader.text(), backends: readTexts(reader) }
    case 'bundle':
      return { kind, shard: reader.u8(), number: reader.finite(), timeMs: reader.finite(), bundle: take(length) }
    case 'commit': {
      const timeMs = reader.finite()
      const parts = Array.from({ length: readCount(reader) }, () => {
        const shard = reader.u8()
        const end = reader.finite()
        const through = reader.finite()
        const flags = reader.u8()
        const snapshot = take(reader.varint())
        const outbox = (flags & 2) === 0 ? undefined : take(reader.varint())
        return { shard, end, through, kind: (flags & 1) === 0 ? 'changes' : 'full', snapshot, outbox } as const
      })
      return { kind, timeMs, parts, dropped: readTexts(reader) }
    }
    case 'attempt':
    case 'release':
    case 'settle':
      return { kind, backend: reader.text(), ids: readTexts(reader) }
    case 'shard':
      return { kind, shard: reader.u8(), end: reader.finite(), through: reader.finite() }
    case 'snapshot':
      return { kind, shard: reader.u8(), snapshot: take(length) }
    case 'window':
      return {
        kind,
        shard: reader.u8(),
        end: reader.finite(),
        pending: readTexts(reader),
        attempted: readTexts(reader),
        window: take(length),
      }
    default:
      throw new Error(`its kind, ${code}, is unknown`)
  }
}

function writeTexts(writer: Writer, texts: readonly string[]): void {
  writer.varint(texts.length)
  for (const text of texts) writer.text(text)
}

function readTexts(reader: Reader): string[] {
  return Array.from({ length: readCount(reader) }, () => reader.text())
}

/** Each thing counted takes a byte at least, so no count is past what is left. */
function readCount(reader: Reader): number {
  const count = reader.varint()
  if (count > reader.end - reader.offset) throw new Error(`it claims ${count} parts`)
  return count
}
