import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from '../free-port.ts'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'

const MASTER = 'main'

/** A master, its replica, and a Sentinel that has the replica take over. */
export class RedisFailover {
  readonly #pair: readonly [RedisServer, RedisServer]
  readonly #sentinel: ChildProcess
  readonly #port: number
  #said = ''

  private constructor(pair: readonly [RedisServer, RedisServer], sentinel: ChildProcess, port: number) {
    this.#pair = pair
    this.#sentinel = sentinel
    this.#port = port
    sentinel.stdout?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()))
  }

  static async start(...given: string[]): Promise<RedisFailover> {
    const args = ['--repl-diskless-sync-delay', '0', ...given]
    const master = await RedisServer.start(...args)
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(master.port), ...args)
    const config = join(replica.directory, 'sentinel.conf')
    const lines = [
      `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${MASTER} 1000`,
      `sentinel failover-timeout ${MASTER} 5000`,
    ]
    await writeFile(config, `${lines.join('\n')}\n`)
    const port = await freePort()
    // it writes into its configuration, and so takes none without a file
    const sentinel = spawn('redis-server', [config, '--sentinel', '--port', String(port), '--bind', '127.0.0.1'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const pair = new RedisFailover([master, replica], sentinel, port)
    await until(async () => (await ask(port, 'PING').catch(() => '')) === 'PONG', 'the Sentinel answers')
    await until(() => pair.#isCovered(), 'the replica has caught up', 30_000)
    return pair
  }

  get url(): string {
    return `redis+sentinel://127.0.0.1:${this.#port}/${MASTER}`
  }

  /** Has the replica get nothing more of what is written; whoever is connected to the master notices nothing. */
  async cutOff(): Promise<void> {
    const port = await this.#masterPort()
    await using master = await Client.connect(port)
    // a password is asked of those who connect anew
    await master.call('CONFIG', 'SET', 'requirepass', 'not-for-replicas')
    await master.call('CLIENT', 'KILL', 'TYPE', 'replica')
    const replica = this.#pair.find((each) => each.port !== port) as RedisServer
    const isCutOff = async (): Promise<boolean> =>
      String(await ask(replica.port, 'INFO', 'replication')).includes('master_link_status:down')
    await until(isCutOff, 'the replica is cut off')
  }

  /** Kills the master, waits until the replica is one, and has the old one come back as its replica. */
  async failOver(): Promise<string> {
    const port = await this.#masterPort()
    const master = this.#pair.find((each) => each.port === port)
    await master?.kill()
    await until(async () => (await this.#masterPort()) !== port, 'the replica has taken over', 60_000)
    await master?.start()
    // the Sentinel would do so too, in its time; where the machine is slow it may have it take over again by now
    const now = await this.#masterPort()
    if (now !== port) await ask(port, 'REPLICAOF', '127.0.0.1', String(now))
    await until(() => this.#isCovered(), 'the old master is a replica', 120_000)
    return `port ${port} was the master; the Sentinel said: ${this.#events().join(', ')}`
  }

  async stop(): Promise<void> {
    const gone = once(this.#sentinel, 'exit')
    this.#sentinel.kill('SIGKILL')
    await gone
    for (const server of this.#pair) await server.stop()
  }

  /** What the Sentinel has done since this was last asked. */
  #events(): string[] {
    const said = this.#said
    this.#said = ''
    return Array.from(said.matchAll(/ # ([+-].*)/g), ([, event = '']) => event)
  }

  async #masterPort(): Promise<number> {
    const answer = await ask(this.#port, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER)
    return Number((answer as string[])[1])
  }

  /** Whether the master has a replica that is in step. */
  async #isCovered(): Promise<boolean> {
    const port = await this.#masterPort()
    const info = String(await ask(port, 'INFO', 'replication').catch(() => ''))
    if (!/^slave0:.*state=online/m.test(info) || !info.includes('role:master')) return false
    // a master calls it online while it still loads
    const replica = this.#pair.find((each) => each.port !== port) as RedisServer
    return String(await ask(replica.port, 'INFO', 'replication').catch(() => '')).includes('master_link_status:up')
  }
}

class Client implements AsyncDisposable {
  readonly #redis: Redis

  private constructor(redis: Redis) {
    this.#redis = redis
  }

  static async connect(port: number): Promise<Client> {
    const redis = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => null })
    redis.on('error', () => {})
    const client = new Client(redis)
    try {
      await redis.connect()
      return client
    } catch (error) {
      redis.disconnect()
      throw error
    }
  }

  call(command: string, ...args: string[]): Promise<unknown> {
    return this.#redis.call(command, ...args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#redis.disconnect()
  }
}

async function ask(port: number, command: string, ...args: string[]): Promise<unknown> {
  await using client = await Client.connect(port)
  return await client.call(command, ...args)
}
