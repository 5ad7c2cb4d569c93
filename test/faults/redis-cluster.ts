import { Redis } from 'ioredis'
import { freePort } from '../free-port.ts'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import type { Random } from './random.ts'

const SLOTS = 16_384
const NODES = 3

/** Three masters of a Redis Cluster, whose slots can be moved from one to another. */
export class RedisCluster {
  readonly servers: readonly RedisServer[]
  readonly #clients: readonly Redis[]
  readonly #ids: readonly string[]

  private constructor(servers: readonly RedisServer[], clients: readonly Redis[], ids: readonly string[]) {
    this.servers = servers
    this.#clients = clients
    this.#ids = ids
  }

  static async start(...args: string[]): Promise<RedisCluster> {
    const servers: RedisServer[] = []
    const buses: number[] = []
    for (let node = 0; node < NODES; node++) {
      const bus = await freePort()
      buses.push(bus)
      const cluster = ['--cluster-enabled', 'yes', '--cluster-port', String(bus), '--cluster-node-timeout', '5000']
      servers.push(await RedisServer.start(...cluster, ...args))
    }
    const clients = servers.map(({ port }) => new Redis(port, '127.0.0.1'))
    // a node that a test kills is none of their business
    for (const client of clients) client.on('error', () => {})
    const [first, ...others] = clients as [Redis, ...Redis[]]
    for (const [node, client] of clients.entries()) {
      const from = Math.ceil((SLOTS / NODES) * node)
      await client.call('CLUSTER', 'ADDSLOTSRANGE', from, Math.ceil((SLOTS / NODES) * (node + 1)) - 1)
    }
    for (const [index] of others.entries()) {
      const { port } = servers[index + 1] as RedisServer
      await first.call('CLUSTER', 'MEET', '127.0.0.1', port, buses[index + 1] as number)
    }
    const isWhole = async (client: Redis): Promise<boolean> => {
      const info = String(await client.call('CLUSTER', 'INFO'))
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`)
    }
    for (const client of clients) await until(() => isWhole(client), 'the cluster is whole', 30_000)
    const ids = await Promise.all(clients.map(async (client) => String(await client.call('CLUSTER', 'MYID'))))
    return new RedisCluster(servers, clients, ids)
  }

  get url(): string {
    return `redis+cluster://${this.servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  }

  /** Moves a slot that holds keys from one node to another, key by key, as `redis-cli --cluster reshard` does. */
  async moveSlot(random: Random): Promise<string> {
    const from = random.between(0, NODES - 1)
    const to = (from + random.between(1, NODES - 1)) % NODES
    const key = await (this.#clients[from] as Redis).randomkey()
    if (key === null) return 'no slot, as the node is empty'
    let wasLong = false
    const move = await this.#beginMove(key, from, to)
    const moved = await move(async () => {
      // once perhaps for longer than a lease; not more often, as a worker that stops waits for no more than some seconds
      const isLong = !wasLong && random.between(0, 20) === 0
      wasLong ||= isLong
      const pause = isLong ? random.between(500, 1_500) : random.between(0, 20)
      await new Promise((resolve) => setTimeout(resolve, pause))
    })
    return `${moved} from node ${from} to node ${to}`
  }

  /**
   * Begins to move the slot of a key: until that is ended, what names keys that are there and keys that are not is refused.
   *
   * @returns what ends it
   */
  async halfMove(key: string): Promise<() => Promise<string>> {
    const held = await Promise.all(this.#clients.map((client) => client.exists(key).catch(() => 0)))
    const from = held.indexOf(1)
    return this.#beginMove(key, from, (from + 1) % NODES)
  }

  async #beginMove(
    key: string,
    from: number,
    to: number,
  ): Promise<(afterEach?: () => Promise<void>) => Promise<string>> {
    const [source, target] = [this.#clients[from] as Redis, this.#clients[to] as Redis]
    const slot = Number(await source.call('CLUSTER', 'KEYSLOT', key))
    await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', this.#ids[from] as string)
    await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', this.#ids[to] as string)
    return async (afterEach) => {
      const { port } = this.servers[to] as RedisServer
      let moved = 0
      for (;;) {
        // one at a time, so that others find some of them here and some there
        const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 1)) as string[]
        if (keys.length === 0) break
        moved += keys.length
        await source.call('MIGRATE', '127.0.0.1', port, '', 0, 5_000, 'KEYS', ...keys)
        await afterEach?.()
      }
      for (const client of [target, source, ...this.#clients]) {
        await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', this.#ids[to] as string)
      }
      return `slot ${slot} of ${key} and ${moved} keys`
    }
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    for (const server of this.servers) await server.stop()
  }
}
