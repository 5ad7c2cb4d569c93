import { afterEach, describe, expect, it } from 'vitest'
import { openState } from '../../../../backends/state/open.ts'
import type { RedisState } from '../../../../backends/state/redis.ts'
import { connectRedis } from '../../../../backends/state/redis/connect.ts'
import { GroupKeys } from '../../../../backends/state/redis/keys.ts'
import { parseRedisUrl } from '../../../../backends/state/redis/url.ts'
import type { Commit, State } from '../../../../backends/state/state.ts'
import { SHARDS } from '../../../../client/wire/series.ts'
import { acquired, bytes, entriesOf, text, windowOf } from '../../../contract/state.ts'
import { RedisCluster } from '../../../faults/redis-cluster.ts'
import { RedisFailover } from '../../../faults/redis-failover.ts'
import { Random } from '../../../faults/random.ts'
import { freePort } from '../../../free-port.ts'
import { RedisServer } from '../../../redis-server.ts'
import { until } from '../../../until.ts'
import { ask } from './client.ts'

const cleanup: (() => unknown)[] = []
afterEach(async () => {
  for (const each of cleanup.splice(0).toReversed()) await each()
})

const ALL = Array.from({ length: SHARDS }, (_, shard) => shard)

async function open(url: string): Promise<{ state: RedisState; warnings: string[]; lost: number[] }> {
  const warnings: string[] = []
  const state = openState(url, { onWarning: (message) => void warnings.push(message) }) as RedisState
  cleanup.push(() => state.close())
  const lost: number[] = []
  state.onLost = (gone) => void lost.push(...gone)
  await state.open({ group: 'g', backends: ['a'] })
  await state.beat()
  for (const shard of ALL) await acquired(state, shard)
  return { state, warnings, lost }
}

function byNumber(a: number, b: number): number {
  return a - b
}

/** Appends one bundle after another to every shard, each until it is in, as a worker does. */
class Writer {
  readonly failures: string[] = []
  written = 0
  readonly #state: State
  readonly #running: Promise<void>
  #stopping = false

  constructor(state: State) {
    this.#state = state
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const bundle = this.written
      const missing = new Set(ALL)
      while (missing.size > 0) {
        await Promise.all(
          [...missing].map(async (shard) => {
            try {
              // at once, and still one after the other
              const calls = ['', '.5'].map((half) => this.#state.append([{ shard, bundle: bytes(`${bundle}${half}`) }]))
              const places = await Promise.all(calls)
              if (places.some(([place]) => place === undefined)) throw new Error(`shard ${shard} was lost`)
              missing.delete(shard)
            } catch (error) {
              this.failures.push((error as Error).message)
              await new Promise((resolve) => setTimeout(resolve, 50))
            }
          }),
        )
      }
      this.written++
    }
  }
}

describe('a Cluster', () => {
  it('that moves slots keeps each log in its order, and takes commits', async () => {
    const cluster = await RedisCluster.start()
    cleanup.push(() => cluster.stop())
    const { state, lost } = await open(cluster.url)
    const writer = new Writer(state)
    const random = new Random(7)
    for (let round = 1; round <= 8; round++) {
      await Promise.all([
        cluster.moveSlot(random),
        insist(() => state.commit(ALL.map((shard) => windowOf(shard, round)))),
        insist(() => state.beat()),
      ])
    }
    await writer.stop()
    expect(lost).toEqual([])
    expect(writer.failures).toEqual([])
    expect((await state.outbox()).length).toBe(8 * SHARDS)
    await state.close()
    const { state: next } = await open(cluster.url)
    for (const shard of ALL) {
      const log = (await entriesOf(await acquired(next, shard))).map(({ bundle }) => Number(text(bundle)))
      // nothing was sent twice either: no connection was lost
      expect([shard, log]).toEqual([shard, Array.from({ length: writer.written * 2 }, (_, index) => index / 2)])
    }
  })

  it('that is in the midst of moving a slot is said to be, and its connection is not given up', async () => {
    const cluster = await RedisCluster.start()
    cleanup.push(() => cluster.stop())
    const ports = cluster.servers.map(({ port }) => port)
    const keys = ['{g}a', '{g}b'] as const
    const [slot, ids] = [
      Number(await ask(ports[0] as number, 'CLUSTER', 'KEYSLOT', keys[0])),
      await Promise.all(ports.map(async (port) => String(await ask(port, 'CLUSTER', 'MYID')))),
    ]
    const counts = await Promise.all(ports.map((port) => ask(port, 'SET', keys[0], '1').catch(() => 'MOVED')))
    const from = counts.findIndex((answer) => String(answer) === 'OK')
    const to = (from + 1) % ports.length
    const [source, target] = [ports[from] as number, ports[to] as number]
    await ask(source, 'SET', keys[1], '2')
    await ask(target, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from] as string)
    await ask(source, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to] as string)
    await ask(source, 'MIGRATE', '127.0.0.1', target, keys[0], 0, 5_000)
    const connection = await connectRedis(parseRedisUrl(cluster.url))
    cleanup.push(() => connection.close())
    await connection.ready(5_000)
    const { session } = connection
    // neither node has both
    await expect(connection.send('DEL', ...keys)).rejects.toThrow(
      /is a Cluster that is moving slots .*; wait until it is done/,
    )
    expect(connection.session).toBe(session)
    await ask(source, 'MIGRATE', '127.0.0.1', target, keys[1], 0, 5_000)
    for (const port of [target, source]) await ask(port, 'CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] as string)
    expect(await connection.send('DEL', ...keys)).toBe(2)
    expect(connection.session).toBe(session)
  })

  it('that moves one slot refuses only what is in it, and what was done beside it is not done again', async () => {
    const cluster = await RedisCluster.start()
    cleanup.push(() => cluster.stop())
    const { state } = await open(cluster.url)
    const keys = new GroupKeys('zibrato:', 'g')
    const half = (shard: number): Promise<() => Promise<string>> => cluster.halfMove(keys.shard(shard).owner)
    const waiting = async (): Promise<number[]> => (await state.outbox()).map(({ shard }) => shard).toSorted(byNumber)
    const windows = ALL.map((shard) => windowOf(shard, 10, { outbox: bytes(`window of ${shard}`) }))
    let end = await half(3)
    await expect(state.commit(windows)).rejects.toThrow(/is moving slots/)
    expect(await waiting()).toEqual(ALL.filter((shard) => shard !== 3))
    await end()
    // those that are committed could not be once more
    end = await half(5)
    await state.commit(windows)
    expect(await waiting()).toEqual(ALL)
    await end()
    const ids = (await state.outbox()).map(({ id }) => id)
    end = await half(7)
    await expect(state.attempt('a', ids)).rejects.toThrow(/is moving slots/)
    await end()
    await state.release('a', ids)
    await state.attempt('a', ids.slice(0, 4))
    end = await half(9)
    await expect(state.settle('a', ids.slice(2))).rejects.toThrow(/is moving slots/)
    const left = [0, 1, 9]
    expect(await waiting()).toEqual(left)
    // the server refuses that it is given up, until the slot is moved
    const closed = state.close()
    await end()
    await closed
    const { state: next } = await open(cluster.url)
    const entries = (await next.outbox()).toSorted((a, b) => a.shard - b.shard)
    expect(entries.map(({ shard, attempted }) => [shard, attempted])).toEqual([
      [0, ['a']],
      [1, ['a']],
      [9, []],
    ])
  })

  it('whose master dies goes on with its replica', async () => {
    const cluster = await RedisCluster.start('--cluster-node-timeout', '1000')
    cleanup.push(() => cluster.stop())
    const [first, second] = cluster.servers as [RedisServer, RedisServer]
    const replica = await RedisServer.start(
      '--cluster-enabled',
      'yes',
      '--cluster-port',
      String(await freePort()),
      '--cluster-node-timeout',
      '1000',
    )
    cleanup.push(() => replica.stop())
    const bus = await ask(second.port, 'CONFIG', 'GET', 'cluster-port')
    await ask(replica.port, 'CLUSTER', 'MEET', '127.0.0.1', second.port, Number((bus as string[])[1]))
    const id = String(await ask(first.port, 'CLUSTER', 'MYID'))
    await until(async () => String(await ask(replica.port, 'CLUSTER', 'NODES')).includes(id))
    await until(() => ask(replica.port, 'CLUSTER', 'REPLICATE', id).then(Boolean, () => false))
    await until(async () => /master_link_status:up/.test(String(await ask(replica.port, 'INFO', 'replication'))))
    const { state, lost } = await open(`${cluster.url}?lease=1m`)
    const writer = new Writer(state)
    await until(() => writer.written > 5)
    await first.kill()
    await until(
      async () => /role:master/.test(String(await ask(replica.port, 'INFO', 'replication'))),
      undefined,
      30_000,
    )
    const before = writer.written
    await until(() => writer.written > before + 5, 'it goes on', 30_000)
    await insist(() => state.beat())
    await writer.stop()
    expect(lost).toEqual([])
    await state.commit(ALL.map((shard) => windowOf(shard, 10)))
    expect((await state.outbox()).length).toBe(SHARDS)
  })

  it('that does not serve all slots says so, and is used on once it does', async () => {
    const cluster = await RedisCluster.start('--cluster-node-timeout', '500')
    cleanup.push(() => cluster.stop())
    const { state } = await open(`${cluster.url}?timeout=2s`)
    const [first, second] = cluster.servers as [RedisServer, RedisServer]
    await first.kill()
    await until(async () => /cluster_state:fail/.test(String(await ask(second.port, 'CLUSTER', 'INFO'))))
    const failures = new Set<string>()
    await until(async () => {
      for (const shard of ALL) {
        await state
          .append([{ shard, bundle: bytes('x') }])
          .catch((error: unknown) => failures.add((error as Error).message))
      }
      return [...failures].some((failure) => /does not serve all slots .*CLUSTER INFO/.test(failure))
    })
    await first.start()
    await insist(() => state.append(ALL.map((shard) => ({ shard, bundle: bytes('y') }))))
    expect(await state.beat()).toEqual([state.id])
  })
})

describe('a master that a Sentinel replaces', () => {
  it('is left for its replica, with all that this was waited for to have', async () => {
    const servers = await RedisFailover.start('--repl-diskless-sync-delay', '0')
    cleanup.push(() => servers.stop())
    const { state, lost, warnings } = await open(`${servers.url}?replicas=1&lease=1m`)
    await insist(() => state.commit(ALL.map((shard) => windowOf(shard, 10))))
    const writer = new Writer(state)
    await Promise.all([servers.failOver(), until(() => writer.failures.length > 0)])
    await writer.stop()
    await insist(() => state.beat())
    expect([lost, warnings]).toEqual([[], []])
    await insist(() => state.commit(ALL.map((shard) => windowOf(shard, 20))))
    expect((await state.outbox()).length).toBe(2 * SHARDS)
    for (const failure of writer.failures) {
      expect(failure).toMatch(/^state redis\+sentinel:\/\/127.0.0.1:\d+\/main: .*; .*/)
    }
  })

  it('and had a commit or an attempt to itself has it made again, as whoever asked was not told that it is done', async () => {
    const servers = await RedisFailover.start('--repl-diskless-sync-delay', '0')
    cleanup.push(() => servers.stop())
    const { state, lost, warnings } = await open(`${servers.url}?replicas=1&lease=5s`)
    const windowsAt = (end: number): Commit[] => ALL.map((shard) => windowOf(shard, end))
    await insist(() => state.commit(windowsAt(10)))
    await servers.cutOff()
    await expect(state.commit(windowsAt(20))).rejects.toThrow(/0 replicas have what was written/)
    const [first] = await state.outbox()
    await expect(state.attempt('a', [first?.id ?? ''])).rejects.toThrow(/0 replicas/)
    // what might be gone with the master is nobody's to deliver yet
    expect((await state.outbox()).map(({ end }) => end)).toEqual(ALL.map(() => 10))
    await servers.failOver()
    await insist(() => state.commit(windowsAt(20)))
    expect((await state.outbox()).map(({ end }) => end)).toEqual([...ALL.map(() => 10), ...ALL.map(() => 20)])
    await state.close()
    const { state: next } = await open(`${servers.url}?replicas=1&lease=5s`)
    const left = await next.outbox()
    expect(left.map(({ end, attempted }) => [end, attempted])).toEqual(
      [10, 20].flatMap((end) => ALL.map(() => [end, []])),
    )
    for (const { id } of left) expect((await next.load(id)).length).toBeGreaterThan(0)
    expect([lost, warnings]).toEqual([[], []])
  })
})

/** Does something until it succeeds. */
async function insist(work: () => Promise<unknown>): Promise<void> {
  await until(
    () =>
      work().then(
        () => true,
        () => false,
      ),
    'it succeeds',
    30_000,
  )
}
