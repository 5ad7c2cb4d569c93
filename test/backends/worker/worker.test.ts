import { afterEach, describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { MemoryState } from '../../../backends/state/memory.ts'
import type { Appended, Commit, State } from '../../../backends/state/state.ts'
import { Worker, type WorkerOptions } from '../../../backends/worker/index.ts'
import { UsageError, Zibrato } from '../../../client/index.ts'
import { Sum } from '../../../client/sketch/aggregate.ts'
import { SHARDS } from '../../../client/wire/series.ts'
import { shardTopic } from '../../../client/wire/topic.ts'
import { Broker } from '../../../gateway/broker/index.ts'
import { until } from '../../until.ts'
import { tempDirectories } from '../temp.ts'
import { Collecting, KeptLog, Receiving, hang, target } from './collecting.ts'
import { counter, frame, keyIn } from './frames.ts'
import { HandMade } from './hand-made.ts'

const temp = tempDirectories()
const log = new KeptLog()
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
  log.lines.length = 0
})

async function startBroker(): Promise<Broker> {
  const broker = new Broker({ port: 0 })
  await broker.start()
  closing.push(() => broker.stop())
  return broker
}

function client(broker: Broker, level = 'info'): Zibrato {
  const made = new Zibrato({
    url: `tcp://127.0.0.1:${broker.port}`,
    flushInterval: 20,
    exitHooks: false,
    source: 'web',
    level,
  })
  closing.push(() => made.close())
  return made
}

function handMade(broker: Broker): HandMade {
  const made = new HandMade(broker.port)
  closing.push(() => made.socket.close())
  return made
}

type Parts = Partial<WorkerOptions> & { readonly at?: readonly Broker[] }

function make({ at = [], ...parts }: Parts): Worker {
  const brokers = at.map(({ port }) => `tcp://127.0.0.1:${port}`)
  return new Worker({ brokers, targets: [], state: new MemoryState(), flush: 100, stopTimeout: 5_000, log, ...parts })
}

async function start(parts: Parts): Promise<Worker> {
  const worker = make(parts)
  closing.push(() => worker.stop().catch(() => {}))
  await worker.start()
  return worker
}

/** A state that can be made to fail for a while. */
class Failing extends MemoryState {
  down = false
  failures = 0

  #check(): void {
    if (!this.down) return
    this.failures++
    throw new Error('the disk is full')
  }

  override async append(entries: Parameters<State['append']>[0]): Promise<Appended[]> {
    this.#check()
    return super.append(entries)
  }

  override async commit(commits: readonly Commit[]): Promise<void> {
    this.#check()
    await super.commit(commits)
  }
}

describe('a worker', () => {
  it('gives every backend windows with exact sums, and those that want it every aggregate', async () => {
    const broker = await startBroker()
    const [plain, receiving] = [new Collecting(), new Receiving()]
    const targets = [target(plain), target(receiving, { key: 'b', label: 'b' })]
    const worker = await start({ at: [broker], targets })
    const clients = [client(broker), client(broker)]
    for (let round = 1; round <= 20; round++) {
      clients.forEach((z, who) => {
        for (let index = 0; index < 50; index++) z.counter(`c${index}`).inc(index + who)
        z.timer('t').record(round)
        z.unique('u').add(`user ${(round + who) % 15}`)
        z.meter('m').mark(3)
      })
      await clients[round % 2]?.flush()
    }
    await Promise.all(clients.map((z) => z.close()))
    const counted = (): number => worker.figures().merged
    await until(() => plain.sum('c49') === 20 * 99, 'the sum of the last counter')
    await worker.stop()
    for (const backend of [plain, receiving]) {
      for (let index = 0; index < 50; index++) expect(backend.sum(`c${index}`)).toBe(20 * (2 * index + 1))
      const timers = backend.rollups('t')
      expect(timers.reduce((sum, rollup) => sum + (rollup.type === 'timer' ? rollup.count : 0), 0)).toBe(40)
      expect(backend.rollups('m').reduce((sum, one) => sum + (one.type === 'meter' ? one.count : 0), 0)).toBe(120)
      const points = backend.taken.flatMap(({ end, rollups }) =>
        rollups.map(({ type, name }) => `${end} ${type} ${name}`),
      )
      expect(new Set(points).size).toBe(points.length)
      for (const { start: from, end } of backend.taken) {
        expect(Math.abs(end - from - 0.1)).toBeLessThan(1e-6)
        expect(Math.abs(end * 10 - Math.round(end * 10))).toBeLessThan(1e-4)
      }
      expect(backend.closed).toBe(1)
    }
    let received = 0
    for (const { series, aggregate } of receiving.frames.flatMap(({ entries }) => entries)) {
      if (series.name === 'c7' && aggregate instanceof Sum) received += aggregate.value
    }
    expect(received).toBe(20 * 15)
    expect(receiving.frames).toHaveLength(counted())
    const figures = worker.figures()
    expect(figures).toMatchObject({ invalid: 0, refused: 0, lost: 0, missing: 0, inboxBytes: 0, overflowed: 0 })
    expect(figures.backends['a']).toMatchObject({ failures: 0, pending: 0 })
    expect(figures.windows).toBeGreaterThan(0)
  })

  it('counts what a backend fails to receive all the same', async () => {
    const broker = await startBroker()
    const backend = new Receiving()
    backend.receive = () => {
      throw new Error('a mistake')
    }
    const worker = await start({ at: [broker], targets: [target(backend)] })
    const z = client(broker)
    z.counter('c').inc(3)
    await z.close()
    await until(() => backend.sum('c') === 3)
    expect(log.lines).toContain('warn backend failed to receive a frame')
    expect(worker.figures().merged).toBe(1)
  })

  it('takes the levels that it was told to', async () => {
    const broker = await startBroker()
    const backend = new Collecting()
    const worker = await start({ at: [broker], targets: [target(backend)], levels: ['crit', 'warn'] })
    const clients = ['debug', 'crit', 'warn'].map((level) => client(broker, level))
    clients.forEach((z, index) => z.counter('c').inc(10 ** index))
    await Promise.all(clients.map((z) => z.flush()))
    await until(() => backend.sum('c') === 110)
    expect(worker.figures().merged).toBe(2)
  })

  it('takes from two brokers at once', async () => {
    const brokers = [await startBroker(), await startBroker()]
    const backend = new Collecting()
    const worker = await start({ at: brokers, targets: [target(backend)] })
    await until(() => worker.figures().connections === 2)
    const clients = brokers.map((broker) => client(broker))
    clients.forEach((z, index) => z.counter('c').inc(10 ** index))
    await Promise.all(clients.map((z) => z.close()))
    await until(() => backend.sum('c') === 11)
    expect(worker.figures()).toMatchObject({ merged: 2, publishers: 2 })
  })

  it('loses nothing while its state fails', async () => {
    const broker = await startBroker()
    const backend = new Collecting()
    const state = new Failing()
    const worker = await start({ at: [broker], targets: [target(backend)], state })
    const z = client(broker)
    let counted = 0
    const count = async (): Promise<void> => {
      for (let index = 0; index < 40; index++) z.counter(`c${index}`).inc()
      counted++
      await z.flush()
    }
    await count()
    await until(() => backend.sum('c39') === counted)
    for (let outage = 0; outage < 2; outage++) {
      await count()
      state.down = true
      const before = state.failures
      await count()
      await until(() => state.failures > before + 1)
      await count()
      state.down = false
      await until(() => backend.sum('c39') === counted)
    }
    await worker.stop()
    for (let index = 0; index < 40; index++) expect(backend.sum(`c${index}`)).toBe(counted)
    expect(log.lines.some((line) => /cannot (append to the log|commit), will retry/.test(line))).toBe(true)
  })

  it('stops in time when its state fails for good, closes everything, and says why', async () => {
    const broker = await startBroker()
    const backend = new Collecting()
    const state = new Failing()
    const worker = await start({ at: [broker], targets: [target(backend)], state, stopTimeout: 1 })
    const z = client(broker)
    state.down = true
    z.counter('c').inc()
    await z.flush()
    await until(() => state.failures > 0)
    const finished = worker.finished().catch((error: Error) => error.message)
    await expect(worker.stop()).rejects.toThrow('the disk is full')
    expect(await finished).toBe('the disk is full')
    expect(backend.closed).toBe(1)
    await expect(state.outbox()).rejects.toThrow('not open')
  })

  it('that is stopped while publishers go on leaves the rest to the next one, and nothing twice', async () => {
    const broker = await startBroker()
    const directory = await temp()
    const z = client(broker)
    let counted = 0
    const timer = setInterval(() => {
      z.counter('c').inc()
      counted++
    }, 1)
    closing.push(() => clearInterval(timer))
    const backends = [new Collecting(), new Collecting()]
    for (const backend of backends) {
      const worker = await start({ at: [broker], targets: [target(backend)], state: new FileState({ directory }) })
      await until(() => backend.sum('c') > 50)
      if (backend === backends[1]) {
        clearInterval(timer)
        await z.close()
      }
      await Promise.all([worker.stop(), worker.stop()])
    }
    expect(backends.reduce((sum, backend) => sum + backend.sum('c'), 0)).toBe(counted)
    const last = backends[1]?.rollups('c').at(-1)
    expect(last?.type === 'counter' && last.total).toBe(counted)
    const ends = backends.flatMap(({ taken }) =>
      taken.filter(({ rollups }) => rollups.length > 0).map(({ end }) => end),
    )
    expect(new Set(ends).size).toBe(ends.length)
  })

  it('goes on from the log of one that ended without a word', async () => {
    const broker = await startBroker()
    const directory = await temp()
    const key = keyIn(5, 'c')
    const state = new FileState({ directory })
    await state.open({ group: 'default', backends: ['a'] })
    await state.acquire(5)
    const bundle = (seq: number): Uint8Array => {
      const bytes = frame({ seq }, counter(key, seq))
      return Uint8Array.of(bytes.length, ...bytes)
    }
    await state.append([1, 2, 2, 3].map((seq) => ({ shard: 5, bundle: bundle(seq) })))
    await state.close()
    const backend = new Receiving()
    await start({ at: [broker], targets: [target(backend)], state: new FileState({ directory }) })
    await until(() => backend.taken.length === 1)
    expect(backend.taken[0]?.rollups).toMatchObject([{ value: 6, total: 6 }])
    expect(backend.frames.map(({ seq }) => seq)).toEqual([1, 2, 3])
  })

  it('asks for a replay when something is missing for a second', async () => {
    const broker = await startBroker()
    const backend = new Collecting()
    const worker = await start({ at: [broker], targets: [target(backend)] })
    const from = handMade(broker)
    await from.subscribed(shardTopic(5))
    const key = keyIn(5, 'c')
    await from.send(5, 'info', frame({ seq: 1 }, counter(key, 1)))
    await from.send(5, 'info', frame({ seq: 3 }, counter(key, 4)))
    await until(() => worker.figures().missing === 1)
    const since = performance.now()
    expect(from.requests).toEqual([])
    await until(() => from.requests.length === 1)
    expect(from.requests[0]).toMatch(/^\?05\|/)
    expect(performance.now() - since).toBeGreaterThan(400)
    for (const [seq, value] of [
      [1, 1],
      [2, 2],
      [3, 4],
    ] as const) {
      await from.send(5, 'info', frame({ seq }, counter(key, value)))
    }
    await until(() => backend.sum(nameOf(key.bytes)) === 7)
    expect(worker.figures()).toMatchObject({ merged: 3, replays: 2, missing: 0, lost: 0 })
    expect(from.requests).toHaveLength(1)
  })

  it('asks for replays at its start only where its state remembers what was counted', async () => {
    const broker = await startBroker()
    const from = handMade(broker)
    const forgetful = await start({ at: [broker] })
    // a connection made late is told of what was subscribed before in an order of its own
    for (let shard = 0; shard < SHARDS; shard++) await from.subscribed(shardTopic(shard))
    const key = keyIn(5, 'c')
    await from.send(5, 'info', frame({ seq: 1 }, counter(key, 1)))
    await until(() => forgetful.figures().merged === 1)
    expect(from.requests).toEqual([])
    await start({ at: [broker], state: new FileState({ directory: await temp() }) })
    await until(() => from.requests.length === SHARDS)
  })

  it('folds series beyond the bound into one per shard, counts them and says so', async () => {
    const broker = await startBroker()
    const backend = new Collecting()
    const worker = await start({ at: [broker], targets: [target(backend)], maxSeries: 1 })
    const z = client(broker)
    for (let index = 0; index < 200; index++) z.counter(`c${index}`).inc()
    await z.close()
    const all = (): number =>
      backend.taken
        .flatMap(({ rollups }) => rollups)
        .reduce((sum, one) => sum + (one.type === 'counter' ? one.value : 0), 0)
    await until(() => all() === 200)
    const { overflowed } = worker.figures()
    expect(backend.sum('zibrato.overflow')).toBe(overflowed)
    expect(overflowed).toBeGreaterThanOrEqual(200 - SHARDS)
    expect(log.lines.some((line) => line.includes('zibrato.overflow') && line.includes('--max-series'))).toBe(true)
  })
})

describe('a worker that starts', () => {
  const broken = [
    ['a window that is too short', { flush: 99 }, /flush 99 .*100ms and 24h/],
    ['a window that is too long', { flush: '25h' }, /flush 25h/],
    ['a window that is no duration', { flush: 'soon' }, /"soon"/],
    ['a percentile of 1', { percentiles: [0.5, 1] }, /percentiles/],
    ['a percentile of 0', { percentiles: [0] }, /percentiles/],
    ['percentiles of one name', { percentiles: [0.125, 0.0125] }, /p125/],
    ['no room for series', { maxSeries: 0 }, /maxSeries 0/],
    ['a room for series that is no number', { maxSeries: Number.NaN }, /maxSeries NaN/],
    ['a time to stop that is none', { stopTimeout: 'never' }, /"never"/],
    ['a broker that is none', { brokers: ['127.0.0.1:5550'] }, /tcp:\/\/127\.0\.0\.1:5550/],
    [
      'two backends known as one',
      { targets: [target(new Collecting()), target(new Collecting())] },
      /known as a; add \?known-as=NAME/,
    ],
  ] as const satisfies readonly (readonly [string, Partial<WorkerOptions>, RegExp])[]

  it.each(broken)('refuses %s', (_what, options, message) => {
    expect(() => make(options)).toThrow(UsageError)
    expect(() => make(options)).toThrow(message)
  })

  it('takes one percentile that is named twice', () => {
    expect(() => make({ percentiles: [0.99, 0.99, 0.999] })).not.toThrow()
  })

  it('and whose backend cannot work lets go of everything, and says why', async () => {
    const broker = await startBroker()
    const directory = await temp()
    const [well, never] = [new Collecting(), new Collecting()]
    Object.assign(never, { connect: () => Promise.reject(new UsageError('no such token')) })
    const targets = [target(well), target(never, { key: 'b' })]
    const worker = make({ at: [broker], targets, state: new FileState({ directory }) })
    await expect(worker.start()).rejects.toThrow('no such token')
    expect([well.closed, never.closed]).toEqual([1, 1])
    await worker.stop()
    await start({ at: [broker], state: new FileState({ directory }) })
  })

  it('and whose state is in use says who has it', async () => {
    const directory = await temp()
    await start({ state: new FileState({ directory }) })
    const second = make({ state: new FileState({ directory }) })
    await expect(second.start()).rejects.toThrow(String(process.pid))
  })

  it('and is stopped at once lets go of everything', async () => {
    const broker = await startBroker()
    const directory = await temp()
    const worker = make({ at: [broker], state: new FileState({ directory }) })
    const starting = worker.start().catch(() => {})
    await worker.stop()
    await starting
    expect(worker.figures().connections).toBe(0)
    await start({ at: [broker], state: new FileState({ directory }) })
  })
})

describe('a worker that stops', () => {
  it('commits and delivers the window at hand, however long it would have been', async () => {
    const broker = await startBroker()
    const backend = new Collecting()
    const worker = await start({ at: [broker], targets: [target(backend)], flush: '1h' })
    const z = client(broker)
    z.counter('c').inc(3)
    await z.close()
    await worker.stop()
    expect(backend.sum('c')).toBe(3)
    expect((backend.ends[0] as number) % 3_600).toBe(0)
  })

  it('does not wait for a backend that hangs longer than it was told to, and warns of what is lost', async () => {
    const broker = await startBroker()
    const [hanging, well] = [new Collecting(), new Collecting()]
    hanging.always = hang
    hanging.close = hang
    const targets = [target(hanging, { timeoutMs: 60_000, backoffMs: 60_000 }), target(well, { key: 'b', label: 'b' })]
    const worker = await start({ at: [broker], targets, stopTimeout: 50 })
    const z = client(broker)
    z.counter('c').inc(3)
    await z.close()
    await until(() => worker.figures().merged === 1)
    await worker.stop()
    expect(well.sum('c')).toBe(3)
    expect(well.closed).toBe(1)
    expect(log.lines).toContain('warn stopping with windows that no backend took: lost')
    expect(log.lines).toContain('warn backend was not closed cleanly')
  })
})

function nameOf(key: Uint8Array): string {
  return new TextDecoder().decode(key).split('\0')[0] as string
}
