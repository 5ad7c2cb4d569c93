import { createServer, connect } from 'node:net'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { openState } from '../../../../backends/state/open.ts'
import type { RedisState } from '../../../../backends/state/redis.ts'
import { APPEND, COMMIT } from '../../../../backends/state/redis/scripts.ts'
import { SHARDS } from '../../../../client/wire/series.ts'
import { acquired, appended, bytes, entriesOf, text, windowOf } from '../../../contract/state.ts'
import { RedisCluster } from '../../../faults/redis-cluster.ts'
import { RedisServer } from '../../../redis-server.ts'
import { until } from '../../../until.ts'
import { CLUSTER_RULE, RULE } from './acl.ts'
import { ask } from './client.ts'

const cleanup: (() => unknown)[] = []
afterEach(async () => {
  for (const each of cleanup.splice(0).toReversed()) await each()
})

async function start(...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args)
  cleanup.push(() => server.stop())
  return server
}

interface Opened {
  readonly state: RedisState
  readonly warnings: string[]
  readonly lost: number[]
  readonly reset: number[]
}

async function open(url: string, shards: readonly number[] = [0, 1]): Promise<Opened> {
  const warnings: string[] = []
  const state = openState(url, { onWarning: (message) => void warnings.push(message) }) as RedisState
  cleanup.push(() => state.close())
  const [lost, reset]: [number[], number[]] = [[], []]
  state.onLost = (gone) => void lost.push(...gone)
  state.onReset = (gone) => void reset.push(...gone)
  await state.open({ group: 'g', backends: ['a', 'b'] })
  await state.beat()
  for (const shard of shards) await acquired(state, shard)
  return { state, warnings, lost, reset }
}

/** Does something until it succeeds, as a worker does. Answers what it failed with before. */
async function insist(work: () => Promise<unknown>): Promise<string[]> {
  const failures: string[] = []
  await until(async () => {
    try {
      await work()
      return true
    } catch (error) {
      failures.push((error as Error).message)
      return false
    }
  }, 'it succeeds')
  return failures
}

const add = (state: RedisState, shard: number, bundle: string) => appended(state, [{ shard, bundle: bytes(bundle) }])

async function heldBy(url: string, shard: number): Promise<{ snapshots: string[]; end: number; log: string[] }> {
  const { state } = await open(url, [])
  const restored = await acquired(state, shard)
  const log = (await entriesOf(restored)).map(({ bundle }) => text(bundle))
  return { snapshots: restored.snapshots.map(text), end: restored.end, log }
}

describe('a Redis that is restarted', () => {
  it('is used on by the same worker, with all that it had, where it writes an append-only file', async () => {
    const server = await start('--appendonly', 'yes', '--appendfsync', 'always')
    const { state, lost, reset } = await open(server.url)
    await add(state, 0, 'before')
    await server.kill()
    const failure = await add(state, 0, 'x').catch((error: unknown) => (error as Error).message)
    expect(failure).toMatch(/^state redis:\/\/127.0.0.1:\d+: .*; /)
    await server.start()
    await insist(() => add(state, 0, 'after'))
    expect([lost, reset]).toEqual([[], []])
    await state.close()
    expect((await heldBy(server.url, 0)).log.filter((bundle) => bundle !== 'x')).toEqual(['before', 'after'])
  })

  it('gets what the worker knows written anew where it forgot all', async () => {
    const server = await start()
    const { state, lost, reset, warnings } = await open(server.url)
    const [first] = await add(state, 0, 'first')
    await state.commit([windowOf(0, 10, { position: first?.position })])
    // as a server whose clock was set back since
    await ask(server.port, 'XADD', 'zibrato:{g:00}:log', `${Date.now() + 3_600_000}-0`, 'b', 'x')
    const [second] = await add(state, 0, 'second')
    await server.kill()
    await server.start()
    await insist(() => state.beat())
    expect([lost, reset]).toEqual([[], [0, 1]])
    expect(warnings.filter((warning) => /lost its data/.test(warning))).toHaveLength(1)
    expect(warnings.filter((warning) => /lost windows of shard 0 .* ends 0.01$/.test(warning))).toHaveLength(1)
    expect(await state.outbox()).toEqual([])
    const [third] = await add(state, 0, 'third')
    await state.commit([
      windowOf(0, 20, { position: second?.position, snapshot: { kind: 'full', bytes: bytes('all') } }),
    ])
    expect(Number.parseInt(String(third?.position), 10)).toBeGreaterThan(Date.now() + 3_000_000)
    expect((await state.outbox()).map(({ end }) => end)).toEqual([20])
    await state.close()
    expect(await heldBy(server.url, 0)).toEqual({ snapshots: ['all'], end: 20, log: ['third'] })
  })
})

describe('a database that is flushed', () => {
  it('leaves shards with those who have them, whoever speaks first', async () => {
    const server = await start()
    const one = await open(server.url, [0])
    const two = await open(server.url, [1])
    for (const { state } of [one, two]) await state.beat()
    await ask(server.port, 'FLUSHALL')
    expect((await one.state.beat()).toSorted()).toEqual([one.state.id, two.state.id].toSorted())
    await two.state.beat()
    await add(one.state, 0, 'x')
    await add(two.state, 1, 'y')
    for (const { lost } of [one, two]) expect(lost).toEqual([])
    expect([one.reset, two.reset]).toEqual([[0], [1]])
    expect(await two.state.acquire(0)).toBeUndefined()
  })

  it('is noticed by whatever is written next, and that is written', async () => {
    const server = await start()
    const { state, reset } = await open(server.url, [0, 1, 2])
    const [place] = await add(state, 1, 'x')
    await state.commit([windowOf(2, 10)])
    const ids = (await state.outbox()).map(({ id }) => id)
    await ask(server.port, 'FLUSHALL')
    await add(state, 0, 'y')
    await state.commit([windowOf(1, 20, { position: place?.position })])
    await state.attempt('a', ids)
    expect(new Set(reset)).toEqual(new Set([0, 1, 2]))
    expect((await state.outbox()).map(({ shard }) => shard)).toEqual([1])
    await state.settle('a', ids)
  })

  it('gives no shard back that another worker has taken meanwhile', async () => {
    const server = await start()
    const { state, lost } = await open(server.url, [0])
    await ask(server.port, 'FLUSHALL')
    const other = await open(server.url, [0])
    expect(await state.append([{ shard: 0, bundle: bytes('x') }])).toEqual([undefined])
    await until(() => lost.length > 0)
    expect(lost).toEqual([0])
    await add(other.state, 0, 'y')
  })
})

describe('a Redis that stands still', () => {
  it('is not waited for forever, and does nothing late once it was asked anew', async () => {
    const server = await start()
    const { state, lost } = await open(`${server.url}?timeout=1s&lease=1m`, [0])
    const [first] = await add(state, 0, 'first')
    server.signal('SIGSTOP')
    const failure = await add(state, 0, 'late').catch((error: unknown) => (error as Error).message)
    expect(failure).toMatch(/no answer within 1 s|connection was lost|Socket timeout/)
    await expect(state.commit([windowOf(0, 10, { position: first?.position })])).rejects.toThrow(/state redis:/)
    server.signal('SIGCONT')
    await insist(() => state.commit([windowOf(0, 10, { position: first?.position })]))
    const [after] = await add(state, 0, 'after')
    const epoch = Number(await ask(server.port, 'HGET', 'zibrato:{g:00}:owner', 'epoch'))
    expect(epoch).toBeGreaterThan(1)
    expect(lost).toEqual([])
    expect((await state.outbox()).map(({ end }) => end)).toEqual([10])
    await state.close()
    const { log, end, snapshots } = await heldBy(server.url, 0)
    expect([end, snapshots.length, log.at(-1)]).toEqual([10, 1, 'after'])
    expect(['after', 'late,after']).toContain(log.join())
    expect(after).toBeDefined()
  })
})

describe('a connection that breaks', () => {
  it('has nothing sent again by itself, and a commit that was done and not answered is found done', async () => {
    const server = await start()
    // passes on what is sent, and breaks where an answer to a script would come
    let breaksAt: string | undefined
    const proxy = createServer((socket) => {
      const upstream = connect(server.port, '127.0.0.1')
      let isBroken = false
      socket.on('data', (data) => {
        isBroken ||= breaksAt !== undefined && data.includes(breaksAt)
        upstream.write(data)
      })
      upstream.on('data', (data) => (isBroken ? socket.destroy() : socket.write(data)))
      socket.on('close', () => upstream.end())
      for (const each of [socket, upstream]) each.on('error', () => {})
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    cleanup.push(() => proxy.close())
    const { port } = proxy.address() as { port: number }
    const { state } = await open(`redis://127.0.0.1:${port}`, [0])
    await add(state, 0, 'learns the script')
    breaksAt = APPEND.sha
    await expect(add(state, 0, 'unanswered')).rejects.toThrow(/connection/)
    breaksAt = undefined
    await insist(() => state.beat())
    const [place] = await add(state, 0, 'x')
    const entries = (await ask(server.port, 'XRANGE', 'zibrato:{g:00}:log', '-', '+')) as [string, [string, string]][]
    expect(entries.map(([, [, bundle]]) => bundle)).toEqual(['learns the script', 'unanswered', 'x'])

    const commit = windowOf(0, 10, { position: place?.position, snapshot: { kind: 'changes', bytes: bytes('s') } })
    await state.commit([windowOf(0, 5, { outbox: undefined })])
    breaksAt = COMMIT.sha
    await expect(state.commit([commit])).rejects.toThrow(/connection/)
    expect(await ask(server.port, 'HGET', 'zibrato:{g:00}:committed', 'end')).toBe('10')
    breaksAt = undefined
    // begins another epoch, in which it has another name
    await insist(() => add(state, 0, 'y'))
    await state.commit([commit])
    await state.commit([commit])
    const [entry] = await state.outbox()
    expect(text(await state.load(entry?.id as string))).toBe('o0@10')
    const kept = (await ask(server.port, 'LRANGE', 'zibrato:{g:00}:snapshots', 0, -1)) as string[]
    await state.commit([windowOf(0, 20)])
    expect([kept.length, await ask(server.port, 'EXISTS', ...kept)]).toEqual([2, 0])
    await state.close()
    expect(await heldBy(server.url, 0)).toEqual({ snapshots: ['s20'], end: 20, log: ['y'] })
  })
})

describe('a Redis that is full', () => {
  it('refuses what comes in, saying so, and lets leases, commits and deliveries go on until there is room', async () => {
    const server = await start('--maxmemory', '0')
    const { state, lost } = await open(server.url, [0, 1])
    const [place] = await add(state, 0, 'x'.repeat(100_000))
    await state.commit([windowOf(1, 5)])
    await ask(server.port, 'CONFIG', 'SET', 'maxmemory', '1mb')
    await expect(add(state, 0, 'y')).rejects.toThrow(/is full \(maxmemory is reached\).*raise maxmemory/)
    await state.beat()
    await acquired(state, 2)
    await state.commit([windowOf(0, 10, { position: place?.position })])
    const ids = (await state.outbox()).map(({ id }) => id)
    await state.attempt('a', ids)
    await state.release('a', ids)
    for (const backend of ['a', 'b']) await state.settle(backend, ids)
    expect(await state.outbox()).toEqual([])
    expect(lost).toEqual([])
    await ask(server.port, 'CONFIG', 'SET', 'maxmemory', '0')
    await add(state, 0, 'y')
    await state.giveUp([0])
    expect(await heldBy(server.url, 0)).toEqual({ snapshots: ['s10'], end: 10, log: ['y'] })
  })

  it('keeps a call to append whole or does not keep it', async () => {
    const server = await start()
    const { state } = await open(server.url, [0])
    await ask(server.port, 'CONFIG', 'SET', 'maxmemory', '1mb')
    await expect(state.append(['x', 'y', 'z'].map((bundle) => ({ shard: 0, bundle: bytes(bundle) })))).rejects.toThrow(
      /is full/,
    )
    expect(await ask(server.port, 'XLEN', 'zibrato:{g:00}:log')).toBe(0)
  })
})

describe('a Redis that', () => {
  it('has forgotten its scripts learns them again, and calls made at once keep their order', async () => {
    const server = await start()
    const { state } = await open(server.url, [0])
    for (let round = 0; round < 5; round++) {
      const calls = Array.from({ length: 20 }, (_, index) => add(state, 0, `${round * 20 + index}`))
      await ask(server.port, 'SCRIPT', 'FLUSH')
      await Promise.all(calls)
    }
    await state.close()
    const { log } = await heldBy(server.url, 0)
    expect(log).toEqual(Array.from({ length: 100 }, (_, index) => `${index}`))
  })

  it('was made a replica is told apart, and is used again once it is a master', async () => {
    const server = await start()
    const { state, warnings } = await open(server.url, [0])
    await ask(server.port, 'REPLICAOF', '127.0.0.1', '1')
    await expect(add(state, 0, 'x')).rejects.toThrow(/is a read-only replica .*name its master/)
    await until(() => warnings.some((warning) => /is a read-only replica/.test(warning)))
    await ask(server.port, 'REPLICAOF', 'NO', 'ONE')
    await insist(() => add(state, 0, 'y'))
  })

  it('starts to evict is warned of when it is connected anew, and used on', async () => {
    const server = await start()
    const { state, warnings } = await open(server.url, [0])
    await ask(server.port, 'CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    await ask(server.port, 'CONFIG', 'SET', 'maxmemory', '1gb')
    await ask(server.port, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until(() => warnings.some((warning) => /set maxmemory-policy noeviction/.test(warning)))
    expect(await add(state, 0, 'x')).toHaveLength(1)
  })

  it('cannot save to its disk, or misses replicas, says which', async () => {
    const server = await start()
    const { state } = await open(server.url, [0])
    await ask(server.port, 'CONFIG', 'SET', 'min-replicas-to-write', '3')
    await expect(add(state, 0, 'x')).rejects.toThrow(/fewer replicas than min-replicas-to-write.*start its replicas/)
    await ask(server.port, 'CONFIG', 'SET', 'min-replicas-to-write', '0')
    await ask(server.port, 'CONFIG', 'SET', 'save', '3600 1000000')
    await rm(server.directory, { recursive: true })
    await ask(server.port, 'BGSAVE')
    await until(async () => /rdb_last_bgsave_status:err/.test(String(await ask(server.port, 'INFO', 'persistence'))))
    await expect(add(state, 0, 'x')).rejects.toThrow(/cannot save to its disk .*make room/)
    await ask(server.port, 'CONFIG', 'SET', 'save', '')
    await add(state, 0, 'y')
  })

  it('went back to an earlier time gets a full snapshot, and does not deliver twice what it forgot was delivered', async () => {
    const server = await start()
    const { state, reset, warnings } = await open(server.url, [0])
    await state.commit([windowOf(0, 10)])
    for (const backend of ['a', 'b']) await state.settle(backend, ['10-0'])
    await state.commit([windowOf(0, 20), windowOf(0, 30)])
    // as a replica that was a second behind when it took over
    const key = (name: string): string => `zibrato:{g:00}:${name}`
    await ask(server.port, 'HSET', key('committed'), 'end', 20)
    await ask(server.port, 'HDEL', key('windows'), 30)
    await ask(server.port, 'HSET', key('windows'), 10, '{"bytes":1,"key":"x","pending":["a"]}')
    await ask(server.port, 'DEL', key('snapshots'))
    await ask(server.port, 'RPUSH', key('snapshots'), key('snapshot:20:1'))
    await ask(server.port, 'CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until(async () => /name=zibrato/.test(String(await ask(server.port, 'CLIENT', 'LIST'))))
    // nothing was under way when the connection was lost
    await until(async () => (await state.load('20-0').catch(() => undefined)) !== undefined)
    await add(state, 0, 'x')
    expect(reset).toEqual([0])
    expect(warnings.some((warning) => /went back to an earlier time/.test(warning))).toBe(true)
    expect((await state.outbox()).map(({ end }) => end)).toEqual([20])
    expect(await ask(server.port, 'HKEYS', key('windows'))).toEqual(['20'])
    await state.commit([windowOf(0, 40)])
    await state.close()
    expect((await heldBy(server.url, 0)).end).toBe(40)
  })

  it('lost a snapshot says which and what to do, and lets others have the shard', async () => {
    const server = await start()
    const { state } = await open(server.url, [0])
    await state.commit([windowOf(0, 10)])
    await add(state, 0, 'kept')
    await state.giveUp([0])
    await ask(server.port, 'DEL', 'zibrato:{g:00}:snapshot:10:1')
    const failure = await state.acquire(0).then(String, (error: unknown) => (error as Error).message)
    expect(failure).toMatch(/\{g:00\}:snapshot:10:1 is gone.*backup.*with: DEL zibrato:\{g:00\}:snapshots$/)
    expect(await ask(server.port, 'HGET', 'zibrato:{g:00}:owner', 'owner')).toBe('')
    await ask(server.port, 'DEL', failure.split('DEL ')[1] as string)
    expect(await heldBy(server.url, 0)).toEqual({ snapshots: [], end: 10, log: ['kept'] })
  })

  it('lost the rollups of a window says so, and lets the others be delivered', async () => {
    const server = await start()
    const { state, warnings } = await open(server.url, [0])
    await state.commit([windowOf(0, 10), windowOf(0, 20)])
    await ask(server.port, 'DEL', 'zibrato:{g:00}:window:10:1')
    const [first, second] = (await state.outbox()).map(({ id }) => id) as [string, string]
    await expect(state.load(first)).rejects.toThrow(first)
    expect(warnings.at(-1)).toMatch(/window:10:1 is gone/)
    expect((await state.outbox()).map(({ id }) => id)).toEqual([second])
    expect(await ask(server.port, 'HKEYS', 'zibrato:{g:00}:windows')).toEqual(['20'])
  })
})

describe('replicas that are waited for', () => {
  it('must have a lease, a commit and an attempt before these count', async () => {
    const master = await start('--repl-diskless-sync-delay', '0')
    const replica = await start('--replicaof', '127.0.0.1', String(master.port))
    await ask(master.port, 'SET', 'other', 'x')
    await until(async () => (await ask(replica.port, 'GET', 'other').catch(() => undefined)) === 'x')
    const { state } = await open(`${master.url}?replicas=1&lease=1s`, [0])
    expect(await ask(replica.port, 'HGET', 'zibrato:{g:00}:owner', 'owner')).toBe(state.id)
    await state.commit([windowOf(0, 10)])
    expect(await ask(replica.port, 'HGET', 'zibrato:{g:00}:committed', 'end')).toBe('10')
    replica.signal('SIGSTOP')
    const ids = (await state.outbox()).map(({ id }) => id)
    await expect(state.attempt('a', ids)).rejects.toThrow(
      /fewer replicas in step.*0 replicas have what was written, not 1.*start/,
    )
    // whoever asked does not attempt it, and so leaves no mark for the next owner to doubt
    await state.release('a', ids)
    expect(await ask(master.port, 'EXISTS', 'zibrato:{g:00}:attempts')).toBe(0)
    await expect(state.commit([windowOf(0, 20)])).rejects.toThrow(/fewer replicas in step/)
    replica.signal('SIGCONT')
    await insist(() => state.attempt('a', ids))
    await insist(() => state.commit([windowOf(0, 20)]))
    expect(await ask(replica.port, 'HGET', 'zibrato:{g:00}:committed', 'end')).toBe('20')
  })
})

describe('a user with no more rights than the documentation asks for', () => {
  const documentation = readFileSync(new URL('../../../../backends/state/README.md', import.meta.url), 'utf8')

  async function live(url: string): Promise<void> {
    const { state, warnings } = await open(url, [0, 1])
    await state.beat()
    const [place] = await add(state, 0, 'x')
    await state.commit([windowOf(0, 10, { position: place?.position })])
    const ids = (await state.outbox()).map(({ id }) => id)
    await state.load(ids[0] as string)
    for (const mark of ['attempt', 'release', 'settle'] as const) await state[mark]('a', ids)
    await state.leave()
    await state.giveUp([0])
    await state.acquire(0)
    expect(warnings).toEqual([])
    await state.close()
  }

  it('can do all that a worker does', async () => {
    const server = await start('--user', 'z', 'on', '>s', '~zibrato:*', 'resetchannels', ...RULE.split(' '))
    await live(`redis://z:s@127.0.0.1:${server.port}?replicas=0`)
    for (const right of RULE.split(' ')) expect(documentation).toContain(right)
  })

  it('can in a Cluster, with a few more', async () => {
    const rights = [...RULE.split(' '), ...CLUSTER_RULE.split(' ')]
    const cluster = await RedisCluster.start('--user', 'z', 'on', '>s', '~zibrato:*', 'resetchannels', ...rights)
    cleanup.push(() => cluster.stop())
    await live(cluster.url.replace('//', '//z:s@'))
    for (const right of rights) expect(documentation).toContain(right)
  })
})

describe('every key', () => {
  it('has a life span, whatever was done', async () => {
    const server = await start()
    const { state } = await open(server.url, [0, 1, 2, 3])
    const places = await appended(
      state,
      [0, 0, 1, 2].map((shard) => ({ shard, bundle: bytes('x') })),
    )
    await state.commit([windowOf(0, 10, { position: places[0]?.position }), windowOf(1, 10)])
    await state.commit([windowOf(0, 20, { snapshot: { kind: 'changes', bytes: bytes('c') } })])
    const ids = (await state.outbox()).map(({ id }) => id)
    await state.attempt('a', ids)
    await state.release('a', ids.slice(0, 1))
    await state.settle('b', ids.slice(1, 2))
    await state.beat()
    await state.giveUp([3])
    const keys = (await ask(server.port, 'KEYS', '*')) as string[]
    const kinds = new Set(keys.map((key) => key.replace(/.*[}]:/, '').replace(/:\d.*/, '')))
    expect([...kinds].toSorted()).toEqual(
      [
        'attempts',
        'committed',
        'infos',
        'log',
        'owner',
        'settings',
        'snapshot',
        'snapshots',
        'window',
        'windows',
        'workers',
        'zibrato:groups',
      ].toSorted(),
    )
    for (const key of keys) {
      if (key === 'zibrato:groups') continue
      expect([key, Number(await ask(server.port, 'PTTL', key)) > 0]).toEqual([key, true])
    }
    expect(SHARDS).toBe(32)
  })

  it('that was written ahead of a commit that never came goes soon', async () => {
    const server = await start()
    const { state } = await open(server.url, [0])
    await ask(server.port, 'SET', 'zibrato:{g:00}:committed', 'in the way')
    await expect(state.commit([windowOf(0, 10)])).rejects.toThrow(/somebody else uses.*prefix=/)
    expect(Number(await ask(server.port, 'PTTL', 'zibrato:{g:00}:window:10:1'))).toBeGreaterThan(0)
  })
})
