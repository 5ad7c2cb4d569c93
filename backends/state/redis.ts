import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { UsageError } from '../../client/errors.ts'
import { sleep } from '../../client/sleep.ts'
import { SHARDS } from '../../client/wire/series.ts'
import { eachShard, groupByShard } from './redis/by-shard.ts'
import { Clock } from './redis/clock.ts'
import { type Committed, checkCommits, commitWindow } from './redis/commit.ts'
import type { Connection } from './redis/connection.ts'
import { RedisJournal } from './redis/journal.ts'
import { GroupKeys } from './redis/keys.ts'
import { appendTo, readLog } from './redis/log.ts'
import { type Beat, Membership } from './redis/membership.ts'
import { Outbox } from './redis/outbox.ts'
import { type Held, LIFE_MS, OwnedShard } from './redis/owned.ts'
import { timeOf } from './redis/position.ts'
import { readShard } from './redis/restore.ts'
import { checkServers } from './redis/server.ts'
import { troubleOf } from './redis/trouble.ts'
import type { RedisUrl } from './redis/url.ts'
import { Windows } from './redis/windows.ts'
import type { Mark } from './ledger.ts'
import { SharedState } from './shared.ts'
import type { Appended, Commit, LogEntry, OutboxEntry, Restored, StateSettings } from './state.ts'

export interface RedisStateOptions {
  /** Makes the connection; called once, by `open`. */
  readonly connect: () => Promise<Connection>
  /** For logs, without secrets. */
  readonly name: string
  /** Default `single`. */
  readonly kind?: RedisUrl['kind']
  /** Begins every key. Default `zibrato:`. */
  readonly prefix?: string
  /** Default 5,000. */
  readonly leaseMs?: number
  /** Whether the group reads the journal instead of keeping logs of its own. Default false. */
  readonly journal?: boolean
  /** How many replicas must have leases, commits and marks of attempts. Default 0. */
  readonly replicas?: number
  /** How long `open` waits for a server that is not there yet. Default 30,000. */
  readonly waitMs?: number
  /** Windows of this worker's shards that wait for backends, in bytes; past it the oldest are dropped. Default 1 GB. */
  readonly maxOutboxBytes?: number
  readonly onDropped?: (entry: OutboxEntry) => void
  readonly onWarning?: (message: string) => void
}

/** How soon a server that failed while a worker starts is looked at again. */
const LOOK_AGAIN_MS = 100

/**
 * State in Redis, which many workers share: each shard's log is a stream, its snapshots and windows are strings, and whoever
 * has its lease may write them, which every script checks first.
 */
export class RedisState extends SharedState {
  readonly name: string
  readonly durable = true
  readonly id: string
  readonly leaseMs: number
  override readonly journal: RedisJournal | undefined
  readonly #options: RedisStateOptions
  readonly #owned = new Map<number, OwnedShard>()
  readonly #outbox: Outbox
  readonly #clock = new Clock()
  // calls that are under way, which closing waits for
  readonly #calls = new Set<Promise<unknown>>()
  #group = 'default'
  #keys: GroupKeys
  #backends: readonly string[] = []
  #windows: Windows
  #membership: Membership | undefined
  #connection: Connection | undefined
  #opened = false
  // shards lost in this tick, to be told of together
  #lost: number[] = []
  #warned = { text: '', ms: 0 }
  #live: readonly string[] = []
  // until when those who lived before the data was gone count as living, ms of `performance.now()`
  #trustMs = 0

  constructor(options: RedisStateOptions) {
    super()
    this.#options = options
    this.name = options.name
    this.leaseMs = options.leaseMs ?? 5_000
    this.id = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`
    this.#outbox = new Outbox(options.maxOutboxBytes ?? 1 << 30)
    this.#keys = this.#keysOf('default')
    this.#windows = this.#windowsFor([])
    this.journal =
      options.journal === true
        ? new RedisJournal({
            connection: () => this.#connected(),
            prefix: options.prefix ?? 'zibrato:',
            group: () => this.#group,
            isTogether: options.kind !== 'cluster',
          })
        : undefined
  }

  override async open({ group, backends, settings }: StateSettings): Promise<void> {
    if (this.#opened) throw new UsageError(`state ${this.name} is open already; close it first`)
    this.#opened = true
    this.#group = group
    this.#keys = this.#keysOf(group)
    this.#backends = [...new Set(backends)]
    this.#windows = this.#windowsFor(this.#backends)
    const { leaseMs, id } = this
    this.#membership = new Membership({ keys: this.#keys, group, id, leaseMs, settings, lifeMs: LIFE_MS })
    try {
      await this.#connect()
    } catch (error) {
      this.#connection?.close()
      this.#connection = undefined
      this.#opened = false
      const { message, cause } = error as Error
      // what only a change of its settings can make good is a wrong setting
      throw isLasting(error) ? new UsageError(message, { cause }) : error
    }
  }

  override async now(): Promise<number> {
    return this.#clock.now(this.#connected())
  }

  override beat(): Promise<readonly string[]> {
    return this.#call(async (connection) => {
      const beat = await (this.#membership as Membership).beat(connection)
      this.#clock.set(beat.nowMs)
      const { done, failure } = await eachShard(
        [...this.#owned.values()],
        async (_, [owned], renewed: OwnedShard[]) => {
          await owned?.renew()
          renewed.push(owned as OwnedShard)
        },
      )
      // one whose slot moves, or whose node is away, is renewed with the next
      if (failure !== undefined && done.length === 0) throw failure
      if (failure !== undefined) this.#warn(failure.message)
      return this.#living(beat)
    })
  }

  override holds(shard: number): boolean {
    const owned = this.#owned.get(shard)
    return owned?.isLeased === true && !owned.isStale
  }

  override acquire(shard: number): Promise<Restored | undefined> {
    return this.#call(async (connection) => {
      this.#checkShard(shard)
      const keys = this.#keys.shard(shard)
      const before = this.#owned.get(shard)
      if (before !== undefined) this.#forget(before)
      const owned = new OwnedShard({
        shard,
        keys,
        connection,
        id: this.id,
        leaseMs: this.leaseMs,
        isJournal: this.journal !== undefined,
        onLost: (lost) => this.#lose(lost),
        onHeld: (own, held) => this.#reconcile(own, held),
      })
      const { session } = connection
      if (!(await owned.acquire())) return undefined
      await this.#replicated(connection, [owned], session)
      const { snapshots, windows, attempts } = await readShard(connection, owned)
      // a lease that ended meanwhile was another's gain, and nobody is told twice
      if (owned.isLost) return undefined
      this.#owned.set(shard, owned)
      await this.#windows.adopt(owned, windows, attempts)
      this.#clock.notBefore(timeOf(owned.last))
      await this.journal?.enter(shard, owned.through)
      const entries = this.#entries(keys.log, owned.through, owned.last)
      return { snapshots, end: owned.end, entries }
    })
  }

  override append(
    entries: readonly { readonly shard: number; readonly bundle: Uint8Array }[],
  ): Promise<(Appended | undefined)[]> {
    return this.#call(async () => {
      for (const { shard } of entries) this.#checkShard(shard)
      const answers: (Appended | undefined)[] = entries.map(() => undefined)
      const places = groupByShard(entries.map(({ shard, bundle }, index) => ({ shard, bundle, index })))
      await Promise.all(
        Array.from(places, async ([shard, own]) => {
          const owned = this.#owned.get(shard)
          if (owned === undefined) return
          const appended = await appendTo(
            owned,
            own.map(({ bundle }) => bundle),
          )
          own.forEach(({ index }, at) => {
            const place = appended?.[at]
            if (place !== undefined) answers[index] = { ...place, timeMs: this.#clock.notBefore(place.timeMs) }
          })
        }),
      )
      return answers
    })
  }

  override commit(commits: readonly Commit[]): Promise<void> {
    return this.#call(async (connection) => {
      for (const { shard } of commits) this.#checkShard(shard)
      // how far a journal goes only its reader knows
      checkCommits(this.name, commits, (shard) => this.#owned.get(shard), this.journal === undefined)
      // repeated for the sake of others, one that is made is not made again
      const left = commits.filter(({ shard, end }) => (this.#owned.get(shard)?.end ?? end) < end)
      // what is acquired anew from here on has another past
      const owners = new Map(this.#owned)
      await this.#windows.makeRoom(
        left.flatMap(({ outbox }) =>
          outbox === undefined || this.#backends.length === 0 ? [] : [{ bytes: outbox.length }],
        ),
      )
      const { session } = connection
      const { done, failure } = await eachShard(left, async (shard, own, committed: Committed[]) => {
        const owned = owners.get(shard)
        if (owned === undefined) return
        for (const commit of own) {
          const window = await owned.inTurn(() => commitWindow(connection, owned, this.#outbox, this.#backends, commit))
          if (window !== undefined) committed.push(window)
        }
      })
      await this.#replicated(connection, new Set(done.map(({ owned }) => owned)), session)
      // not before: a master that takes over may not have it, and then it is committed again
      for (const { owned, end, position, window } of done) {
        if (owned.isLost) continue
        owned.end = Math.max(owned.end, end)
        if (position !== undefined) owned.through = position
        if (window !== undefined) this.#outbox.add(window)
      }
      if (failure !== undefined) throw failure
      await this.#windows.makeRoom([])
    })
  }

  override async outbox(): Promise<OutboxEntry[]> {
    this.#connected()
    return this.#outbox.entries()
  }

  override load(id: string): Promise<Uint8Array> {
    return this.#call((connection) => this.#windows.load(connection, id))
  }

  override attempt(backend: string, ids: readonly string[]): Promise<void> {
    return this.#mark('attempt', backend, ids)
  }

  override release(backend: string, ids: readonly string[]): Promise<void> {
    return this.#mark('release', backend, ids)
  }

  override settle(backend: string, ids: readonly string[]): Promise<void> {
    return this.#mark('settle', backend, ids)
  }

  override async giveUp(shards: readonly number[]): Promise<void> {
    const given = shards.flatMap((shard) => this.#owned.get(shard) ?? [])
    if (given.length === 0) return
    await this.#call(async () => {
      for (const owned of given) {
        this.#owned.delete(owned.shard)
        this.#outbox.forget(owned.shard)
      }
      const { failure } = await eachShard(given, (_, [owned]) => (owned as OwnedShard).giveUp())
      if (failure !== undefined) throw failure
    })
  }

  override leave(): Promise<readonly string[]> {
    return this.#call((connection) => (this.#membership as Membership).leave(connection))
  }

  override async close(): Promise<void> {
    if (!this.#opened) return
    await Promise.allSettled(this.#calls)
    if (!this.#opened) return
    // whoever comes next need not wait for a lease to end
    await this.giveUp([...this.#owned.keys()]).catch(() => {})
    this.#opened = false
    this.#connection?.close()
    this.#connection = undefined
  }

  /** Connects and looks whether all is as it should be, again and again until `waitMs` are over. */
  async #connect(): Promise<void> {
    const { connect, waitMs = 30_000, kind = 'single' } = this.#options
    const deadline = performance.now() + waitMs
    const connection = await connect()
    this.#connection = connection
    const tell = (why: string): void => this.#warn(`${why}; it is waited for, up to ${waitMs / 1000} s`)
    for (;;) {
      await connection.ready(Math.max(0, deadline - performance.now()), tell)
      try {
        await checkServers(connection, kind)
        await this.#membership?.check(connection)
        // asked for later, it could not be waited for
        await this.#clock.now(connection)
        break
      } catch (error) {
        // it may go while it is looked at
        if (isLasting(error) || performance.now() > deadline) throw error
        tell((error as Error).message)
        await sleep(LOOK_AGAIN_MS)
      }
    }
    connection.onReady(() => {
      // it may be another server by now; to end here would lose more than to go on
      checkServers(connection, kind).catch((error: unknown) => this.#warn((error as Error).message))
    })
  }

  #keysOf(group: string): GroupKeys {
    return new GroupKeys(this.#options.prefix ?? 'zibrato:', group)
  }

  #windowsFor(backends: readonly string[]): Windows {
    return new Windows({
      name: this.name,
      outbox: this.#outbox,
      backends,
      owned: (shard) => this.#owned.get(shard),
      onDropped: (entry) => this.#options.onDropped?.(entry),
      onWarning: (message) => this.#options.onWarning?.(message),
    })
  }

  /** Who lives. One whose data is gone knows nobody at first: were their shards taken, what they hold would be lost. */
  #living({ known, live }: Beat): readonly string[] {
    const now = performance.now()
    if (!known && this.#live.includes(this.id)) this.#trustMs = now + this.leaseMs
    this.#live = now < this.#trustMs ? [...new Set([...this.#live, ...live])] : live
    return this.#live
  }

  /**
   * Waits until replicas have what was written to these shards, where that is asked for.
   *
   * @param session from before it was written: another master may have taken over since, without it
   */
  async #replicated(connection: Connection, shards: Iterable<OwnedShard>, session: number): Promise<void> {
    const { replicas = 0 } = this.#options
    if (replicas === 0) return
    const nodes = new Map(Array.from(shards, (owned) => [connection.nodeOf(owned.keys.owner), owned]))
    await Promise.all(
      Array.from(nodes.values(), async (owned) => {
        // a write that stands behind all others: a replica that has it has them too
        await owned.renew()
        await connection.replicated(owned.keys.owner, replicas, this.leaseMs / 5, session)
      }),
    )
  }

  /**
   * A shard whose data is gone, or went back to an earlier time, goes on with what is in memory. One that is read from a journal
   * otherwise goes on with what another server has: it may lack entries that were read, and have given others ids below them.
   */
  async #reconcile(owned: OwnedShard, held: Held): Promise<void> {
    owned.snapshots = held.snapshots
    if (!held.knew || held.end < owned.end) {
      const how = held.knew ? 'went back to an earlier time (a replica took over?)' : 'lost its data (was it flushed?)'
      this.#warn(`state ${this.name}: ${how}; what this worker knows of its shards is written anew`)
      this.onReset([owned.shard])
    } else if (held.moved && this.journal !== undefined) {
      this.#warn(
        `state ${this.name}: another server took over, or it was restarted; the journal is read again from the last commit`,
      )
      owned.isStale = true
      this.onStale([owned.shard])
    }
    await this.#windows.reconcile(owned, held)
  }

  #mark(mark: Mark, backend: string, ids: readonly string[]): Promise<void> {
    return this.#call(async (connection) => {
      const { session } = connection
      const { done, failure } = await this.#windows.mark(mark, backend, ids)
      if (mark === 'attempt') await this.#replicated(connection, done, session)
      if (failure !== undefined) throw failure
    })
  }

  #checkShard(shard: number): void {
    if (Number.isInteger(shard) && shard >= 0 && shard < SHARDS) return
    throw new RangeError(`state ${this.name}: shard ${shard} is not one of 0 to ${SHARDS - 1}`)
  }

  async *#entries(log: string, after: string, last: string): AsyncGenerator<LogEntry, void> {
    yield* readLog(this.#connected(), log, after, last)
  }

  #lose(owned: OwnedShard): void {
    // acquired again meanwhile, it is no more lost
    if (this.#owned.get(owned.shard) !== owned) return
    this.#forget(owned)
    this.#lost.push(owned.shard)
    if (this.#lost.length > 1) return
    queueMicrotask(() => {
      const lost = this.#lost.filter((shard) => !this.#owned.has(shard))
      this.#lost = []
      if (lost.length > 0) this.onLost(lost)
    })
  }

  #forget(owned: OwnedShard): void {
    owned.forget()
    this.#owned.delete(owned.shard)
    this.#outbox.forget(owned.shard)
  }

  /** Once, where many shards have the same to say. */
  #warn(text: string): void {
    const now = performance.now()
    if (text === this.#warned.text && now - this.#warned.ms < this.leaseMs) return
    this.#warned = { text, ms: now }
    this.#options.onWarning?.(text)
  }

  #connected(): Connection {
    if (!this.#opened || this.#connection === undefined) throw new Error(`state ${this.name}: is not open`)
    return this.#connection
  }

  async #call<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const call = work(this.#connected())
    this.#calls.add(call)
    try {
      return await call
    } finally {
      this.#calls.delete(call)
    }
  }
}

/** Whether it stays wrong however often it is tried. */
function isLasting(error: unknown): boolean {
  return error instanceof UsageError || troubleOf((error as Error).cause)?.lasting === true
}
