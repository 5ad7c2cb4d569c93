import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../../client/errors.ts'
import { readEntries } from './file/entries.ts'
import type { EntryIndex } from './file/entry-index.ts'
import { LOG, NEW_LOG, loadLog } from './file/load.ts'
import { DirectoryLock } from './file/lock.ts'
import { LogFile, syncDirectory } from './file/log-file.ts'
import { BUNDLE_HEAD, BUNDLE_OVERHEAD, type Encoded, type Piece, encodeRecord } from './file/record.ts'
import { Rewrite } from './file/rewrite.ts'
import { Serial } from './file/serial.ts'
import type { Ledger, Mark } from './ledger.ts'
import { type Appended, type Commit, type OutboxEntry, type Restored, State, type StateSettings } from './state.ts'

/**
 * What survives the machine, not only the process: `commit`: commits and attempts, with all before them; `always`: every
 * call; `never`: what the system happens to have written.
 */
export type Sync = 'commit' | 'always' | 'never'

export interface FileStateOptions {
  /** Made when it is not there, for its owner only. */
  readonly directory: string
  /** Wall clock, ms since the epoch; made monotonic, over restarts too. Default `Date.now`. */
  readonly now?: () => number
  /** Default `commit`. */
  readonly sync?: Sync
  /** Windows waiting for backends, in bytes; past it the oldest are dropped and counted. Default 1 GB. */
  readonly maxOutboxBytes?: number
  /** The log is rewritten when what it no longer needs is more than this, and more than what it needs. Default 16 MB. */
  readonly minGarbageBytes?: number
  /** Called with every window dropped from a full outbox. */
  readonly onDropped?: (entry: OutboxEntry) => void
  /** Told what was cut, given up or could not be done. Default `process.emitWarning`. */
  readonly onWarning?: (message: string) => void
}

interface Opened {
  readonly group: string
  readonly lock: DirectoryLock
  readonly ledger: Ledger<Piece, EntryIndex>
  log: LogFile
}

/**
 * State in a directory: one append-only log for all shards, of which memory holds only where what lies. Every call is
 * written before it resolves, so a process that is killed takes nothing with it. One process at a time.
 */
export class FileState extends State {
  readonly name: string
  readonly durable: boolean = true
  #dropped = 0
  #opened: Opened | undefined
  #opening = false
  #closing: Promise<void> | undefined
  #lost = false
  #compacting: Promise<void> | undefined
  // grows when a rewrite failed, so that a full disk is not tried at every commit
  #garbageBytes: number
  readonly #queue = new Serial()
  readonly #directory: string
  readonly #clock: () => number
  readonly #sync: Sync
  readonly #maxOutboxBytes: number
  readonly #minGarbageBytes: number
  readonly #onDropped: (entry: OutboxEntry) => void
  readonly #warn: (message: string) => void

  constructor({
    directory,
    now = Date.now,
    sync = 'commit',
    maxOutboxBytes = 2 ** 30,
    minGarbageBytes = 16 << 20,
    onDropped = () => {},
    onWarning = (message) => process.emitWarning(message, 'ZibratoWarning'),
  }: FileStateOptions) {
    super()
    this.name = `file:${directory}`
    this.#directory = directory
    this.#clock = now
    this.#sync = sync
    this.#maxOutboxBytes = maxOutboxBytes
    this.#minGarbageBytes = this.#garbageBytes = minGarbageBytes
    this.#onDropped = onDropped
    this.#warn = onWarning
  }

  /** Windows dropped from a full outbox since this was made. */
  get dropped(): number {
    return this.#dropped
  }

  override async open(settings: StateSettings): Promise<void> {
    if (this.#opened !== undefined || this.#opening) {
      throw new UsageError(`state ${this.name} is open already; close it first`)
    }
    this.#opening = true
    const name = `state ${this.name}`
    const directory = this.#directory
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      this.#lost = false
      const lock = await DirectoryLock.take({ directory, name, onLost: () => (this.#lost = true) })
      try {
        const options = { ...settings, directory, name, nowMs: this.#clock(), onWarning: this.#warn }
        this.#opened = { group: settings.group, lock, ...(await loadLog(options)) }
        this.#closing = undefined
      } catch (error) {
        await lock.release()
        throw error
      }
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause
      throw new UsageError(
        `${name} cannot be used (${(cause as Error).message}): name a directory with room in it that this process may write to`,
        { cause },
      )
    } finally {
      this.#opening = false
    }
  }

  override async now(): Promise<number> {
    return this.#use().ledger.tick(this.#clock())
  }

  override async acquire(shard: number): Promise<Restored> {
    return this.#run(async (opened) => {
      const { snapshots, end, log: index } = opened.ledger.shard(shard)
      const { first, next } = index
      const { log } = opened
      const read = snapshots.map(({ offset, length }) => log.read(offset, length))
      const entries = { [Symbol.asyncIterator]: () => readEntries(() => opened.log, index, first, next) }
      return { snapshots: await Promise.all(read), end, entries }
    })
  }

  override async append(
    entries: readonly { readonly shard: number; readonly bundle: Uint8Array }[],
  ): Promise<Appended[]> {
    return this.#run(async (opened) => {
      const { ledger } = opened
      const timeMs = ledger.tick(this.#clock())
      const numbers = new Map<EntryIndex, number>()
      const records: Encoded[] = []
      for (const { shard, bundle } of entries) {
        const index = ledger.shard(shard).log
        const number = numbers.get(index) ?? index.next
        numbers.set(index, number + 1)
        records.push(await encodeRecord({ kind: 'bundle', shard, number, timeMs, bundle }))
      }
      let at = await this.#write(opened, records.flat(), this.#sync === 'always')
      return entries.map(({ shard, bundle }) => {
        const position = String(ledger.shard(shard).log.push(at + BUNDLE_HEAD, bundle.length))
        at += BUNDLE_OVERHEAD + bundle.length
        return { position, timeMs }
      })
    })
  }

  override async commit(commits: readonly Commit[]): Promise<void> {
    await this.#run(async (opened) => {
      const { ledger } = opened
      const { fresh, dropped } = ledger.plan(commits, this.#maxOutboxBytes)
      if (fresh.length === 0) return
      const parts = fresh.map(({ shard, end, position, snapshot, outbox }) => {
        const through = position === undefined ? 0 : Number(position)
        return { shard, end, through, kind: snapshot.kind, snapshot: snapshot.bytes, outbox }
      })
      const record = await encodeRecord({ kind: 'commit', timeMs: ledger.tick(this.#clock()), parts, dropped })
      let at = (await this.#write(opened, record, this.#sync !== 'never')) + (record[0] as Uint8Array).length
      const place = ({ length }: Uint8Array): Piece => {
        at += length
        return { offset: at - length, length }
      }
      const placed = parts.map((part) => {
        const snapshot = place(part.snapshot)
        return { ...part, snapshot, outbox: part.outbox && place(part.outbox) }
      })
      for (const entry of ledger.commit(placed, dropped)) {
        this.#dropped++
        this.#onDropped(entry)
      }
      this.#compactWhenWorth(opened)
    })
  }

  override async outbox(): Promise<OutboxEntry[]> {
    return this.#use().ledger.outbox()
  }

  override async load(id: string): Promise<Uint8Array> {
    const { ledger, log } = this.#use()
    const { offset, length } = ledger.window(id)
    return log.read(offset, length)
  }

  override async attempt(backend: string, ids: readonly string[]): Promise<void> {
    await this.#mark('attempt', backend, ids)
  }

  override async release(backend: string, ids: readonly string[]): Promise<void> {
    await this.#mark('release', backend, ids)
  }

  override async settle(backend: string, ids: readonly string[]): Promise<void> {
    await this.#mark('settle', backend, ids)
  }

  /**
   * Rewrites the log with what is still needed only. Happens by itself when it is worth it; calls go on meanwhile. A crash
   * at any point leaves the old log or the new one.
   */
  async compact(): Promise<void> {
    this.#compacting ??= this.#rewrite(this.#use()).finally(() => (this.#compacting = undefined))
    return this.#compacting
  }

  override close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const opened = this.#opened
    if (opened === undefined) return
    await this.#compacting?.catch(() => {})
    await this.#queue.run(async () => {
      this.#opened = undefined
      try {
        if (!this.#lost) await opened.log.sync()
      } finally {
        await opened.log.close()
        await opened.lock.release()
      }
    })
  }

  async #mark(mark: Mark, backend: string, ids: readonly string[]): Promise<void> {
    await this.#run(async (opened) => {
      const marked = opened.ledger.markable(mark, backend, ids)
      if (marked.length === 0) return
      // an attempt forgotten is a window sent twice; a release or settle forgotten is one in doubt
      const sync = this.#sync === 'always' || (mark === 'attempt' && this.#sync === 'commit')
      await this.#write(opened, await encodeRecord({ kind: mark, backend, ids: marked }), sync)
      opened.ledger.mark(mark, backend, marked)
      this.#compactWhenWorth(opened)
    })
  }

  async #write({ log }: Opened, buffers: Encoded, sync: boolean): Promise<number> {
    if (this.#lost) {
      throw new Error(
        `state ${this.name}: another process took the directory over while this one stood still; nothing more is written here`,
      )
    }
    try {
      return await log.append(buffers, sync)
    } catch (cause) {
      throw new Error(
        `state ${this.name}: writing to its log failed (${(cause as Error).message}); nothing of this call was kept. ` +
          'Calls work again once the disk does',
        { cause },
      )
    }
  }

  #compactWhenWorth(opened: Opened): void {
    const { ledger, log } = opened
    const needed = ledger.bytes
    if (this.#compacting !== undefined || this.#closing !== undefined) return
    if (log.size - needed <= Math.max(needed, this.#garbageBytes)) return
    this.compact().then(
      () => {
        this.#garbageBytes = this.#minGarbageBytes
        // what was committed meanwhile may have left as much again
        this.#compactWhenWorth(opened)
      },
      (error: Error) => {
        this.#garbageBytes = 2 * (log.size - needed)
        this.#warn(
          `state ${this.name}: its log of ${log.size} bytes could not be compacted (${error.message}); it goes on growing`,
        )
      },
    )
  }

  async #rewrite(opened: Opened): Promise<void> {
    const { log: old, ledger, group } = opened
    const path = join(this.#directory, NEW_LOG)
    const target = await LogFile.create(path)
    const isCancelled = (): boolean => this.#closing !== undefined || this.#lost
    try {
      // in the queue, so that file and ledger speak of the same moment
      const rewrite = await this.#queue.run(async () => new Rewrite(old, target, ledger, group))
      await rewrite.run(isCancelled)
      await this.#queue.run(async () => {
        if (isCancelled()) return
        await rewrite.finish()
        await rename(path, join(this.#directory, LOG))
        rewrite.relocate(ledger)
        opened.log = target
        // before anything is acknowledged that only the new log has
        await syncDirectory(this.#directory)
      })
    } finally {
      const isSwapped = opened.log === target
      await (isSwapped ? old : target).close()
      if (!isSwapped) await rm(path, { force: true })
    }
  }

  #use(): Opened {
    if (this.#opened === undefined || this.#closing !== undefined) throw new Error(`state ${this.name} is not open`)
    return this.#opened
  }

  /** Runs what writes, or must not see a half-done write, one after another. */
  async #run<T>(task: (opened: Opened) => Promise<T>): Promise<T> {
    const opened = this.#use()
    return this.#queue.run(() => task(opened))
  }
}
