import { sleep } from '../../../client/sleep.ts'
import { type Argument, type Connection, type Reply, isAnswer } from './connection.ts'
import type { ShardKeys } from './keys.ts'
import { ACQUIRE, FENCE_ANEW, FENCED, GIVE_UP, RENEW, type Script } from './scripts.ts'

/** How long the keys of a shard outlive what was last written to it, ms. */
export const LIFE_MS: number = 30 * 86_400_000

/** How long after a refusal to give a shard up that is tried again, and for how long in all. */
const ASK_AGAIN_MS = 50
const LONGEST_REFUSED_MS = 2_000

export type Command = readonly [name: string, key: string, ...rest: Argument[]]

/** What a server holds of a shard, told when a new epoch begins. */
export interface Held {
  /** Whether it is another server than the one that was asked before, or that one restarted. */
  readonly moved: boolean
  /** Whether it still knew whose the shard is: not when its data is gone. */
  readonly knew: boolean
  /** End of the last committed window, ms. */
  readonly end: number
  readonly snapshots: readonly string[]
  /** Ends of the windows that wait, ms. */
  readonly windows: readonly number[]
}

export interface OwnedOptions {
  readonly shard: number
  readonly keys: ShardKeys
  readonly connection: Connection
  /** Of this worker. */
  readonly id: string
  readonly leaseMs: number
  /** Whether a new epoch begins with the first beat after a connection was lost, and not only with the first write. */
  readonly isJournal: boolean
  readonly onLost: (owned: OwnedShard) => void
  /** Called in a new epoch, before anything else is written in it. */
  readonly onHeld: (owned: OwnedShard, held: Held) => Promise<void>
}

/**
 * A shard that is this worker's. What is written to it is written in the order in which it was asked for, one after another,
 * and only while it is: each write names owner and epoch. After a connection was lost, a new epoch begins first, so that
 * nothing sent before can still happen.
 */
export class OwnedShard {
  readonly shard: number
  readonly keys: ShardKeys
  /** End of its last committed window, ms. */
  end = 0
  /** The last committed position. */
  through = '0-0'
  /** The newest position known. */
  last = '0-0'
  /** Keys of the newest full snapshot and of the changes since. */
  snapshots: readonly string[] = []
  /** Whether what is in memory of it may lack entries that a new server has: then it is committed nowhere. */
  isStale = false
  /** When all its keys' lives were last set, ms of `performance.now()`. */
  refreshedMs: number = Number.NEGATIVE_INFINITY
  readonly #options: OwnedOptions
  #epoch = 0
  #server = ''
  #session = -1
  #isLost = false
  // when the lease was last known to be good, ms of `performance.now()`
  #renewedMs = 0
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: OwnedOptions) {
    this.shard = options.shard
    this.keys = options.keys
    this.#options = options
  }

  get epoch(): number {
    return this.#epoch
  }

  get isLost(): boolean {
    return this.#isLost
  }

  /** By this machine's clock, which says nothing too late. */
  get isLeased(): boolean {
    return !this.#isLost && performance.now() - this.#renewedMs < this.#options.leaseMs
  }

  /** Takes it, when it is nobody's. */
  async acquire(): Promise<boolean> {
    const { connection, id, leaseMs } = this.#options
    const askedMs = performance.now()
    const { session } = connection
    const answer = await connection.run(ACQUIRE, [this.keys.owner], [id, leaseMs, LIFE_MS])
    if (answer === null) return false
    const [epoch, server] = answer as [number, Buffer]
    this.#epoch = epoch
    this.#server = String(server)
    this.#session = session
    this.#renewedMs = askedMs
    return true
  }

  /** Keeps it for one more lease, or tells that it is lost. */
  async renew(): Promise<void> {
    if (this.#isLost) return
    const { connection, id, leaseMs, isJournal } = this.#options
    const askedMs = performance.now()
    const epoch = this.#epoch
    if (isJournal && this.#session !== connection.session) {
      await this.inTurn(async () => this.#isLost || this.#session === connection.session || this.#begin())
      return
    }
    const isKept = (await connection.run(RENEW, [this.keys.owner], [id, epoch, leaseMs, LIFE_MS])) !== null
    if (isKept) this.#renewedMs = askedMs
    // it stands in line, as another epoch may have begun meanwhile
    else await this.inTurn(async () => this.#isLost || this.#epoch !== epoch || this.#begin())
  }

  /** Lets others have it at once. A server that refuses, as when a slot of a Cluster moves, is asked again for a while. */
  async giveUp(): Promise<void> {
    const { connection, id } = this.#options
    const deadline = performance.now() + LONGEST_REFUSED_MS
    for (;;) {
      try {
        await this.inTurn(() => connection.run(GIVE_UP, [this.keys.owner], [id, this.#epoch, LIFE_MS]))
        break
      } catch (error) {
        // free it is all the same, once nobody renews its lease
        if (!this.isLeased) break
        if (!isAnswer((error as Error).cause as Error) || performance.now() > deadline) throw error
        await sleep(ASK_AGAIN_MS)
      }
    }
    this.forget()
  }

  /** Does something once all that was asked before is done. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work)
    this.#turn = turn.catch(() => {})
    return turn
  }

  /**
   * Runs a script that begins by looking whose the shard is. To be called in turn.
   *
   * @param isCommit whether it must not run with what is stale
   * @returns null when the shard is lost, or stale
   */
  async run(script: Script, keys: readonly string[], args: readonly Argument[], isCommit = false): Promise<Reply> {
    const { connection, id } = this.#options
    if (this.#isLost) return null
    if (this.#session !== connection.session && !(await this.#begin())) return null
    for (let isSecond = false; ; isSecond = true) {
      if (isCommit && this.isStale) return null
      const answer = await connection.run(script, [this.keys.owner, ...keys], [id, this.#epoch, LIFE_MS, ...args])
      if (answer !== null) return answer
      if (isSecond) return this.#lose()
      if (!(await this.#begin())) return null
    }
  }

  /** Does all of the commands or, when the shard is lost, none, and answers undefined. To be called in turn. */
  async write(commands: readonly Command[]): Promise<readonly Reply[] | undefined> {
    const keys = [...new Set(commands.map(([, key]) => key))]
    const answers = await this.run(
      FENCED,
      keys,
      commands.flatMap((command) => [command.length, ...command]),
    )
    return (answers as readonly Reply[] | null) ?? undefined
  }

  /** It is not this worker's any more: nothing is written to it from here. */
  forget(): void {
    this.#isLost = true
  }

  async #begin(): Promise<boolean> {
    const { connection, id, leaseMs, onHeld } = this.#options
    const { owner, log, committed, snapshots, windows } = this.keys
    const { session } = connection
    const askedMs = performance.now()
    const answer = await connection.run(
      FENCE_ANEW,
      [owner, log, committed, snapshots, windows],
      [id, this.#epoch, leaseMs, LIFE_MS, this.last],
    )
    // forgotten meanwhile: perhaps it is this worker's again, by another epoch than this one
    if (this.#isLost) return false
    if (answer === null) {
      this.#lose()
      return false
    }
    const [epoch, server, knew, end, names, ends] = answer as [number, Buffer, number, Buffer, Buffer[], Buffer[]]
    const moved = this.#server !== String(server)
    this.#epoch = epoch
    this.#server = String(server)
    this.#renewedMs = askedMs
    this.#session = session
    try {
      await onHeld(this, {
        moved,
        knew: knew === 1,
        end: Number(String(end)),
        snapshots: names.map(String),
        windows: ends.map(Number),
      })
    } catch (error) {
      // in the epoch after this one
      this.#session = -1
      throw error
    }
    return true
  }

  #lose(): null {
    this.#isLost = true
    this.#options.onLost(this)
    return null
  }
}
