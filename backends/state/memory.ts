import { UsageError } from '../../client/errors.ts'
import { Ledger, type Mark, type ShardLog } from './ledger.ts'
import {
  type Appended,
  type Commit,
  type LogEntry,
  type OutboxEntry,
  type Restored,
  State,
  type StateSettings,
} from './state.ts'

export interface MemoryStateOptions {
  /** Wall clock, ms since the epoch; made monotonic. Default `Date.now`. */
  readonly now?: () => number
  /** Windows waiting for backends, in bytes; past it the oldest are dropped and counted. Default 64 MB. */
  readonly maxOutboxBytes?: number
  /** Called with every window dropped from a full outbox. */
  readonly onDropped?: (entry: OutboxEntry) => void
}

/**
 * State that ends with its process: what a worker starts with when nobody asked for more. Closed and opened again within
 * the process, it holds what it held, as a restarted worker would find it.
 */
export class MemoryState extends State {
  readonly name: string = 'memory:'
  readonly durable: boolean = false
  #dropped = 0
  #open = false
  #group: string | undefined
  readonly #clock: () => number
  readonly #maxOutboxBytes: number
  readonly #onDropped: (entry: OutboxEntry) => void
  readonly #ledger = new Ledger<Uint8Array, KeptEntries>('memory:', () => new KeptEntries())

  constructor({ now = Date.now, maxOutboxBytes = 64 << 20, onDropped = () => {} }: MemoryStateOptions = {}) {
    super()
    this.#clock = now
    this.#maxOutboxBytes = maxOutboxBytes
    this.#onDropped = onDropped
  }

  /** Windows dropped from a full outbox. */
  get dropped(): number {
    return this.#dropped
  }

  override async open({ group, backends }: StateSettings): Promise<void> {
    if (this.#open) throw new UsageError('state memory: is open already; close it first')
    if (this.#group !== undefined && this.#group !== group) {
      throw new UsageError(`state memory: was made for group ${this.#group}, not for ${group}; use a new one`)
    }
    this.#group = group
    this.#open = true
    this.#ledger.configure(backends)
    this.#ledger.doubt()
  }

  override async now(): Promise<number> {
    return this.#opened().tick(this.#clock())
  }

  override async acquire(shard: number): Promise<Restored> {
    const { snapshots, end, log } = this.#opened().shard(shard)
    const { first, next } = log
    return { snapshots: [...snapshots], end, entries: { [Symbol.asyncIterator]: () => log.read(first, next) } }
  }

  override async append(
    entries: readonly { readonly shard: number; readonly bundle: Uint8Array }[],
  ): Promise<Appended[]> {
    const ledger = this.#opened()
    const logs = entries.map(({ shard }) => ledger.shard(shard).log)
    const timeMs = ledger.tick(this.#clock())
    return entries.map(({ bundle }, index) => (logs[index] as KeptEntries).push(timeMs, bundle.slice()))
  }

  override async commit(commits: readonly Commit[]): Promise<void> {
    const ledger = this.#opened()
    const { fresh, dropped } = ledger.plan(commits, this.#maxOutboxBytes)
    const parts = fresh.map(({ shard, end, position, snapshot, outbox }) => ({
      shard,
      end,
      through: position === undefined ? 0 : Number(position),
      kind: snapshot.kind,
      snapshot: snapshot.bytes.slice(),
      outbox: outbox?.slice(),
    }))
    for (const entry of ledger.commit(parts, dropped)) {
      this.#dropped++
      this.#onDropped(entry)
    }
  }

  override async outbox(): Promise<OutboxEntry[]> {
    return this.#opened().outbox()
  }

  override async load(id: string): Promise<Uint8Array> {
    return this.#opened().window(id)
  }

  override async attempt(backend: string, ids: readonly string[]): Promise<void> {
    this.#mark('attempt', backend, ids)
  }

  override async release(backend: string, ids: readonly string[]): Promise<void> {
    this.#mark('release', backend, ids)
  }

  override async settle(backend: string, ids: readonly string[]): Promise<void> {
    this.#mark('settle', backend, ids)
  }

  override async close(): Promise<void> {
    this.#open = false
  }

  #mark(mark: Mark, backend: string, ids: readonly string[]): void {
    this.#opened().mark(mark, backend, ids)
  }

  #opened(): Ledger<Uint8Array, KeptEntries> {
    if (!this.#open) throw new Error('state memory: is not open')
    return this.#ledger
  }
}

/** The entries of one shard behind its committed position. */
class KeptEntries implements ShardLog {
  next = 1
  bytes = 0
  #entries: LogEntry[] = []

  get first(): number {
    return this.next - this.#entries.length
  }

  push(timeMs: number, bundle: Uint8Array): Appended {
    const position = String(this.next++)
    this.#entries.push({ position, timeMs, bundle })
    this.bytes += bundle.length
    return { position, timeMs }
  }

  trim(through: number): void {
    for (const { bundle } of this.#entries.splice(0, through + 1 - this.first)) this.bytes -= bundle.length
  }

  /** Entries numbered `from` up to and without `to`, but for those trimmed by the time they are asked for. */
  async *read(from: number, to: number): AsyncGenerator<LogEntry, void> {
    for (let number = from; number < to; number++) {
      number = Math.max(number, this.first)
      const entry = this.#entries[number - this.first]
      if (entry === undefined || number >= to) return
      yield entry
    }
  }
}
