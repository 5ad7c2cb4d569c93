import { crc32 } from 'node:zlib'
import type { Ledger, Waiting } from '../ledger.ts'
import type { EntryIndex, EntryRange } from './entry-index.ts'
import type { LogFile } from './log-file.ts'
import {
  BUNDLE_HEAD,
  BUNDLE_OVERHEAD,
  type LogRecord,
  MAGIC,
  type Piece,
  encodeCrc,
  encodeHead,
  encodeRecord,
} from './record.ts'

// copied in one turn of the event loop
const SLICE = 1 << 20

// bytes still to follow at which appending is held up for the last of them
const NEAR = 1 << 20

/** One moment of a log: what of it is needed, and how long it was. */
interface Moment {
  readonly group: string
  readonly lastMs: number
  readonly backends: readonly string[]
  readonly shards: readonly { end: number; through: number; snapshots: readonly Piece[]; entries: EntryRange }[]
  readonly windows: readonly Waiting<Piece>[]
  readonly size: number
}

/**
 * A log written anew, with what is still needed only. It copies while the old one goes on growing: first what was live when
 * it began, then, byte by byte, what was appended since (records do not know where they lie). Whoever owns the log holds
 * its writers back for the last of that, and then swaps.
 */
export class Rewrite {
  readonly #source: LogFile
  readonly #target: LogFile
  readonly #moment: Moment
  // where the old log is copied up to, and where in the new one that part starts
  #followed: number
  #base = 0
  readonly #moved = new Map<Piece, number>()
  #batch: Uint8Array[] = []
  #batchBytes = 0

  /** Notes the moment; nothing is written yet. */
  constructor(source: LogFile, target: LogFile, ledger: Ledger<Piece, EntryIndex>, group: string) {
    this.#source = source
    this.#target = target
    this.#followed = source.size
    this.#moment = {
      group,
      lastMs: ledger.lastMs,
      backends: ledger.backends,
      shards: ledger.shards.map(({ end, through, snapshots, log }) => ({
        end,
        through,
        snapshots: [...snapshots],
        entries: log.range(),
      })),
      windows: [...ledger.windows.values()],
      size: source.size,
    }
  }

  /**
   * Copies all that was live, and follows what has been appended until little is missing.
   *
   * @param isCancelled asked between slices; true ends it early
   */
  async run(isCancelled: () => boolean): Promise<void> {
    const { group, lastMs, backends, shards, windows } = this.#moment
    await this.#put(MAGIC)
    await this.#record({ kind: 'header', lastMs, group, backends })
    for (const [shard, { end, through, snapshots }] of shards.entries()) {
      if (end === 0 && through === 0) continue
      await this.#record({ kind: 'shard', shard, end, through })
      for (const snapshot of snapshots) {
        if (isCancelled()) return
        await this.#piece({ kind: 'snapshot', shard, snapshot }, snapshot)
      }
    }
    for (const { shard, end, pending, begun, doubted, piece: window } of windows) {
      if (isCancelled()) return
      const attempted = [...new Set([...begun, ...doubted])]
      await this.#piece({ kind: 'window', shard, end, pending, attempted, window }, window)
    }
    await this.#entries(isCancelled)
    await this.#flush()
    this.#base = this.#target.size
    while (this.#source.size - this.#followed > NEAR && !isCancelled()) await this.#follow()
    await this.#target.sync()
  }

  /** Copies the rest, with nobody appending, and makes the new log durable. */
  async finish(): Promise<void> {
    while (this.#followed < this.#source.size) await this.#follow()
    await this.#target.sync()
  }

  /** Tells a ledger where everything lies now. */
  relocate(ledger: Ledger<Piece, EntryIndex>): void {
    const distance = this.#base - this.#moment.size
    const move = (piece: Piece): void => {
      piece.offset = this.#moved.get(piece) ?? piece.offset + distance
    }
    for (const [number, { snapshots, log }] of ledger.shards.entries()) {
      snapshots.forEach(move)
      log.move((this.#moment.shards[number] as Moment['shards'][number]).entries, distance)
    }
    for (const { piece } of ledger.windows.values()) move(piece)
  }

  async #record(record: LogRecord<Uint8Array>): Promise<void> {
    for (const bytes of await encodeRecord(record)) await this.#put(bytes)
  }

  /** A record around bytes of the old log. */
  async #piece(record: LogRecord, piece: Piece): Promise<void> {
    const { head } = encodeHead(record)
    await this.#put(head)
    this.#moved.set(piece, this.#target.size + this.#batchBytes)
    let crc = crc32(head)
    for (let done = 0; done < piece.length; done += SLICE) {
      const bytes = await this.#source.read(piece.offset + done, Math.min(SLICE, piece.length - done))
      crc = crc32(bytes, crc)
      await this.#put(bytes)
    }
    await this.#put(encodeCrc(crc))
  }

  /** The entries of all shards, in the order in which they lie, neighbours in one go. */
  async #entries(isCancelled: () => boolean): Promise<void> {
    const ranges = this.#moment.shards.map(({ entries }) => entries)
    const next = ranges.map(() => 0)
    let start = 0
    let end = 0
    const copy = async (): Promise<void> => {
      for (let at = start; at < end; at += SLICE) {
        await this.#put(await this.#source.read(at, Math.min(SLICE, end - at)))
      }
    }
    for (let nearest = first(ranges, next); nearest >= 0; nearest = first(ranges, next)) {
      const { offsets, lengths } = ranges[nearest] as EntryRange
      const place = next[nearest] as number
      const from = (offsets[place] as number) - BUNDLE_HEAD
      if (from !== end || end - start >= SLICE) {
        if (isCancelled()) return
        await copy()
        start = from
      }
      end = from + (lengths[place] as number) + BUNDLE_OVERHEAD
      offsets[place] = this.#target.size + this.#batchBytes + from - start + BUNDLE_HEAD
      next[nearest] = place + 1
    }
    await copy()
  }

  async #follow(): Promise<void> {
    const bytes = await this.#source.read(this.#followed, Math.min(SLICE, this.#source.size - this.#followed))
    await this.#target.append([bytes], false)
    this.#followed += bytes.length
  }

  async #put(bytes: Uint8Array): Promise<void> {
    this.#batch.push(bytes)
    this.#batchBytes += bytes.length
    if (this.#batchBytes >= SLICE || this.#batch.length >= 1000) await this.#flush()
  }

  async #flush(): Promise<void> {
    await this.#target.append(this.#batch, false)
    this.#batch = []
    this.#batchBytes = 0
  }
}

/** The range whose next entry lies first; -1 when all are through. */
function first(ranges: readonly EntryRange[], next: readonly number[]): number {
  let nearest = -1
  let least = Number.POSITIVE_INFINITY
  for (let index = 0; index < ranges.length; index++) {
    const offset = (ranges[index] as EntryRange).offsets[next[index] as number]
    if (offset !== undefined && offset < least) {
      least = offset
      nearest = index
    }
  }
  return nearest
}
