import { SHARDS } from '../../client/wire/series.ts'
import type { Commit, OutboxEntry } from './state.ts'

/** What keeping one window takes beside its bytes: a million small ones must not slip under the outbox's bound. */
export const WINDOW_BYTES = 256

/** A shard's log as the ledger sees it; entries are numbered from 1 and kept from behind the committed one. */
export interface ShardLog {
  /** Number that the next entry gets. */
  readonly next: number
  /** Bytes that the entries kept take. */
  readonly bytes: number
  /** Forgets the entries up to and including this number. */
  trim(through: number): void
}

/** One shard: what its next owner starts from. */
export interface Shard<P, L extends ShardLog> {
  /** End of the last committed window, ms; 0 when there is none. */
  end: number
  /** Number of the last entry that is in the snapshots. */
  through: number
  /** The newest full snapshot and the changes since. */
  snapshots: P[]
  readonly log: L
}

/** A committed window that waits for backends. Replaced, never changed, so that whoever holds one sees one moment. */
export interface Waiting<P> {
  readonly id: string
  readonly shard: number
  readonly end: number
  readonly piece: P
  readonly pending: readonly string[]
  /** Backends to whom this process has begun an attempt. */
  readonly begun: readonly string[]
  /** Backends to whom an earlier process had. */
  readonly doubted: readonly string[]
}

/** One shard's part of a commit, its bytes stored. */
export interface Committed<P> {
  readonly shard: number
  readonly end: number
  /** Number of the last entry contained; 0: as before. */
  readonly through: number
  readonly kind: 'full' | 'changes'
  readonly snapshot: P
  readonly outbox: P | undefined
}

export type Mark = 'attempt' | 'release' | 'settle'

/**
 * The bookkeeping that memory and file state share: which entries, snapshots and windows there are. It never sees bytes,
 * only pieces `P` (the bytes themselves, or where they lie), and does no I/O: a state stores first, and notes it here after.
 */
export class Ledger<P extends { readonly length: number }, L extends ShardLog> {
  /** The log's clock, ms: the last time it told. */
  lastMs = 0
  backends: readonly string[] = []
  readonly shards: readonly Shard<P, L>[]
  readonly windows: Map<string, Waiting<P>> = new Map()
  #windowBytes = 0
  #snapshotBytes = 0
  readonly #name: string

  constructor(name: string, createLog: () => L) {
    this.#name = name
    this.shards = Array.from({ length: SHARDS }, () => ({ end: 0, through: 0, snapshots: [], log: createLog() }))
  }

  /** Bytes of all that is still needed. */
  get bytes(): number {
    return this.shards.reduce((sum, { log }) => sum + log.bytes, this.#windowBytes + this.#snapshotBytes)
  }

  tick(clockMs: number): number {
    return (this.lastMs = Math.max(this.lastMs, Math.floor(clockMs)))
  }

  shard(number: number): Shard<P, L> {
    const shard = this.shards[number]
    if (shard === undefined)
      throw new RangeError(`state ${this.#name}: shard ${number} is not one of 0 to ${SHARDS - 1}`)
    return shard
  }

  /** Sets whom later commits wait for. Windows stop waiting for any other; answers how many did, by backend. */
  configure(backends: readonly string[]): Map<string, number> {
    this.backends = [...new Set(backends)]
    const known = new Set(this.backends)
    const left = new Map<string, number>()
    for (const window of this.windows.values()) {
      const gone = window.pending.filter((backend) => !known.has(backend))
      for (const backend of gone) {
        left.set(backend, (left.get(backend) ?? 0) + 1)
        this.mark('settle', backend, [window.id])
      }
    }
    return left
  }

  /** A new process took over: what the one before had begun is in doubt. */
  doubt(): void {
    for (const [id, window] of this.windows) {
      if (window.begun.length === 0) continue
      this.windows.set(id, { ...window, begun: [], doubted: [...new Set([...window.doubted, ...window.begun])] })
    }
  }

  /**
   * What a commit is about to change, without changing it: the windows that were not committed before, and the ids that
   * must go for them to fit into the outbox.
   *
   * @throws RangeError when a window is older than the last one committed, or its position is none that the log gave
   */
  plan(commits: readonly Commit[], maxOutboxBytes: number): { fresh: Commit[]; dropped: string[] } {
    const ends = new Map<number, number>()
    const fresh: Commit[] = []
    const added: { id: string; bytes: number }[] = []
    for (const commit of commits) {
      const shard = this.shard(commit.shard)
      const end = ends.get(commit.shard) ?? shard.end
      if (commit.end === end) continue
      if (!(commit.end > end)) {
        throw new RangeError(
          `state ${this.#name}: shard ${commit.shard} is committed up to ${end}, ${commit.end} came after`,
        )
      }
      const through = commit.position === undefined ? shard.through : Number(commit.position)
      if (!Number.isInteger(through) || through < shard.through || through >= shard.log.next) {
        throw new RangeError(
          `state ${this.#name}: position ${commit.position} of shard ${commit.shard} is not between its committed one, ` +
            `${shard.through}, and its last, ${shard.log.next - 1}`,
        )
      }
      ends.set(commit.shard, commit.end)
      const outbox = this.backends.length > 0 ? commit.outbox : undefined
      fresh.push({ ...commit, outbox })
      if (outbox !== undefined) added.push({ id: windowId(commit), bytes: outbox.length + WINDOW_BYTES })
    }
    return { fresh, dropped: this.#overflow(added, maxOutboxBytes) }
  }

  /** Notes a commit; answers the windows dropped for it. */
  commit(parts: readonly Committed<P>[], dropped: readonly string[]): OutboxEntry[] {
    for (const part of parts) {
      const shard = this.shard(part.shard)
      shard.end = part.end
      if (part.through > shard.through) {
        shard.through = part.through
        shard.log.trim(part.through)
      }
      if (part.kind === 'full') {
        for (const { length } of shard.snapshots) this.#snapshotBytes -= length
        shard.snapshots = []
      }
      this.addSnapshot(part.shard, part.snapshot)
      if (part.outbox !== undefined) {
        const { shard: number, end } = part
        this.addWindow({ shard: number, end, piece: part.outbox, pending: this.backends, doubted: [] })
      }
    }
    const gone: OutboxEntry[] = []
    for (const id of dropped) {
      const window = this.windows.get(id)
      if (window === undefined) continue
      gone.push(describe(window))
      this.#forget(window)
    }
    return gone
  }

  addSnapshot(shard: number, piece: P): void {
    this.shard(shard).snapshots.push(piece)
    this.#snapshotBytes += piece.length
  }

  addWindow(window: Pick<Waiting<P>, 'shard' | 'end' | 'piece' | 'pending' | 'doubted'>): void {
    const id = windowId(window)
    this.windows.set(id, { id, begun: [], ...window })
    this.#windowBytes += window.piece.length + WINDOW_BYTES
  }

  /** Those of the ids for whom a mark would change something. */
  markable(mark: Mark, backend: string, ids: readonly string[]): string[] {
    return ids.filter((id) => {
      const window = this.windows.get(id)
      if (window === undefined || !window.pending.includes(backend)) return false
      if (mark === 'attempt') return !window.begun.includes(backend)
      return mark === 'settle' || window.begun.includes(backend) || window.doubted.includes(backend)
    })
  }

  mark(mark: Mark, backend: string, ids: readonly string[]): void {
    const others = (names: readonly string[]): readonly string[] => names.filter((name) => name !== backend)
    for (const id of this.markable(mark, backend, ids)) {
      const window = this.windows.get(id) as Waiting<P>
      if (mark === 'attempt') {
        this.windows.set(id, { ...window, begun: [...window.begun, backend] })
        continue
      }
      const pending = mark === 'settle' ? others(window.pending) : window.pending
      if (pending.length === 0) this.#forget(window)
      else this.windows.set(id, { ...window, pending, begun: others(window.begun), doubted: others(window.doubted) })
    }
  }

  outbox(): OutboxEntry[] {
    return Array.from(this.windows.values(), describe).sort((a, b) => a.end - b.end || a.shard - b.shard)
  }

  /** The piece of an outbox entry. */
  window(id: string): P {
    const window = this.windows.get(id)
    if (window === undefined) throw new Error(`state ${this.#name}: the outbox has no ${id}: it was settled or dropped`)
    return window.piece
  }

  #forget(window: Waiting<P>): void {
    this.windows.delete(window.id)
    this.#windowBytes -= window.piece.length + WINDOW_BYTES
  }

  #overflow(added: readonly { id: string; bytes: number }[], maxBytes: number): string[] {
    let bytes = added.reduce((sum, window) => sum + window.bytes, this.#windowBytes)
    const dropped: string[] = []
    if (bytes <= maxBytes) return dropped
    for (const { id, piece } of this.windows.values()) {
      if (bytes <= maxBytes) return dropped
      bytes -= piece.length + WINDOW_BYTES
      dropped.push(id)
    }
    for (const window of added) {
      if (bytes <= maxBytes) return dropped
      bytes -= window.bytes
      dropped.push(window.id)
    }
    return dropped
  }
}

function windowId({ shard, end }: { readonly shard: number; readonly end: number }): string {
  return `${end}-${shard}`
}

function describe({ id, shard, end, piece, pending, doubted }: Waiting<{ readonly length: number }>): OutboxEntry {
  return { id, shard, end, bytes: piece.length, pending, attempted: doubted }
}
