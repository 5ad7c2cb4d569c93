import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Rollup } from '../../../backends/backend.ts'
import type { LogEntry, Restored } from '../../../backends/state/state.ts'
import { Worker, type WorkerOptions } from '../../../backends/worker/index.ts'
import { Zibrato } from '../../../client/index.ts'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { type EncodedKey, SHARDS, encodeKey, seriesKey } from '../../../client/wire/series.ts'
import { Broker } from '../../../gateway/broker/index.ts'
import { RedisServer } from '../../redis-server.ts'
import { until } from '../../until.ts'
import { Shared } from '../state/redis/pair.ts'
import { Collecting, KeptLog, hang, target } from './collecting.ts'
import { frame, timer } from './frames.ts'

const log = new KeptLog()
const closing: (() => unknown)[] = []
let server: RedisServer
let spaces = 0

beforeAll(async () => {
  server = await RedisServer.start()
})

afterAll(() => server.stop())

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
  log.lines.length = 0
})

async function place(): Promise<{ on: Shared; broker: Broker; client: Zibrato }> {
  const on = new Shared(server, `w${spaces++}:`)
  closing.push(() => on[Symbol.asyncDispose]())
  const broker = new Broker({ port: 0 })
  await broker.start()
  closing.push(() => broker.stop())
  const url = `tcp://127.0.0.1:${broker.port}`
  const client = new Zibrato({ url, flushInterval: 20, exitHooks: false, source: 'web', level: 'info' })
  closing.push(() => client.close())
  return { on, broker, client }
}

async function start(on: Shared, broker: Broker, backend: Collecting, parts: Partial<WorkerOptions> = {}) {
  const state = parts.state ?? on.state('&lease=10s')
  const brokers = [`tcp://127.0.0.1:${broker.port}`]
  const targets = [target(backend, { inDoubt: 'drop' })]
  const worker = new Worker({ brokers, targets, group: 'g', flush: 100, stopTimeout: 5_000, log, ...parts, state })
  closing.push(() => worker.stop().catch(() => {}))
  await worker.start()
  return worker
}

/** Counts on names that are spread over all shards. */
function count(client: Zibrato, times = 1): number {
  for (let index = 0; index < 200; index++) client.counter(`c${index}`).inc(times)
  return 200 * times
}

const sum = (...backends: readonly Collecting[]): number =>
  backends
    .flatMap(({ taken }) => taken.flatMap(({ rollups }) => rollups))
    .reduce((total, rollup) => total + (rollup.type === 'counter' ? rollup.value : 0), 0)

describe('a worker that shares its shards', () => {
  it('leaves with publishers what comes of shards whose owner is gone, until it has them', async () => {
    const { on, broker, client } = await place()
    const dead = { owner: 'gone', epoch: 1, until: Date.now() + 3_600_000 }
    for (let shard = 0; shard < SHARDS; shard++) await on.client.hset(on.shardKey(shard, 'owner'), dead)
    const backend = new Collecting()
    const worker = await start(on, broker, backend)
    await until(() => broker.stats().subscriptions >= SHARDS, 'it watches')
    let recorded = count(client)
    await client.flush()
    expect(client.stats()).toMatchObject({ sent: 0, waiting: SHARDS })
    for (let shard = 0; shard < SHARDS; shard++) await on.endLease(shard)
    await until(() => worker.figures().shards === SHARDS)
    recorded += count(client)
    await client.close()
    await until(() => sum(backend) === recorded)
    expect(client.stats()).toMatchObject({ waiting: 0, dropped: {} })
  })

  it('keeps those whose windows a backend has in hand until it has answered, and goes on with them meanwhile', async () => {
    const { on, broker, client } = await place()
    const [one, two] = [new Collecting(), new Collecting()]
    // on a machine that is busy the rounds take longer than a flush may by default
    const patient = [target(one, { inDoubt: 'drop', timeoutMs: 60_000 })]
    const first = await start(on, broker, one, { targets: patient })
    await until(() => first.figures().shards === SHARDS)
    let answer = (): void => {}
    one.script.push(() => new Promise<void>((resolve) => (answer = resolve)))
    let recorded = count(client)
    await until(() => one.attempts === 1)
    const second = await start(on, broker, two)
    // long enough for the shards to be handed over many times
    for (let round = 0; round < 16; round++) {
      const { windows } = first.figures()
      recorded += count(client)
      await until(() => first.figures().windows > windows)
    }
    expect(second.figures().shards).toBe(0)
    answer()
    await until(() => first.figures().shards === SHARDS / 2 && second.figures().shards === SHARDS / 2)
    recorded += count(client)
    await client.close()
    await until(() => sum(one, two) === recorded)
    expect(second.figures().backends['a']?.doubted).toBe(0)
    expect(two.taken.length).toBeGreaterThan(0)
  })

  it('commits nothing of a shard that was to be committed when it turned out to be stale', async () => {
    const { on, broker, client } = await place()
    const backend = new Collecting()
    const state = on.state('&lease=10s')
    const [acquire, commit] = [state.acquire.bind(state), state.commit.bind(state)]
    let stale: number | undefined
    let isAnew = false
    let retried: readonly number[] | undefined
    state.acquire = async (shard) => {
      const restored = await acquire(shard)
      isAnew ||= shard === stale
      return restored
    }
    state.commit = async (commits) => {
      if (stale === undefined) {
        stale = commits[0]?.shard as number
        state.onStale([stale])
        // shards are taken while the loop waits for this commit
        await until(() => isAnew)
        throw new Error('cannot be reached')
      }
      retried ??= commits.map(({ shard }) => shard)
      await commit(commits)
    }
    const worker = await start(on, broker, backend, { state })
    // others that are being taken would wait for the loop, and what is stale for them
    await until(() => worker.figures().shards === SHARDS)
    const recorded = count(client)
    await until(() => sum(backend) === recorded)
    expect(retried).not.toContain(stale)
  })

  it('restores shards side by side, and what closes meanwhile keeps to itself', async () => {
    const { on, broker } = await place()
    const PER_SHARD = 8_000
    const shards = [0, 1, 2, 3, 4, 5]
    const keys = new Map(shards.map((shard) => [shard, [] as { readonly name: string; readonly key: EncodedKey }[]]))
    for (let number = 0; [...keys.values()].some((own) => own.length < PER_SHARD); number++) {
      const name = `t${number}`
      const key = encodeKey(seriesKey(name, 'web'))
      const own = keys.get(key.shard)
      if (own !== undefined && own.length < PER_SHARD) own.push({ name, key })
    }
    const before = await on.open({}, '&lease=10s')
    await before.beat()
    let lastMs = 0
    for (const [shard, own] of keys) {
      await before.acquire(shard)
      const entries = own.map(({ key }) => timer(key, shard + 1, 7))
      const frames: Uint8Array[] = []
      while (entries.length > 0) frames.push(frame({ seq: frames.length + 1 }, ...entries.splice(0, 500)))
      const [appended] = await before.append([{ shard, bundle: encodeBundle(frames) }])
      lastMs = Math.max(lastMs, appended?.timeMs ?? 0)
    }
    // what stands behind the window's end has whoever restores them commit it on the way
    await until(async () => (await before.now()) > lastMs + 100)
    for (const [shard, own] of keys) {
      await before.append([{ shard, bundle: encodeBundle([frame({ seq: 99 }, timer(own[0]?.key as EncodedKey, 1))]) }])
    }
    await before.leave()
    await before.close()
    const backend = new Collecting()
    await start(on, broker, backend)
    const taken = (): Rollup[] => backend.taken.flatMap(({ rollups }) => rollups)
    await until(() => taken().length >= shards.length * (PER_SHARD + 1), 'all comes out', 30_000)
    const counts = new Map<string, number>()
    for (const { name, ...rollup } of taken()) {
      counts.set(name, (counts.get(name) ?? 0) + ('count' in rollup ? rollup.count : Number.NaN))
    }
    const expected = Array.from(keys.values()).flatMap((own) =>
      own.map(({ name }, index) => [name, index === 0 ? 3 : 2] as const),
    )
    expect(log.lines).toEqual([])
    expect(counts).toEqual(new Map(expected))
  })

  it('whose data is lost while it is restored is written whole by its next commit', async () => {
    const { on, broker, client } = await place()
    const state = on.state('&lease=10s')
    const [acquire, commit] = [state.acquire.bind(state), state.commit.bind(state)]
    const kinds = new Map<number, string>()
    state.acquire = async (shard) => {
      const restored = await acquire(shard)
      if (restored === undefined || shard !== 3) return restored
      async function* entries(): AsyncGenerator<LogEntry, void> {
        state.onReset([shard])
        yield* (restored as Restored).entries
      }
      return { ...restored, entries: entries() }
    }
    state.commit = async (commits) => {
      for (const { shard, snapshot } of commits) if (!kinds.has(shard)) kinds.set(shard, snapshot.kind)
      await commit(commits)
    }
    const backend = new Collecting()
    const worker = await start(on, broker, backend, { state })
    await until(() => worker.figures().shards === SHARDS)
    const recorded = count(client)
    await until(() => sum(backend) === recorded)
    expect(Array.from(kinds).filter(([, kind]) => kind === 'full')).toEqual([[3, 'full']])
  })

  it.each([
    ['alone', 1],
    ['with another', 2],
  ])('that cannot give up its shards as it stops, %s, has lost nothing and says so', async (_, workers) => {
    const { on, broker, client } = await place()
    const backend = new Collecting()
    const state = on.state('&lease=10s')
    const first = await start(on, broker, backend, { state })
    const other = new Collecting()
    if (workers > 1) await start(on, broker, other)
    await until(() => first.figures().shards === SHARDS / workers)
    const recorded = count(client)
    await until(() => sum(backend, other) === recorded)
    state.giveUp = () => Promise.reject(new Error('the connection was lost'))
    await first.stop()
    expect(log.lines).toContain('warn cannot give shards up: their leases have to end')
  })

  it('that cannot commit as it stops leaves it to the other, who has all of it in the logs', async () => {
    const { on, broker, client } = await place()
    const [one, two] = [new Collecting(), new Collecting()]
    const state = on.state('&lease=10s')
    const first = await start(on, broker, one, { state })
    await start(on, broker, two)
    await until(() => first.figures().shards === SHARDS / 2)
    let attempts = 0
    state.commit = () => {
      attempts++
      return Promise.reject(new Error('a slot is moving'))
    }
    let recorded = count(client)
    await until(() => attempts > 0)
    recorded += count(client)
    await client.close()
    await first.stop()
    await until(() => sum(one, two) === recorded)
    expect(log.lines).toContain('warn cannot commit, which is left to who has the shards next')
  })

  it('that is told to stop waits for its backend no longer than it was told to, and leaves no doubt', async () => {
    const { on, broker, client } = await place()
    const [one, two] = [new Collecting(), new Collecting()]
    const first = await start(on, broker, one, { stopTimeout: 300 })
    await until(() => first.figures().shards === SHARDS)
    one.always = hang
    const recorded = count(client)
    await until(() => one.attempts === 1)
    const second = await start(on, broker, two)
    await first.stop()
    await until(() => second.figures().shards === SHARDS)
    await until(() => sum(two) === recorded)
    expect(second.figures().backends['a']?.doubted).toBe(0)
  })

  it('does not believe to have a shard that it lost while it took it', async () => {
    const { on, broker, client } = await place()
    const backend = new Collecting()
    const state = on.state('&lease=1s')
    const acquire = state.acquire.bind(state)
    let stolen = 0
    state.acquire = async (shard) => {
      const restored = await acquire(shard)
      if (shard !== 5 || restored === undefined || stolen++ > 0) return restored
      await on.client.hset(on.shardKey(5, 'owner'), 'owner', 'stranger', 'epoch', 99, 'until', Date.now() + 60_000)
      await state.beat()
      return restored
    }
    const worker = await start(on, broker, backend, { state })
    await until(() => worker.figures().shards === SHARDS - 1)
    expect(stolen).toBe(1)
    expect(await on.epoch(5)).toBe(99)
    await on.client.hset(on.shardKey(5, 'owner'), 'owner', '')
    await until(() => worker.figures().shards === SHARDS)
    expect(await on.epoch(5)).toBe(100)
    const recorded = count(client)
    await until(() => sum(backend) === recorded)
  })

  it('gives up a shard that it cannot restore, has the others, and takes it once it can', async () => {
    const { on, broker, client } = await place()
    const [one, two] = [new Collecting(), new Collecting()]
    const first = await start(on, broker, one)
    await until(() => first.figures().shards === SHARDS)
    let recorded = count(client)
    await until(() => sum(one) === recorded)
    await first.stop()
    const [name] = (await on.client.lrange(on.shardKey(3, 'snapshots'), '0', '0')) as [string]
    const snapshot = await on.client.getBuffer(name)
    await on.client.set(name, 'nonsense')
    const second = await start(on, broker, two)
    await until(() => log.lines.includes('warn cannot take a shard, will retry'))
    await until(() => second.figures().shards === SHARDS - 1)
    await until(async () => (await on.client.hget(on.shardKey(3, 'owner'), 'owner')) === '')
    await on.client.set(name, snapshot as Buffer)
    await until(() => second.figures().shards === SHARDS)
    recorded += count(client)
    await until(() => sum(one, two) === recorded)
    const totals = two.taken.flatMap(({ rollups }) =>
      rollups.map((rollup) => rollup.type === 'counter' && rollup.total),
    )
    expect(new Set(totals)).toEqual(new Set([2]))
  })

  it('and stops with all others at the same moment leaves nothing undelivered', async () => {
    const { on, broker, client } = await place()
    const backends = [new Collecting(), new Collecting(), new Collecting()]
    // on a machine that is busy with other things they must neither lose their leases nor the patience to deliver
    const parts = { flush: '1h', stopTimeout: 30_000 }
    const workers = await Promise.all(
      backends.map((backend) => start(on, broker, backend, { ...parts, state: on.state('&lease=30s') })),
    )
    await until(() => workers.reduce((all, worker) => all + worker.figures().shards, 0) === SHARDS)
    await until(() => workers.every((worker) => worker.figures().shards > 0))
    const recorded = count(client)
    await client.close()
    await until(() => workers.reduce((all, worker) => all + worker.figures().merged, 0) > 0)
    await Promise.all(workers.map((worker) => worker.stop()))
    expect(sum(...backends)).toBe(recorded)
  })

  it('is refused when its settings differ from those of others, and lets go of everything', async () => {
    const { on, broker } = await place()
    const first = await start(on, broker, new Collecting())
    const backend = new Collecting()
    await expect(start(on, broker, backend, { flush: 200 })).rejects.toThrow(/flush 100ms, this one 200ms/)
    await expect(start(on, broker, backend, { levels: ['info'] })).rejects.toThrow(/levels all, this one info/)
    await expect(start(on, broker, backend, { idle: 'zero' })).rejects.toThrow(/idle skip, this one zero/)
    await expect(start(on, broker, backend, { percentiles: [0.5] })).rejects.toThrow(/percentiles .*p999, this one p50/)
    const other = [target(backend, { key: 'b' })]
    await expect(start(on, broker, backend, { targets: other })).rejects.toThrow(/to a, this one b/)
    expect(backend.closed).toBe(5)
    await until(() => first.figures().shards === SHARDS)
  })
})
