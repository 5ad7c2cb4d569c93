import { Redis } from 'ioredis'
import { openState } from '../../../../backends/state/open.ts'
import type { SharedState } from '../../../../backends/state/shared.ts'
import type { StateSettings } from '../../../../backends/state/state.ts'
import { RedisServer } from '../../../redis-server.ts'

/** A server, states that share it, and a client that does to it what nobody should. */
export class Shared implements AsyncDisposable {
  readonly server: RedisServer
  readonly client: Redis
  readonly #prefix: string
  readonly #opened: SharedState[] = []

  constructor(server: RedisServer, prefix: string) {
    this.server = server
    this.#prefix = prefix
    this.client = new Redis(server.port, '127.0.0.1')
  }

  /** One that is not opened yet. */
  state(options = ''): SharedState {
    const state = openState(`${this.server.url}?prefix=${this.#prefix}${options}`) as SharedState
    this.#opened.push(state)
    return state
  }

  async open(settings: Partial<StateSettings> = {}, options = ''): Promise<SharedState> {
    const state = this.state(options)
    await state.open({ group: 'g', backends: ['a'], ...settings })
    return state
  }

  get groups(): string {
    return `${this.#prefix}groups`
  }

  key(name: string): string {
    return `${this.#prefix}{g}:${name}`
  }

  shardKey(shard: number, name: string): string {
    return `${this.#prefix}{g:${String(shard).padStart(2, '0')}}:${name}`
  }

  /** Ends the lease of whoever has a shard. */
  async endLease(shard: number): Promise<void> {
    await this.client.hset(this.shardKey(shard, 'owner'), 'until', 0)
  }

  async epoch(shard: number): Promise<number> {
    return Number(await this.client.hget(this.shardKey(shard, 'owner'), 'epoch'))
  }

  /** All that is kept of a shard, but for how long its lease is. */
  async contents(shard: number): Promise<Record<string, unknown>> {
    const found: Record<string, unknown> = {}
    for (const key of (await this.client.keys(this.shardKey(shard, '*'))).sort()) {
      const type = await this.client.type(key)
      if (type === 'hash') found[key] = { ...(await this.client.hgetall(key)), until: undefined }
      else if (type === 'stream') found[key] = await this.client.xrange(key, '-', '+')
      else if (type === 'list') found[key] = await this.client.lrange(key, 0, -1)
      else found[key] = await this.client.get(key)
    }
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const state of this.#opened) await state.close()
    this.client.disconnect()
  }
}
