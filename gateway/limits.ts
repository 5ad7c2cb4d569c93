import { Refusal } from './answers.ts'

export type Encoding = 'gzip' | 'deflate' | 'br'

/**
 * Decompresses `bytes`, handing on each piece at once; stops and rejects with what `take` throws, which is how a body that
 * grows too large ends. Rejects with anything else when the bytes are none of that encoding.
 */
export type Decompress = (encoding: Encoding, bytes: Uint8Array, take: (piece: Uint8Array) => void) => Promise<void>

/** Compressed bytes that are decompressed at once: some 4 MiB at the most. */
const FED_BYTES = 4_096

export interface LimitOptions {
  /** Bytes of a body at the most, before and after decompression; default 4 MiB. */
  readonly maxBodyBytes?: number
  /** Bytes of all bodies that are being read at the most; default 64 MiB. Beyond, posts are refused (503). */
  readonly maxHeldBytes?: number
  /** Default: what the platform's `DecompressionStream` can, which is no `br`. */
  readonly decompress?: Decompress
  /** Whether the server ends each body at its Content-Length, so that it may be read in one go. Default false. */
  readonly exactLength?: boolean
}

/** Reads request bodies, whole but bounded, whatever their headers say. */
export class BodyReader {
  readonly #maxBytes: number
  readonly #maxHeldBytes: number
  readonly #decompress: Decompress | undefined
  readonly #exactLength: boolean
  #held = 0

  constructor(options: LimitOptions) {
    this.#maxBytes = options.maxBodyBytes ?? 4 * 1024 * 1024
    this.#maxHeldBytes = options.maxHeldBytes ?? 64 * 1024 * 1024
    this.#decompress = options.decompress
    this.#exactLength = options.exactLength ?? false
  }

  /**
   * The decompressed body.
   *
   * @param encoding the Content-Encoding header
   * @param length the Content-Length header
   * @throws Refusal `unsupported_encoding`, `too_large`, `overloaded`, or `unreadable` when it breaks off or is damaged
   */
  async read(request: Request, encoding: string | undefined, length: string | undefined): Promise<Uint8Array> {
    const kind = this.#encoding(encoding)
    const expected = length === undefined ? Number.NaN : Number(length)
    // what cannot be taken need not be sent
    if (expected > this.#maxBytes) throw this.#tooLarge({ connection: 'close' })
    const hold = new Hold(this)
    try {
      let body: Uint8Array
      if (this.#exactLength && expected >= 0) {
        hold.add(expected)
        body = await whole(request)
        if (body.length > this.#maxBytes) throw this.#tooLarge()
      } else body = await this.#gather(hold, (take) => eachPiece(request, take))
      if (kind === undefined) return body
      return await this.#gather(hold, (take) => this.#inflate(kind, body, take))
    } finally {
      hold.release()
    }
  }

  /** @internal */
  hold(bytes: number): void {
    if (this.#held + bytes > this.#maxHeldBytes) {
      throw new Refusal('overloaded', 'too many bodies are being read; retry later', { 'retry-after': '1' })
    }
    this.#held += bytes
  }

  /** @internal */
  release(bytes: number): void {
    this.#held -= bytes
  }

  async #gather(hold: Hold, read: (take: (piece: Uint8Array) => void) => Promise<void>): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let size = 0
    await read((piece) => {
      size += piece.length
      if (size > this.#maxBytes) throw this.#tooLarge()
      hold.add(piece.length)
      pieces.push(piece)
    })
    if (pieces.length === 1) return pieces[0] as Uint8Array
    const body = new Uint8Array(size)
    let offset = 0
    for (const piece of pieces) {
      body.set(piece, offset)
      offset += piece.length
    }
    return body
  }

  async #inflate(encoding: Encoding, body: Uint8Array, take: (piece: Uint8Array) => void): Promise<void> {
    try {
      await (this.#decompress ?? decompressWeb)(encoding, body, take)
    } catch (error) {
      if (error instanceof Refusal) throw error
      throw new Refusal('unreadable', `the body is no valid ${encoding}, or is cut short`)
    }
  }

  #encoding(header: string | undefined): Encoding | undefined {
    const name = (header ?? 'identity').trim().toLowerCase()
    if (name === 'identity' || name === '') return undefined
    if (name === 'gzip' || name === 'x-gzip') return 'gzip'
    if (name === 'deflate' || (name === 'br' && this.#decompress !== undefined)) return name
    const known = this.#decompress === undefined ? 'gzip, deflate' : 'gzip, deflate, br'
    throw new Refusal('unsupported_encoding', `this Content-Encoding is not read here; use ${known} or none`, {
      'accept-encoding': known,
    })
  }

  #tooLarge(headers: Readonly<Record<string, string>> = {}): Refusal {
    return new Refusal(
      'too_large',
      `the body is over ${this.#maxBytes} bytes; send fewer measurements at once`,
      headers,
    )
  }
}

/** What one body holds of all that may be held. */
class Hold {
  readonly #reader: BodyReader
  #bytes = 0

  constructor(reader: BodyReader) {
    this.#reader = reader
  }

  add(bytes: number): void {
    this.#reader.hold(bytes)
    this.#bytes += bytes
  }

  release(): void {
    this.#reader.release(this.#bytes)
  }
}

async function whole(request: Request): Promise<Uint8Array> {
  try {
    return new Uint8Array(await request.arrayBuffer())
  } catch {
    throw new Refusal('unreadable', 'the body broke off')
  }
}

async function eachPiece(request: Request, take: (piece: Uint8Array) => void): Promise<void> {
  if (request.body === null) return
  try {
    await eachOf(request.body, take)
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('unreadable', 'the body broke off')
  }
}

/**
 * The platform's own. That of Workers decompresses what it is given before anybody reads, a thousandfold at worst, so it is
 * given little at a time, and more when that has been read.
 */
async function decompressWeb(encoding: Encoding, bytes: Uint8Array, take: (piece: Uint8Array) => void): Promise<void> {
  const { readable, writable } = new DecompressionStream(encoding as CompressionFormat)
  const writer = writable.getWriter()
  let isOver = false
  let pieces = 0
  const feed = async (): Promise<void> => {
    for (let at = 0; at < bytes.length; at += FED_BYTES) {
      await writer.write(bytes.subarray(at, at + FED_BYTES) as Uint8Array<ArrayBuffer>)
      if (isOver) return
      // the last needs no waiting for
      if (at + FED_BYTES >= bytes.length) break
      for (let before = -1; before !== pieces && !isOver;) {
        before = pieces
        await new Promise((resolve) => setTimeout(resolve, 0))
      }
    }
    await writer.close()
  }
  // what goes wrong with this goes wrong with reading, too
  feed().catch(() => {})
  try {
    await eachOf(readable, (piece) => {
      pieces++
      take(piece)
    })
  } finally {
    isOver = true
  }
}

async function eachOf(stream: ReadableStream<Uint8Array>, take: (piece: Uint8Array) => void): Promise<void> {
  const reader = stream.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      take(value)
    }
  } catch (error) {
    // what is left is not wanted; nor is to hear that it could not be let go of
    reader.cancel().catch(() => {})
    throw error
  }
}
