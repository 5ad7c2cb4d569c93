import { readdirSync, statSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Publisher } from 'zeromq'
import { type AggregatorFigures, DistributedRegistry, RegistryAggregator } from '../../../client/distributed/index.ts'
import { ManualClock } from '../../../client/clock.ts'
import { UsageError, ZibratoError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import { Registry } from '../../../client/registry/index.ts'
import type { TimerStats } from '../../../client/registry/index.ts'
import { observe } from '../../../client/runtime/index.ts'
import { MemoryTransport } from '../../../client/transport/memory.ts'
import type { SealedFrame } from '../../../client/transport/transport.ts'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { frameTopic } from '../../../client/wire/topic.ts'
import { until } from '../../until.ts'
import { Folder } from './folder.ts'

let folder: Folder
let aggregator: RegistryAggregator

beforeEach(async () => {
  folder = new Folder()
  aggregator = folder.keep(await new RegistryAggregator({ address: folder.address }).start())
})

afterEach(async () => {
  await folder[Symbol.asyncDispose]()
})

function registry(options = {}): DistributedRegistry {
  return folder.keep(new DistributedRegistry({ address: folder.address, flushInterval: '1h', ...options }))
}

function registries(count: number): DistributedRegistry[] {
  return Array.from({ length: count }, () => registry())
}

async function flush(...all: DistributedRegistry[]): Promise<void> {
  await Promise.all(all.map((each) => each.flush()))
}

describe('an aggregator', () => {
  test('adds up what several registries record, and what is recorded on it', async () => {
    const all = registries(3)
    for (const [index, each] of all.entries()) {
      each.counter('orders').inc(index + 1)
      each.meter('events').mark(2)
      each.unique('users').add(`u${index % 2}`)
      each.counter('by.route').with({ route: '/pay' }).inc()
    }
    aggregator.counter('orders').inc(100)
    await flush(...all)
    const stats = aggregator.getStats<Record<'orders' | 'events' | 'users', { value: number; count: number }>>()
    expect(stats.orders.value).toBe(106)
    expect(stats.events.count).toBe(6)
    expect(stats.users.value).toBe(2)
    expect(stats).toMatchObject({ by: { route: { series: [{ tags: { route: '/pay' }, value: 3 }] } } })
    // each of them knows its own
    expect(all.map((each) => each.statsOf(each.counter('orders')).value)).toEqual([1, 2, 3])
    expect(aggregator.figures()).toMatchObject({ connections: 3, replays: 0, invalid: 0, refused: 0 })
  })

  test('has after each flush what was recorded before, whether or not there is more', async () => {
    const one = registry()
    for (let count = 1; count <= 3; count++) {
      one.counter('n').inc()
      await one.flush()
      expect(one.connected()).toBe(true)
      expect(aggregator.getStats()).toMatchObject({ n: { value: count } })
    }
    await one.flush()
    one.counter('n').inc()
    await one.close()
    await one.close()
    expect(aggregator.getStats()).toMatchObject({ n: { value: 4 } })
    expect(one.stats()).toMatchObject({ sent: 4, replayed: 0, waiting: 0, unknown: 0, dropped: {} })
  })

  test('combines gauges as each of them says, or keeps them apart', async () => {
    const all = registries(3)
    for (const [index, each] of all.entries()) {
      for (const combine of ['sum', 'min', 'max'] as const) each.gauge(combine, { combine }).set(index + 2)
      each.gauge('last').setAt(index, 1e12 - index)
    }
    const named = registry({ process: 'a' })
    named.gauge('apart', { perProcess: true, tags: { kind: 'x' } }).set(1)
    all[0]?.gauge('apart', { perProcess: true }).set(2)
    all[1]?.gauge('read', { perProcess: true, read: () => 7 })
    await flush(...all, named)
    const stats = aggregator.getStats<Record<string, { value: number; series: object[] }>>()
    expect(['sum', 'min', 'max', 'last'].map((name) => stats[name]?.value)).toEqual([9, 2, 4, 0])
    expect(stats['apart']?.series).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ tags: { process: 'a', kind: 'x' }, value: 1 }),
        expect.objectContaining({ tags: { process: `pid-${process.pid}` }, value: 2 }),
      ]),
    )
    expect(stats['read']?.series).toMatchObject([{ value: 7 }])
  })

  test('lets the gauges of a process that is gone drop out, and keeps what it counted', async () => {
    await aggregator.close()
    const clock = new ManualClock()
    aggregator = folder.keep(await new RegistryAggregator({ address: folder.address, clock }).start())
    const all = registries(2)
    for (const [index, each] of all.entries()) {
      each.counter('n').inc()
      each.gauge('g', { combine: 'sum' }).set(index + 1)
    }
    await flush(...all)
    expect(aggregator.getStats()).toMatchObject({ n: { value: 2 }, g: { value: 3 } })
    await all[0]?.close()
    clock.advance(29_000)
    await flush(all[1] as DistributedRegistry)
    clock.advance(2_000)
    expect(aggregator.getStats()).toMatchObject({ n: { value: 2 }, g: { value: 2 } })
  })

  test('takes plain clients and what a process says of itself', async () => {
    const z = new Zibrato({ url: folder.address, flushInterval: '1h' })
    folder.keep(z)
    z.counter('plain').inc(5)
    const one = registry()
    using _ = observe(one, { http: false, undici: false })
    await Promise.all([z.flush(), one.flush()])
    expect(aggregator.getStats()).toMatchObject({
      plain: { value: 5 },
      node: { memory: { rss: { value: expect.any(Number) } } },
    })
  })

  test('answers the same as a single registry would, however it is spread', async () => {
    const all = registries(3)
    const value = fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.double({ min: -1e6, max: 1e6, noNaN: true }))
    const event = fc.record({
      who: fc.nat(2),
      what: fc.constantFrom('counter', 'timer', 'histogram', 'unique', 'meter'),
      value,
    })
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 300 }), async (events) => {
        const prefix = `run${run++}`
        const single = new Registry()
        for (const { who, what, value: amount } of events) {
          for (const each of [single, all[who] as DistributedRegistry]) {
            if (what === 'counter') each.counter(`${prefix}.c`).inc(amount)
            else if (what === 'meter') each.meter(`${prefix}.m`).mark(amount)
            else if (what === 'unique') each.unique(`${prefix}.u`).add(amount)
            else each[what as 'timer'](`${prefix}.${what}`).record(amount)
          }
        }
        await flush(...all)
        const expected = single.getStats<Record<string, Record<string, Record<string, number>>>>()[prefix] ?? {}
        const found = aggregator.getStats<Record<string, Record<string, Record<string, number>>>>()[prefix] ?? {}
        expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort())
        for (const [name, figures] of Object.entries(expected)) {
          for (const [figure, number] of Object.entries(figures)) {
            const tolerance = figure.startsWith('p') ? Math.abs(number) * 0.01 : 1e-3
            expect(Math.abs((found[name]?.[figure] as number) - number), `${name}.${figure}`).toBeLessThanOrEqual(
              tolerance,
            )
          }
        }
      }),
      { numRuns: 15 },
    )
  })

  test('has percentiles of all values, not of the processes', async () => {
    const all = registries(4)
    const values: number[] = []
    for (let index = 0; index < 4_000; index++) {
      const seconds = 0.001 * 1.002 ** (index % 3989)
      values.push(seconds)
      all[index % 4]?.timer('latency').record(seconds)
    }
    await flush(...all)
    values.sort((left, right) => left - right)
    const { latency } = aggregator.getStats<{ latency: TimerStats }>()
    expect(latency.count).toBe(4_000)
    for (const [name, q] of Object.entries({ p50: 0.5, p75: 0.75, p95: 0.95, p99: 0.99, p999: 0.999 })) {
      const exact = values[Math.ceil(q * values.length) - 1] as number
      expect(Math.abs(latency[name as 'p50'] - exact) / exact, name).toBeLessThan(0.01)
    }
  })

  test('counts what is no frame, and goes on', async () => {
    const good = sealed((z) => z.counter('n').inc(3))
    const publisher = folder.keep(new Publisher({ linger: 0 }))
    publisher.connect(folder.address)
    const bad = Buffer.from(good[0]?.bytes.subarray(0, -1) as Uint8Array)
    const topic = frameTopic(good[0]?.shard as number, 'info')
    const messages: (string | Uint8Array)[][] = [
      ['#'],
      ['#00|info|', 'no bundle'],
      ['#00|info|', ''],
      [topic, encodeBundle([bad, good[0]?.bytes as Uint8Array])],
      [topic, encodeBundle([good[0]?.bytes as Uint8Array]), 'third'],
    ]
    await until(async () => {
      for (const message of messages) await publisher.send(message)
      return aggregator.figures().replays > 0
    })
    expect(aggregator.getStats()).toMatchObject({ n: { value: 3 } })
    const { invalid, merged } = aggregator.figures()
    expect(merged).toBe(1)
    expect(invalid).toBeGreaterThanOrEqual(4)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 200 })), async (bytes) => {
        const before: AggregatorFigures = aggregator.figures()
        await publisher.send([
          '#00|info|',
          encodeBundle([...bytes.filter(({ length }) => length > 0), new Uint8Array(1)]),
        ])
        await until(() => aggregator.figures().invalid > before.invalid)
        expect(aggregator.figures().merged).toBe(1)
      }),
      { numRuns: 20 },
    )
    const one = registry()
    one.counter('n').inc()
    await one.flush()
    expect(aggregator.getStats()).toMatchObject({ n: { value: 4 } })
  })

  test('leaves out, and counts, what has another type than what it knows by that name', async () => {
    const [one, other] = registries(2) as [DistributedRegistry, DistributedRegistry]
    one.counter('n').inc()
    await one.flush()
    other.timer('n').record(1)
    other.counter('m').inc()
    await other.flush()
    expect(aggregator.getStats()).toMatchObject({ n: { value: 1 }, m: { value: 1 } })
    expect(aggregator.figures().refused).toBe(1)
  })

  test('gets what was recorded before it was there, and once only what it was sent twice', async () => {
    await aggregator.close()
    const all = registries(2)
    for (const each of all) each.counter('n').inc()
    const flushed = flush(...all)
    aggregator = folder.keep(await new RegistryAggregator({ address: folder.address }).start())
    await flushed
    await flush(...all)
    expect(aggregator.getStats()).toMatchObject({ n: { value: 2 } })
    // the next one is told again what the last 15 s held, for it knows nothing of it
    await aggregator.close()
    aggregator = folder.keep(await new RegistryAggregator({ address: folder.address }).start())
    await until(() => aggregator.figures().merged === 2)
    for (const each of all) each.counter('n').inc()
    await flush(...all)
    expect(aggregator.getStats()).toMatchObject({ n: { value: 4 } })
    expect(all.map((each) => each.stats().replayed)).toEqual([1, 1])
  })

  test('is its owner’s alone, and gone when it is closed', async () => {
    const path = folder.address.slice('ipc://'.length)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder.path)).toEqual(['m'])
    await aggregator.close()
    await aggregator.close()
    expect(readdirSync(folder.path)).toEqual([])
    expect(aggregator.getStats()).toEqual({})
  })

  test('is refused where another listens, which goes on', async () => {
    const second = new RegistryAggregator({ address: folder.address })
    const error = await second.start().catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(ZibratoError)
    expect((error as ZibratoError).code).toBe('ERR_LISTEN')
    expect((error as Error).message).toMatch(
      /a process listens there; stop it or choose another path with the option address/,
    )
    const one = registry()
    one.counter('n').inc()
    await one.flush()
    expect(aggregator.getStats()).toMatchObject({ n: { value: 1 } })
    expect(readdirSync(folder.path)).toEqual(['m'])
  })

  test('is started once', async () => {
    await expect(aggregator.start()).rejects.toThrow(/it was started already/)
  })

  test('replaces no file that is no socket', async () => {
    const path = `${folder.path}/other`
    writeFileSync(path, 'precious')
    const error = await new RegistryAggregator({ address: `ipc://${path}` }).start().catch((cause: unknown) => cause)
    expect((error as Error).message).toMatch(/there is a file that is no socket/)
    expect(readdirSync(folder.path).sort()).toEqual(['m', 'other'])
  })

  test('of two that start at once one listens', async () => {
    const address = `ipc://${folder.path}/race`
    const results = await Promise.allSettled(
      [1, 2, 3].map(async () => folder.keep(await new RegistryAggregator({ address }).start())),
    )
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected'])
    const one = registry({ address })
    one.counter('n').inc()
    await one.flush()
    const [listening] = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    expect(listening?.getStats()).toMatchObject({ n: { value: 1 } })
  })

  test('tells options that make no sense', () => {
    expect(() => new RegistryAggregator({ address: folder.address, window: 0 })).toThrow(UsageError)
    expect(() => new DistributedRegistry({ address: folder.address, flushInterval: 'soon' })).toThrow(UsageError)
  })
})

/** Frames of what some client records. */
function sealed(record: (z: Zibrato) => void): SealedFrame[] {
  const frames: SealedFrame[] = []
  const transport = Object.assign(new MemoryTransport(), {
    send: (some: readonly SealedFrame[]) => frames.push(...some) > 0,
  })
  const z = new Zibrato({ transport, flushInterval: '1h' })
  record(z)
  void z.flush()
  return frames
}
