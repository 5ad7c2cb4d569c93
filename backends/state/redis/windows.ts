import type { Mark } from '../ledger.ts'
import type { OutboxEntry } from '../state.ts'
import { eachShard } from './by-shard.ts'
import type { Connection } from './connection.ts'
import { type Outbox, type Waiting, idOf } from './outbox.ts'
import type { Command, Held, OwnedShard } from './owned.ts'

/** Windows marked by one command: a script takes only so many arguments. */
const MARKED_AT_ONCE = 1_000

/** How a waiting window stands in the hash of a shard's windows. */
export interface WindowMeta {
  readonly bytes: number
  readonly key: string
  readonly pending: readonly string[]
}

export interface WindowsOptions {
  readonly name: string
  readonly outbox: Outbox
  readonly backends: readonly string[]
  /** A shard that is this worker's. */
  readonly owned: (shard: number) => OwnedShard | undefined
  readonly onDropped: (entry: OutboxEntry) => void
  readonly onWarning: (message: string) => void
}

/** Keeps what waits for backends the same in memory and in Redis. */
export class Windows {
  readonly #options: WindowsOptions

  constructor(options: WindowsOptions) {
    this.#options = options
  }

  /** Takes over what waits in a shard: for backends that are there; attempts that its last owner began are in doubt. */
  async adopt(owned: OwnedShard, windows: readonly string[], attempts: readonly string[]): Promise<void> {
    const { outbox, backends } = this.#options
    const { shard, keys } = owned
    outbox.forget(shard)
    const gone: number[] = []
    const known = new Set(backends)
    for (let at = 0; at + 1 < windows.length; at += 2) {
      const end = Number(windows[at])
      const { bytes, key, pending } = JSON.parse(windows[at + 1] as string) as WindowMeta
      outbox.add({ shard, end, bytes, key, pending: pending.filter((backend) => known.has(backend)) })
      if (pending.some((backend) => !known.has(backend))) gone.push(end)
    }
    const stray: string[] = []
    for (const attempt of attempts) {
      const [end = '', ...backend] = attempt.split(' ')
      if (!outbox.doubt(shard, Number(end), backend.join(' '))) stray.push(attempt)
    }
    const commands = gone.flatMap((end) => this.#settled(keys, shard, end, undefined))
    for (const some of inParts(stray)) commands.push(['HDEL', keys.attempts, ...some])
    if (commands.length > 0) await owned.inTurn(() => owned.write(commands))
    outbox.removeSettled(shard)
  }

  /**
   * Has Redis and memory agree again after it may have gone back to an earlier time, or lost all: what only memory knows to
   * wait is lost, what only Redis does is settled. Windows committed since are left for the commit that is repeated.
   */
  async reconcile(owned: OwnedShard, { windows }: Held): Promise<void> {
    const { outbox, onWarning, name } = this.#options
    const there = new Set(windows)
    const lost = outbox.ofShard(owned.shard).filter(({ end }) => !there.has(end))
    for (const { end } of lost) outbox.remove(owned.shard, end)
    if (lost.length > 0) {
      const ends = lost.map(({ end }) => end / 1000).join(', ')
      onWarning(`state ${name}: lost windows of shard ${owned.shard} that waited for backends, with ends ${ends}`)
    }
    const settled = windows.filter((end) => end <= owned.end && outbox.find(owned.shard, end) === undefined)
    if (settled.length === 0) return
    await owned.write(settled.map((end) => ['HDEL', owned.keys.windows, end]))
  }

  async load(connection: Connection, id: string): Promise<Uint8Array> {
    const { outbox, name, onWarning } = this.#options
    const window = outbox.get(id)
    const bytes = window === undefined ? null : ((await connection.send('GET', window.key)) as Buffer | null)
    if (bytes !== null) return bytes
    if (window !== undefined && outbox.get(id) === window) {
      onWarning(`state ${name}: ${window.key} is gone, and with it a window that waited; was the key removed?`)
      await this.#remove(window)
    }
    throw new Error(`state ${name}: the outbox has no ${id}: it was settled or dropped`)
  }

  /** Marks windows; answers the shards to which that was written, and what failed. */
  async mark(
    mark: Mark,
    backend: string,
    ids: readonly string[],
  ): Promise<{ readonly done: readonly OwnedShard[]; readonly failure: Error | undefined }> {
    const { outbox, owned: find } = this.#options
    return eachShard(outbox.waiting(backend, ids), async (shard, windows, done: OwnedShard[]) => {
      const owned = find(shard)
      if (owned === undefined) return
      const commands = this.#commandsOf(mark, backend, owned, windows)
      await owned.inTurn(async () => {
        if ((await owned.write(commands())) === undefined) return
        // within the turn: another backend that settles the same window next writes for whom it waits since
        outbox.mark(mark, backend, windows.map(idOf))
        done.push(owned)
      })
    })
  }

  /** Drops the oldest windows for others to fit in. */
  async makeRoom(added: readonly { readonly bytes: number }[]): Promise<void> {
    const { outbox, onDropped } = this.#options
    for (const window of outbox.overflow(added)) {
      const entry = outbox.describe(window)
      if (await this.#remove(window)) onDropped(entry)
    }
  }

  async #remove(window: Waiting): Promise<boolean> {
    const { owned: find, backends, outbox } = this.#options
    const { shard, end, key } = window
    const owned = find(shard)
    if (owned === undefined) return false
    const { windows, attempts } = owned.keys
    return owned.inTurn(async () => {
      // committed again meanwhile, it is another
      if (outbox.find(shard, end) !== window) return false
      await owned.write([
        ['HDEL', windows, end],
        ['UNLINK', key],
        ...(backends.length === 0 ? [] : [['HDEL', attempts, ...fieldsOf([end], backends)] as const]),
      ])
      outbox.remove(shard, end)
      return true
    })
  }

  #commandsOf(mark: Mark, backend: string, owned: OwnedShard, windows: readonly Waiting[]): () => Command[] {
    const { attempts } = owned.keys
    const ends = windows.map(({ end }) => end)
    // by the epoch that it is written in, whichever that is
    if (mark === 'attempt') {
      return () =>
        inParts(ends).map((some) => [
          'HSET',
          attempts,
          ...fieldsOf(some, [backend]).flatMap((field) => [field, owned.epoch]),
        ])
    }
    const released = inParts(fieldsOf(ends, [backend])).map((some): Command => ['HDEL', attempts, ...some])
    if (mark === 'release') return () => released
    return () => [...released, ...ends.flatMap((end) => this.#settled(owned.keys, owned.shard, end, backend))]
  }

  /** Commands that have a window wait for one backend less, or be gone when nobody is left. */
  #settled(keys: OwnedShard['keys'], shard: number, end: number, backend: string | undefined): Command[] {
    const window = this.#options.outbox.find(shard, end)
    if (window === undefined) return []
    const pending = window.pending.filter((name) => name !== backend)
    if (pending.length > 0) {
      return [['HSET', keys.windows, end, metaOf({ bytes: window.bytes, key: window.key, pending })]]
    }
    return [
      ['HDEL', keys.windows, end],
      ['UNLINK', window.key],
    ]
  }
}

export function metaOf(meta: WindowMeta): string {
  return JSON.stringify(meta)
}

function fieldsOf(ends: readonly number[], backends: readonly string[]): string[] {
  return ends.flatMap((end) => backends.map((backend) => `${end} ${backend}`))
}

function inParts<T>(items: readonly T[]): T[][] {
  const parts: T[][] = []
  for (let at = 0; at < items.length; at += MARKED_AT_ONCE) parts.push(items.slice(at, at + MARKED_AT_ONCE))
  return parts
}
