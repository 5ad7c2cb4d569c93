import { Writer } from '../../client/wire/bytes.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { type FrameHeader, readHeader } from '../../client/wire/frame.ts'
import { RETRY_MS } from '../../client/transport/ring.ts'
import { type FrameIdentity, KnownFrames, eachIdentity, encodeIdentities } from '../known-frames.ts'
import { type Progress, newProgress } from './progress.ts'
import type { ObjectStorage, SqlValue } from './runtime.ts'

/** Bytes of a row; a value in SQLite has 2 MB at the most. */
const ROW_BYTES = 512 * 1024
/** Bytes of a frame that fits into a row behind others. */
export const MAX_FRAME_BYTES: number = 1 << 20
/** How long a frame's identity is known after it came: senders retry for five minutes after they closed it. */
export const KNOWN_MS: number = RETRY_MS + 60_000
/** How often what is no longer needed is forgotten. */
const SWEEP_MS = 60_000

export interface FrameStoreOptions {
  /** Bytes of frames that wait at the most. */
  readonly maxBytes: number
  /** ms since the epoch. */
  readonly now: () => number
}

/** What became of a bundle that was offered. */
export type Taken =
  | { readonly stored: number; readonly repeats: number }
  /** Nothing was stored: no room for its bytes, or for one more publisher. */
  | { readonly refused: 'bytes' | 'publishers' }

/** The oldest frames that are not settled, in the order they came. */
export interface Batch {
  readonly bundle: Uint8Array<ArrayBuffer>
  readonly frames: number
  /** Where it ends: so many frames of this row, and all rows before it. */
  readonly end: { readonly row: number; readonly frames: number }
  /** Whether that is all of the row. */
  readonly endsRow: boolean
  /** Bytes of the rows that it ends. */
  readonly frees: number
  /** When its newest frame came, ms since the epoch. */
  readonly newestMs: number
}

/** What settles frames. */
export type Settlement = Readonly<Partial<Record<'forwarded' | 'unknown', number>>> & {
  readonly dropped?: Readonly<Record<string, number>>
}

interface Row {
  readonly id: number
  readonly receivedMs: number
  readonly size: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

/**
 * Frames on their way, in an object's SQLite: the bytes as they came, oldest first, and for a while longer what they are
 * known by, so that a repeat is told from a frame that is new.
 *
 * ```
 * bundles   id, received_ms, size, bytes     frames that wait, many to a row
 * known     id, received_ms, identities      of those that are settled
 * progress  id = 0, value                    how far rows are settled, and what became of frames: JSON
 * ```
 *
 * All of it is synchronous, so nothing comes in between; and written in transactions, so that what is counted as settled is
 * gone, and the other way round. One that has thrown may know more than its storage: make another.
 */
export class FrameStore {
  readonly progress: Progress
  readonly #storage: ObjectStorage
  readonly #maxBytes: number
  readonly #now: () => number
  readonly #known = new KnownFrames()
  #sweptMs = 0
  #lastRow = 0
  #frames = 0
  #bytes = 0

  constructor(storage: ObjectStorage, { maxBytes, now }: FrameStoreOptions) {
    this.#storage = storage
    this.#maxBytes = maxBytes
    this.#now = now
    for (const table of [
      'bundles (id INTEGER PRIMARY KEY, received_ms INTEGER, size INTEGER, bytes BLOB)',
      'known (id INTEGER PRIMARY KEY, received_ms INTEGER, identities BLOB)',
      'progress (id INTEGER PRIMARY KEY, value TEXT)',
    ]) {
      this.#exec(`CREATE TABLE IF NOT EXISTS ${table}`)
    }
    const saved = this.#one('SELECT value FROM progress')
    this.progress = {
      ...newProgress(),
      ...(saved === undefined ? {} : (JSON.parse(saved['value'] as string) as Progress)),
    }
    this.#load()
  }

  /** Frames that wait. */
  get frames(): number {
    return this.#frames
  }

  /** Publishers whose frames are known, by shard and level. */
  get publishers(): number {
    return this.#known.size
  }

  /** Bytes of rows that are not settled whole. */
  get bytes(): number {
    return this.#bytes
  }

  /** For how long the oldest frame has waited, ms; 0 when none does. */
  get waitedMs(): number {
    const oldest = this.#one('SELECT received_ms FROM bundles ORDER BY id LIMIT 1')
    return oldest === undefined ? 0 : Math.max(0, this.#now() - (oldest['received_ms'] as number))
  }

  /** Stores what is new in some bundles; for each, either all of that or nothing. */
  take(bundles: readonly Uint8Array[]): Taken[] {
    const nowMs = this.#now()
    const known = this.#known
    if (nowMs - this.#sweptMs > SWEEP_MS) {
      this.#sweptMs = nowMs
      known.forget(nowMs)
    }
    const rows: Uint8Array[] = []
    const writer = new Writer(4096)
    let frames = 0
    let rowsBytes = 0
    const taken = bundles.map((bundle): Taken => {
      const headers = headersOf(bundle)
      const refused = this.#refuse(headers, rowsBytes + writer.length)
      if (refused !== undefined) {
        this.progress.refused++
        return { refused }
      }
      let stored = 0
      for (const header of headers) {
        if (!known.admit(header, nowMs)) continue
        writer.sized(bundle.subarray(header.start, header.end))
        stored++
        if (writer.length < ROW_BYTES) continue
        rowsBytes += writer.length
        rows.push(writer.bytes())
        writer.reset()
      }
      frames += stored
      this.progress.repeats += headers.length - stored
      return { stored, repeats: headers.length - stored }
    })
    if (writer.length > 0) rows.push(writer.bytes())
    this.#insert(rows, frames, nowMs)
    return taken
  }

  /**
   * The oldest frames, at least one if there is any. While frames are in doubt only those: what goes out beside them would
   * be too.
   */
  oldest(maxBytes: number, maxFrames: number): Batch | undefined {
    const { doubt } = this.progress
    const pieces: Uint8Array[] = []
    let bytes = 0
    let frames = 0
    let frees = 0
    let end: Batch['end'] | undefined
    let endsRow = false
    let newestMs = 0
    let skip = this.progress.done
    for (const { id, receivedMs, size, bytes: bundle } of this.#rows()) {
      const extents = extentsOf(bundle)
      const last = doubt !== undefined && doubt.row === id ? doubt.frames : extents.length
      let index = skip
      skip = 0
      const from = index
      while (index < last && (frames === 0 || (frames < maxFrames && bytes + sizeOf(extents, index) <= maxBytes))) {
        bytes += sizeOf(extents, index)
        frames++
        index++
      }
      if (index > from) {
        pieces.push(bundle.subarray(extents[from]?.start, extents[index - 1]?.end))
        end = { row: id, frames: index }
        endsRow = index === extents.length
        newestMs = Math.max(newestMs, receivedMs)
        if (endsRow) frees += size
      }
      if (index < extents.length) break
      if (doubt !== undefined && doubt.row === id) break
    }
    if (end === undefined) return undefined
    return { bundle: joined(pieces, bytes), frames, end, endsRow, frees, newestMs }
  }

  /** Notes, before it is sent, that a batch may arrive. Whether none of it may have before. */
  expose(batch: Batch): boolean {
    if (this.progress.doubt !== undefined) return false
    this.progress.doubt = { ...batch.end, sinceMs: this.#now() }
    this.#save()
    return true
  }

  /** Notes that what was last exposed has surely not arrived. */
  withdraw(): void {
    this.progress.doubt = undefined
    this.#save()
  }

  /** Lets go of a batch, and goes on knowing its frames. */
  settle(batch: Batch, { forwarded = 0, unknown = 0, dropped = {} }: Settlement): void {
    const { end, endsRow } = batch
    const nowMs = this.#now()
    const { progress } = this
    progress.done = endsRow ? 0 : end.frames
    progress.forwarded += forwarded
    progress.unknown += unknown
    for (const reason of Object.keys(dropped)) {
      progress.dropped[reason] = (progress.dropped[reason] ?? 0) + (dropped[reason] ?? 0)
    }
    const { doubt } = progress
    if (doubt !== undefined && doubt.row === end.row && doubt.frames <= end.frames) progress.doubt = undefined
    this.#frames -= batch.frames
    this.#bytes -= batch.frees
    this.#storage.transactionSync(() => {
      this.#exec(`DELETE FROM bundles WHERE id ${endsRow ? '<=' : '<'} ?`, end.row)
      this.#exec('DELETE FROM known WHERE received_ms < ?', nowMs - KNOWN_MS)
      if (nowMs - batch.newestMs < KNOWN_MS) {
        const identities = encodeIdentities(headersOf(batch.bundle)).buffer as ArrayBuffer
        this.#exec('INSERT INTO known (received_ms, identities) VALUES (?, ?)', batch.newestMs, identities)
      }
      this.#save()
    })
  }

  /**
   * Gives up what has been in doubt for five minutes: its owner forgets after ten, and would then take what comes again for
   * new. How many frames.
   */
  giveUp(): number {
    const { doubt } = this.progress
    if (doubt === undefined || this.#now() - doubt.sinceMs < RETRY_MS) return 0
    const batch = this.oldest(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
    if (batch === undefined) return 0
    this.settle(batch, { unknown: batch.frames })
    return batch.frames
  }

  /** Notes how often in a row it went wrong, and what did; nothing did when `trouble` is undefined. */
  note(failures: number, trouble: string | undefined): void {
    this.progress.failures = failures
    this.progress.trouble = trouble
    this.#save()
  }

  #refuse(headers: readonly FrameHeader[], gathered: number): 'bytes' | 'publishers' | undefined {
    let bytes = 0
    for (const header of headers) {
      const verdict = this.#known.judge(header)
      if (verdict === 'refused') return 'publishers'
      if (verdict === 'new') bytes += header.end - header.start
    }
    return bytes > 0 && this.#bytes + gathered + bytes > this.#maxBytes ? 'bytes' : undefined
  }

  #insert(rows: readonly Uint8Array[], frames: number, nowMs: number): void {
    if (rows.length === 0) return
    this.#storage.transactionSync(() => {
      for (const bytes of rows) {
        this.#lastRow++
        this.#bytes += bytes.length
        this.#exec(
          'INSERT INTO bundles (id, received_ms, size, bytes) VALUES (?, ?, ?, ?)',
          this.#lastRow,
          nowMs,
          bytes.length,
          bytes.buffer as ArrayBuffer,
        )
      }
    })
    this.#frames += frames
  }

  /** What is stored, and known, as the tables have it. */
  #load(): void {
    const admit = (receivedMs: number) => (frame: FrameIdentity) => void this.#known.admit(frame, receivedMs)
    for (const row of this.#exec(
      'SELECT received_ms, identities FROM known WHERE received_ms >= ? ORDER BY id',
      this.#now() - KNOWN_MS,
    )) {
      eachIdentity(new Uint8Array(row['identities'] as ArrayBuffer), admit(row['received_ms'] as number))
    }
    this.#frames = -this.progress.done
    for (const { id, receivedMs, size, bytes } of this.#rows()) {
      const headers = headersOf(bytes)
      for (const header of headers) admit(receivedMs)(header)
      this.#lastRow = id
      this.#frames += headers.length
      this.#bytes += size
    }
  }

  *#rows(): Generator<Row> {
    let id = 0
    for (;;) {
      const row = this.#one('SELECT id, received_ms, size, bytes FROM bundles WHERE id > ? ORDER BY id LIMIT 1', id)
      if (row === undefined) return
      id = row['id'] as number
      yield {
        id,
        receivedMs: row['received_ms'] as number,
        size: row['size'] as number,
        bytes: new Uint8Array(row['bytes'] as ArrayBuffer),
      }
    }
  }

  /**
   * What a query for one row finds. Read to its end: a cursor that is not holds its row in SQLite's memory, of which there is
   * little, until the garbage collector comes by.
   */
  #one(...query: Parameters<ObjectStorage['sql']['exec']>): Readonly<Record<string, SqlValue>> | undefined {
    return [...this.#exec(...query)][0]
  }

  #save(): void {
    this.#exec('INSERT OR REPLACE INTO progress (id, value) VALUES (0, ?)', JSON.stringify(this.progress))
  }

  #exec(...query: Parameters<ObjectStorage['sql']['exec']>): ReturnType<ObjectStorage['sql']['exec']> {
    return this.#storage.sql.exec(...query)
  }
}

interface Extent {
  /** Where the frame's length, and where the frame ends. */
  readonly start: number
  readonly end: number
}

/** Where the frames of a bundle lie, with their lengths before them. */
function extentsOf(bundle: Uint8Array): Extent[] {
  const extents: Extent[] = []
  let start = 0
  eachFrame(bundle, (_, end) => {
    extents.push({ start, end })
    start = end
  })
  return extents
}

function sizeOf(extents: readonly Extent[], index: number): number {
  const { start, end } = extents[index] as Extent
  return end - start
}

/** The frames were read to their last byte when they were posted. */
function headersOf(bundle: Uint8Array): FrameHeader[] {
  const headers: FrameHeader[] = []
  eachFrame(bundle, (start, end) => headers.push(readHeader(bundle, start, end)))
  return headers
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  let offset = 0
  for (const piece of pieces) {
    bytes.set(piece, offset)
    offset += piece.length
  }
  return bytes
}
