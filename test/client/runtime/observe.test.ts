import { execFile } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import { type ObserveOptions, type Observing, observe } from '../../../client/runtime/index.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import { until } from '../../until.ts'

const PROGRAM = fileURLToPath(new URL('observing-program.ts', import.meta.url))
const README = readFileSync(fileURLToPath(new URL('../../../client/README.md', import.meta.url)), 'utf8')

const KINDS = ['eventLoop', 'gc', 'heap', 'memory', 'resources', 'cpu', 'http', 'undici'] as const
const OFF = Object.fromEntries(KINDS.map((kind) => [kind, false])) as Record<(typeof KINDS)[number], boolean>
const CHANNELS = [
  'http.server.request.start',
  ...['create', 'headers', 'trailers', 'error'].map((each) => `undici:request:${each}`),
]

const observings: Observing[] = []
afterEach(() => {
  for (const each of observings.splice(0)) each.stop()
})

interface Setup {
  readonly z: Zibrato
  readonly metrics: MemoryMetrics
  readonly observing: Observing
}

function observed(options: ObserveOptions): Setup {
  const metrics = new MemoryMetrics()
  const z = new Zibrato({ transport: metrics, flushInterval: '1h' })
  const observing = observe(z, { ...OFF, interval: '10ms', ...options })
  observings.push(observing)
  return { z, metrics, observing }
}

/** The newest of a gauge, now. */
async function last({ z, metrics }: Setup, name: string, tags = {}): Promise<number> {
  await z.flush()
  return metrics.last(name, { tags }) ?? Number.NaN
}

function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

describe('observe', () => {
  test('tells by how much the event loop is late, and how busy it is', async () => {
    const setup = observed({ eventLoop: { resolution: 5 } })
    busy(100)
    await until(async () => {
      await setup.z.flush()
      return setup.metrics.quantile('node.eventloop.delay', 1) >= 0.09
    })
    expect(await last(setup, 'node.eventloop.utilization')).toBeGreaterThan(0)
    // read again at once
    expect(await last(setup, 'node.eventloop.utilization')).toBeLessThanOrEqual(1)
    expect(setup.z.stats().dropped).toEqual({})
    await until(async () => {
      await setup.z.flush()
      return setup.metrics.count('node.eventloop.delay') > 3
    })
  })

  test('counts and times garbage collections by kind', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void
    const { z, metrics } = observed({ gc: true })
    collect()
    collect({ type: 'minor' })
    await until(async () => {
      await z.flush()
      const count = (kind: string): number => metrics.count('node.gc', { tags: { kind } })
      return count('major') >= 1 && count('minor') >= 1
    })
    expect(metrics.sum('node.gc', { tags: { kind: 'major' } })).toBeGreaterThan(0)
    expect(metrics.quantile('node.gc', 1)).toBeLessThan(60)
  })

  test('reads heap and memory when a frame is made', async () => {
    const setup = observed({ heap: true, memory: true })
    const [used, total, limit] = await Promise.all(
      ['used', 'total', 'limit'].map((each) => last(setup, `node.heap.${each}`)),
    )
    expect(used).toBeGreaterThan(1e6)
    expect(total).toBeGreaterThanOrEqual(used as number)
    expect(limit).toBeGreaterThan(total as number)
    const buffers = await last(setup, 'node.memory.array_buffers')
    const kept = Buffer.alloc(30e6)
    await new Promise((resolve) => setTimeout(resolve, 2))
    expect(await last(setup, 'node.memory.array_buffers')).toBeGreaterThan(buffers + kept.length - 10e6)
    expect(await last(setup, 'node.memory.external')).toBeGreaterThanOrEqual(kept.length)
    expect(await last(setup, 'node.memory.rss')).toBeGreaterThan(used as number)
  })

  test('counts what keeps the event loop alive, and tells when it is gone', async () => {
    const setup = observed({ resources: true })
    const servers = await Promise.all(
      [1, 2].map(async () => {
        const server = createServer()
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        return server
      }),
    )
    const tags = { type: 'TCPSERVERWRAP' }
    const own = process.getActiveResourcesInfo().filter((type) => type === 'TCPServerWrap').length
    expect(own).toBeGreaterThanOrEqual(2)
    const name = { type: 'TCPServerWrap' }
    await until(async () => (await last(setup, 'node.resources', name)) === own)
    for (const server of servers) server.close()
    await until(async () => (await last(setup, 'node.resources', name)) === own - 2)
    expect(setup.metrics.last('node.resources', { tags })).toBeUndefined()
  })

  test('counts CPU time, up to the stop', async () => {
    const before = process.cpuUsage()
    const { z, metrics, observing } = observed({ cpu: true, interval: '1h' })
    const begun = process.cpuUsage()
    while (process.cpuUsage(begun).user < 100_000);
    const least = process.cpuUsage(begun)
    observing.stop()
    const most = process.cpuUsage(before)
    await z.flush()
    for (const mode of ['user', 'system'] as const) {
      const seconds = metrics.sum('node.cpu', { tags: { mode } })
      expect(seconds).toBeGreaterThanOrEqual(least[mode] / 1e6)
      expect(seconds).toBeLessThanOrEqual(most[mode] / 1e6)
    }
  })

  test('counts CPU time as it passes', async () => {
    const { z, metrics } = observed({ cpu: true })
    const begun = process.cpuUsage()
    await until(async () => {
      busy(5)
      await z.flush()
      return metrics.sum('node.cpu', { tags: { mode: 'user' } }) > 0.01
    })
    expect(process.cpuUsage(begun).user).toBeGreaterThan(10_000 - 5_000)
  })

  test.each(KINDS)('looks at nothing but %s when all else is off', async (kind) => {
    const names = new Set<string>()
    const gone = { inc() {}, recordMs() {}, observe: () => () => {}, with: () => gone }
    const take = (name: string): typeof gone => {
      names.add(name.split('.').slice(0, 2).join('.'))
      return gone
    }
    const observing = observe({ counter: take, gauge: take, timer: take }, { ...OFF, [kind]: true })
    const expected = { eventLoop: 'node.eventloop', http: 'http.server', undici: 'http.client' } as Record<
      string,
      string
    >
    expect([...names]).toEqual([expected[kind] ?? `node.${kind}`])
    const heard = CHANNELS.filter((name) => channel(name).hasSubscribers)
    expect(heard).toEqual(CHANNELS.filter((name) => name.startsWith(`${kind}.`) || name.startsWith(`${kind}:`)))
    observing.stop()
    expect(CHANNELS.filter((name) => channel(name).hasSubscribers)).toEqual([])
  })

  test('leaves nothing behind when it is stopped, nor when it cannot begin', async () => {
    const metrics = new MemoryMetrics()
    const z = new Zibrato({ transport: metrics, flushInterval: '1h' })
    {
      using _ = observe(z, { interval: '1ms', eventLoop: { resolution: '1ms' } })
      await until(async () => {
        await z.flush()
        return metrics.count('node.eventloop.delay') > 0 && metrics.sum('node.cpu') > 0
      })
      expect(CHANNELS.filter((name) => !channel(name).hasSubscribers)).toEqual([])
    }
    await z.flush()
    metrics.reset()
    expect(CHANNELS.filter((name) => channel(name).hasSubscribers)).toEqual([])
    busy(20)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await z.flush()
    // neither are the last values of combined gauges said again
    expect(metrics.frames).toEqual([])

    const taken = new Zibrato({ transport: metrics, flushInterval: '1h' })
    taken.gauge('http.server.active', { combine: 'max' })
    expect(() => observe(taken)).toThrow(UsageError)
    expect(CHANNELS.filter((name) => channel(name).hasSubscribers)).toEqual([])
    await taken.flush()
    metrics.reset()
    await taken.flush()
    expect(metrics.frames).toEqual([])
  })

  test('tells a child with its tags, with a prefix if wanted, and is all named in the README', async () => {
    const metrics = new MemoryMetrics()
    const z = new Zibrato({ transport: metrics, flushInterval: '1h' })
    using _ = observe(z.child({ tags: { part: 'api' } }), { prefix: 'api.' })
    await z.flush()
    const series = metrics.series()
    expect(series.length).toBeGreaterThan(8)
    expect(series.filter(({ name, tags }) => !name.startsWith('api.') || tags['part'] !== 'api')).toEqual([])
    const names = [...new Set(series.map(({ name }) => name.slice('api.'.length)))]
    expect(names.filter((name) => !README.includes(`\`${name}\``))).toEqual([])
  })

  test('refuses durations that are none', () => {
    const z = new Zibrato({ transport: new MemoryMetrics() })
    expect(() => observe(z, { interval: 'soon' })).toThrow(UsageError)
    expect(() => observe(z, { interval: 0 })).toThrow(/observe: interval 0 is too short/)
    expect(() => observe(z, { eventLoop: { resolution: '0.1ms' } })).toThrow(/observe: resolution "0.1ms" is too short/)
  })

  test('does not keep a program alive', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', PROGRAM])
    expect(JSON.parse(stdout)).toContain('node.eventloop.delay')
    expect(JSON.parse(stdout)).toContain('node.cpu')
  })
})
