import { crc32 } from 'node:zlib'
import type { LogFile } from './log-file.ts'
import { CRC_BYTES, HEAD_BYTES, type LogRecord, decodeRecord } from './record.ts'

// what is read, and looked through, in one turn of the event loop
const SLICE = 256 << 10

/** How far a log can be used. */
export interface Scanned {
  /** Where the last intact record ends. */
  readonly end: number
  /** What is wrong with the one behind; undefined when there is none. */
  readonly damage: string | undefined
}

/**
 * Visits the records of a log, in order, up to the first that is torn or corrupt, or at which `visit` throws. It holds no
 * more than a slice of the log, and lets the event loop turn after each.
 */
export async function scan(file: LogFile, from: number, visit: (record: LogRecord) => void): Promise<Scanned> {
  const slice = new Slice(file)
  let at = from
  try {
    while (at < file.size) {
      // no `await` where none is needed: there may be millions of small records
      if (!slice.has(at, HEAD_BYTES)) await slice.fill(at)
      const { metaLength, end } = measure(slice, at, file.size)
      const metaAt = at + HEAD_BYTES
      const crcAt = end - CRC_BYTES
      let meta: Uint8Array
      let crc = 0
      if (end - at <= SLICE) {
        if (!slice.has(at, end - at)) await slice.fill(at)
        meta = slice.bytes(metaAt, metaLength)
        crc = crc32(slice.bytes(at, crcAt - at))
      } else {
        meta = await file.read(metaAt, metaLength)
        for (let part = at; part < crcAt; part += SLICE) {
          await slice.fill(part)
          crc = crc32(slice.bytes(part, Math.min(SLICE, crcAt - part)), crc)
        }
        await slice.fill(crcAt)
      }
      if (slice.u32(crcAt) !== crc) throw new Error('its checksum is wrong')
      visit(decodeRecord(meta, metaAt + metaLength, crcAt - metaAt - metaLength))
      at = end
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== undefined) throw error
    return { end: at, damage: (error as Error).message }
  }
  return { end: at, damage: undefined }
}

function measure(slice: Slice, at: number, size: number): { metaLength: number; end: number } {
  if (size - at < HEAD_BYTES + CRC_BYTES) throw new Error('it is torn')
  const length = slice.u32(at)
  const metaLength = slice.u32(at + 4)
  const end = at + HEAD_BYTES + length + CRC_BYTES
  if (metaLength === 0 || metaLength > length) throw new Error('its length makes no sense')
  if (end > size) throw new Error('it is torn')
  return { metaLength, end }
}

/** A part of a file in memory, by offsets of the file. */
class Slice {
  #start = 0
  #end = 0
  readonly #buffer = Buffer.allocUnsafeSlow(SLICE)
  readonly #file: LogFile

  constructor(file: LogFile) {
    this.#file = file
  }

  has(offset: number, length: number): boolean {
    return offset >= this.#start && offset + length <= this.#end
  }

  /** Moves on to what starts at `offset`. */
  async fill(offset: number): Promise<void> {
    this.#end = offset + (await this.#file.readInto(this.#buffer, offset))
    this.#start = offset
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.#buffer.subarray(offset - this.#start, offset - this.#start + length)
  }

  u32(offset: number): number {
    return this.#buffer.readUInt32LE(offset - this.#start)
  }
}
