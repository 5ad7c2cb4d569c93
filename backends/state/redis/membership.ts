import { hostname } from 'node:os'
import type { Connection } from './connection.ts'
import type { GroupKeys } from './keys.ts'
import { BEAT, JOIN, LEAVE } from './membership-scripts.ts'
import { GroupSettings } from './settings.ts'

export interface MembershipOptions {
  readonly keys: GroupKeys
  readonly group: string
  /** This worker. */
  readonly id: string
  readonly leaseMs: number
  /** What all workers have to agree on; undefined: anything goes. */
  readonly settings: Readonly<Record<string, string>> | undefined
  /** How long the group's settings are kept without anybody there. */
  readonly lifeMs: number
}

/** What a beat tells. */
export interface Beat {
  /** The server's clock, ms. */
  readonly nowMs: number
  /** Whether this worker was among the living before, if it should have been. */
  readonly known: boolean
  /** All that live. */
  readonly live: readonly string[]
}

/** How often a group is noted anew, and its settings' life set. */
const NOTED_MS = 3_600_000

/** A worker among those of its group: who lives, and what they agree on. */
export class Membership {
  readonly #options: MembershipOptions
  readonly #settings: GroupSettings
  readonly #info: string
  #joined = false
  #leaving = false
  #notedMs = Number.NEGATIVE_INFINITY

  constructor(options: MembershipOptions) {
    const { group, settings, leaseMs } = options
    this.#options = options
    this.#settings = new GroupSettings(
      group,
      settings === undefined ? {} : { ...settings, lease: `${leaseMs / 1000}s` },
    )
    this.#info = JSON.stringify({ host: hostname(), pid: process.pid, startedMs: Date.now() })
  }

  /** @throws UsageError when others live whose settings differ */
  async check(connection: Connection): Promise<void> {
    await this.#join(connection, '')
  }

  /** @throws UsageError the first time, and after it was taken for gone, when others live whose settings differ */
  async beat(connection: Connection): Promise<Beat> {
    if (!this.#joined) await this.#join(connection, this.#info)
    this.#joined = true
    await this.#note(connection)
    const beat = await this.#beat(connection)
    if (beat.known || this.#leaving) return { ...beat, known: true }
    // it said nothing for too long, or the data is gone: by now the group may have other settings
    this.#joined = false
    this.#notedMs = Number.NEGATIVE_INFINITY
    return { ...(await this.beat(connection)), known: false }
  }

  async #beat(connection: Connection): Promise<Beat> {
    const { keys, id, leaseMs } = this.#options
    const info = this.#leaving ? '' : this.#info
    const answer = (await connection.run(BEAT, [keys.workers, keys.infos], [id, leaseMs, info])) as readonly Buffer[]
    const [now, known, ...live] = answer.map(String)
    return { nowMs: Number(now), known: known === '1', live }
  }

  /** Answers the others that live. */
  async leave(connection: Connection): Promise<readonly string[]> {
    const { keys, id, leaseMs } = this.#options
    this.#leaving = true
    return ((await connection.run(LEAVE, [keys.workers, keys.infos], [id, leaseMs])) as readonly Buffer[]).map(String)
  }

  async #join(connection: Connection, info: string): Promise<void> {
    const { keys, id, leaseMs, lifeMs } = this.#options
    const { text } = this.#settings
    let [seen, joined] = ['', text]
    for (;;) {
      const held = await connection.run(
        JOIN,
        [keys.workers, keys.infos, keys.settings],
        [id, leaseMs, info, seen, text, joined, lifeMs],
      )
      if (held === null) return
      // looked at once more, as it may have changed since
      if (String(held) === seen) throw new Error(`settings ${seen} were not taken`)
      seen = String(held)
      joined = this.#settings.joined(seen)
    }
  }

  async #note(connection: Connection): Promise<void> {
    const now = performance.now()
    if (this.#leaving || now - this.#notedMs < NOTED_MS) return
    const { keys, group, lifeMs } = this.#options
    await connection.send('PEXPIRE', keys.settings, lifeMs)
    await connection.send('ZADD', keys.groups, Date.now(), group)
    await connection.send('ZREMRANGEBYSCORE', keys.groups, '-inf', Date.now() - lifeMs)
    this.#notedMs = now
  }
}
