import type { Mark } from '../ledger.ts'
import { WINDOW_BYTES } from '../ledger.ts'
import type { OutboxEntry } from '../state.ts'

/** A committed window that waits for backends. */
export interface Waiting {
  readonly shard: number
  /** ms */
  readonly end: number
  readonly bytes: number
  /** Where its rollups are. */
  readonly key: string
  readonly pending: readonly string[]
}

interface Kept extends Waiting {
  pending: readonly string[]
  /** Backends to whom the shard's last owner had begun an attempt. */
  readonly doubted: Set<string>
}

/** What waits in the shards that are this worker's: their owner alone changes it, so it need not be asked for. */
export class Outbox {
  readonly #windows = new Map<string, Kept>()
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  add(window: Waiting): void {
    const id = idOf(window)
    if (this.#windows.has(id)) return
    this.#windows.set(id, { ...window, doubted: new Set() })
    this.#bytes += window.bytes + WINDOW_BYTES
  }

  /** Answers whether the window waits for that backend. */
  doubt(shard: number, end: number, backend: string): boolean {
    const window = this.#windows.get(idOf({ shard, end }))
    if (window?.pending.includes(backend) !== true) return false
    window.doubted.add(backend)
    return true
  }

  find(shard: number, end: number): Waiting | undefined {
    return this.#windows.get(idOf({ shard, end }))
  }

  get(id: string): Waiting | undefined {
    return this.#windows.get(id)
  }

  ofShard(shard: number): Waiting[] {
    return [...this.#windows.values()].filter((window) => window.shard === shard)
  }

  /** Oldest end first. */
  entries(): OutboxEntry[] {
    return Array.from(this.#windows.values(), (window) => this.describe(window)).sort(byEnd)
  }

  describe(window: Waiting): OutboxEntry {
    const { shard, end, bytes, pending } = window
    const { doubted = new Set<string>() } = window as Partial<Kept>
    return { id: idOf(window), shard, end, bytes, pending, attempted: [...doubted] }
  }

  /** Those of the ids that wait for a backend. What Redis has of marks is not known for certain: an answer may have been lost. */
  waiting(backend: string, ids: readonly string[]): Waiting[] {
    return ids.flatMap((id) => {
      const window = this.#windows.get(id)
      return window?.pending.includes(backend) === true ? [window] : []
    })
  }

  mark(mark: Mark, backend: string, ids: readonly string[]): void {
    if (mark === 'attempt') return
    for (const window of this.waiting(backend, ids) as Kept[]) {
      window.doubted.delete(backend)
      if (mark === 'release') continue
      window.pending = window.pending.filter((name) => name !== backend)
      if (window.pending.length === 0) this.remove(window.shard, window.end)
    }
  }

  remove(shard: number, end: number): void {
    const id = idOf({ shard, end })
    const window = this.#windows.get(id)
    if (window !== undefined) this.#bytes -= window.bytes + WINDOW_BYTES
    this.#windows.delete(id)
  }

  /** Windows of a shard that nobody waits for. */
  removeSettled(shard: number): void {
    for (const window of this.#windows.values()) {
      if (window.shard === shard && window.pending.length === 0) this.remove(shard, window.end)
    }
  }

  forget(shard: number): void {
    for (const window of this.#windows.values()) if (window.shard === shard) this.remove(shard, window.end)
  }

  /** The oldest windows, those that must go for others to fit in. */
  overflow(added: readonly { readonly bytes: number }[]): Waiting[] {
    let bytes = added.reduce((sum, window) => sum + window.bytes + WINDOW_BYTES, this.#bytes)
    const dropped: Waiting[] = []
    for (const window of [...this.#windows.values()].sort(byEnd)) {
      if (bytes <= this.#maxBytes) break
      bytes -= window.bytes + WINDOW_BYTES
      dropped.push(window)
    }
    return dropped
  }
}

export function idOf({ shard, end }: { readonly shard: number; readonly end: number }): string {
  return `${end}-${shard}`
}

function byEnd(
  a: { readonly end: number; readonly shard: number },
  b: { readonly end: number; readonly shard: number },
): number {
  return a.end - b.end || a.shard - b.shard
}
