import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { DistributionRollup, Rollup } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { summarise } from '../../backends/worker/rollup.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { until } from '../until.ts'
import { type Line, PacketReceiver, type Receiver, StreamReceiver } from './statsd-receiver.ts'
import { tempDirectories } from './temp.ts'

const temp = tempDirectories()
const never = new AbortController().signal
const open: Receiver[] = []

afterEach(async () => {
  for (const receiver of open.splice(0)) await receiver.stop()
})

async function listening<R extends Receiver>(receiver: R): Promise<R> {
  open.push(receiver)
  await receiver.listen()
  return receiver
}

const RECEIVERS = {
  'statsd:': () => listening(new PacketReceiver()),
  'statsd+tcp:': () => listening(new StreamReceiver()),
  'statsd+unix:': async () => listening(new StreamReceiver(join(await temp(), 'statsd.sock'))),
} as const

const round = (value: number): number => Number(value.toPrecision(9))

/** Lines in a row of one name and type are one rollup's. */
function rollupsOf(lines: readonly Line[]): object[] {
  const rollups: { name: string; type: string; tags: string; lines: Line[] }[] = []
  for (const line of lines) {
    const last = rollups.at(-1)
    if (last !== undefined && last.name === line.name && last.type === line.type) last.lines.push(line)
    else rollups.push({ name: line.name, type: line.type, tags: line.tags, lines: [line] })
  }
  return rollups.map(({ name, type, tags, lines: own }) => {
    const values = own.map(({ value }) => Number(value))
    if (type === 'c' || type === 'g') return { name, type, tags, value: values.at(-1) }
    const count = own.reduce((sum, { rate }) => sum + 1 / rate, 0)
    return { name, type, tags, count, min: round(Math.min(...values)), max: round(Math.max(...values)) }
  })
}

const escape = (text: string): string => text.replace(/[\s\p{Cc},|#]/gu, '_')

function expected(record: RollupRecord): object[] {
  const name = `app.${record.name.replace(/[\s\p{Cc}:|@#]/gu, '_')}`
  const all = [
    ...(record.source === 'not_specified' ? [] : [['source', record.source]]),
    ...Object.entries(record.tags),
  ]
  const tags = all.map(([key = '', value = '']) => `${escape(key)}:${escape(value)}`).join()
  const figure = (key: string): number => record[key] as number
  switch (record.type) {
    case 'counter':
      return figure('value') === 0 ? [] : [{ name, type: 'c', tags, value: figure('value') }]
    case 'meter':
      return [{ name, type: 'c', tags, value: figure('count') }]
    case 'gauge':
    case 'set':
      return [{ name, type: 'g', tags, value: figure('value') }]
    default: {
      const unit = record.type === 'timer' ? 1000 : 1
      const [min, max] = [round(figure('min') * unit), round(figure('max') * unit)]
      return [{ name, type: record.type === 'timer' ? 'ms' : 'h', tags, count: figure('count'), min, max }]
    }
  }
}

describe.each(Object.entries(RECEIVERS))('%s passes the backend contract and', (_scheme, receive) => {
  let receiver: Receiver
  const setup = {
    create: async () => {
      receiver = await receive()
      return openBackend(`${receiver.url}?tags=dogstatsd&prefix=app.`)
    },
    received: () => rollupsOf(receiver.lines),
    expected,
    breakTarget: () => receiver.stop(),
    hangTarget: () => {
      ;(receiver as StreamReceiver).hanging = true
    },
    mendTarget: async () => {
      if (!(receiver instanceof StreamReceiver) || !receiver.hanging) await receiver.listen()
      else {
        receiver.hanging = false
        receiver.cut()
      }
    },
  }
  const { hangTarget, ...deaf } = setup
  const checks = backendContract(_scheme === 'statsd:' ? deaf : { ...deaf, hangTarget })
  test.each([...checks])('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

async function linesOf(rollups: readonly Rollup[], options = ''): Promise<string[]> {
  const receiver = await RECEIVERS['statsd+tcp:']()
  const backend = await openBackend(`${receiver.url}${options}`)
  await backend.flush(sampleWindow(rollups), never)
  return receiver.lines.map(({ text }) => text)
}

function timer(name: string, samples: readonly (readonly [value: number, weight: number])[]): DistributionRollup {
  const distribution = new Distribution()
  for (const [value, weight] of samples) distribution.add(value, weight)
  const series = { type: 'timer', name, source: 'not_specified', tags: {} } as const
  return { ...series, ...summarise(distribution, 10, []), distribution }
}

describe('a line', () => {
  test('carries source and tags in its name, as a tag, or not at all', async () => {
    const rollups = [sampleRollup({ type: 'counter', name: 'hits', source: 'web.1', tags: { route: '/a b' } }, [5])]
    expect(await linesOf(rollups)).toEqual(['hits.source.web_1.route./a_b:5|c'])
    expect(await linesOf(rollups, '?tags=dogstatsd')).toEqual(['hits:5|c|#source:web.1,route:/a_b'])
    expect(await linesOf(rollups, '?tags=drop&prefix=app.')).toEqual(['app.hits:5|c'])
  })

  test('of a gauge below zero comes behind one that makes it zero, since a sign is a change', async () => {
    const rollups = [sampleRollup({ type: 'gauge', name: 'balance', source: 'not_specified', tags: {} }, [-3])]
    expect(await linesOf(rollups)).toEqual(['balance:0|g', 'balance:-3|g'])
  })

  test('of a timer is in milliseconds without the noise of conversion, with the rate it was sampled at', async () => {
    const samples = [[1.001, 1] as const, [0.32, 10] as const, [0.07, 4] as const]
    expect(await linesOf([timer('db', samples)])).toEqual(['db:1001|ms', 'db:320|ms|@0.1', 'db:70|ms|@0.25'])
  })

  test('of a histogram is a timing for plain StatsD and a histogram for DogStatsD, unless said otherwise', async () => {
    const rollups = [sampleRollup({ type: 'histogram', name: 'size', source: 'not_specified', tags: {} }, [512])]
    expect(await linesOf(rollups)).toEqual(['size:512|ms'])
    expect(await linesOf(rollups, '?tags=dogstatsd')).toEqual(['size:512|h'])
    expect(await linesOf(rollups, '?histograms=d')).toEqual(['size:512|d'])
  })

  test('never has a sample rate with an exponent, which statsd reads over', async () => {
    const samples = Array.from({ length: 100 }, (_, index) => [index, 1e9] as const)
    const lines = await linesOf([timer('db', samples)])
    expect(lines).toHaveLength(200)
    const weights = lines.map((line) => 1 / Number(/@(0\.\d+)$/.exec(line)?.[1]))
    expect(weights.reduce((sum, weight) => sum + weight)).toBeCloseTo(1e11, 0)
  })
})

describe('of a timer with more values than are kept', () => {
  test('the lines have its count, least and greatest value, and its percentiles', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.double({ min: 0.001, max: 100, noNaN: true }), fc.constantFrom(1, 10)), {
          minLength: 65,
          maxLength: 2_000,
        }),
        async (samples) => {
          const rollup = timer('db', samples)
          const lines = await linesOf([rollup], '?samples=500')
          const values = lines.map((line) => Number(/:([^|]+)/.exec(line)?.[1]) / 1000).sort((a, b) => a - b)
          const rates = lines.map((line) => Number(/@(.+)$/.exec(line)?.[1] ?? 1))
          expect(lines.length).toBeLessThanOrEqual(500)
          expect(rates.reduce((sum, rate) => sum + 1 / rate, 0)).toBeCloseTo(rollup.count, 5)
          expect(values[0]).toBeCloseTo(rollup.min, 9)
          expect(values.at(-1)).toBeCloseTo(rollup.max, 9)
          for (const q of [0.5, 0.9, 0.99]) {
            // within one rank of the lines, and what the sketch itself may be off
            const near = [q - 1 / lines.length, q + 1 / lines.length].map((rank) => rollup.distribution.quantile(rank))
            const found = values[Math.ceil(q * values.length) - 1] as number
            expect(found).toBeGreaterThanOrEqual((near[0] as number) * 0.999)
            expect(found).toBeLessThanOrEqual((near[1] as number) * 1.001)
          }
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe('over UDP', () => {
  test('packets hold as many lines as fit, and no more', async () => {
    const receiver = await RECEIVERS['statsd:']()
    const rollups = Array.from({ length: 1_000 }, (_, index) =>
      sampleRollup({ type: 'counter', name: `many.${index}`, source: 'not_specified', tags: {} }, [1]),
    )
    await (await openBackend(`${receiver.url}?mtu=512`)).flush(sampleWindow(rollups), never)
    await until(() => receiver.lines.length === 1_000)
    expect(Math.max(...receiver.packets)).toBeLessThanOrEqual(512)
    expect(Math.min(...receiver.packets.slice(0, -1))).toBeGreaterThan(512 - 'many.1000:1|c\n'.length)
  })

  test('a host without an address is named', async () => {
    const backend = await openBackend('statsd://nowhere.invalid:8125')
    await expect(backend.flush(sampleWindow(rollupsOfEveryType()), never)).rejects.toThrow(
      /^statsd: nowhere\.invalid has no address/,
    )
  })
})

describe('a connection that is cut before all was read', () => {
  const window = sampleWindow(rollupsOfEveryType())

  async function cutOff(
    options: string,
  ): Promise<{ receiver: StreamReceiver; flush: () => Promise<void>; error: unknown }> {
    const receiver = await RECEIVERS['statsd+tcp:']()
    const backend = await openBackend(`${receiver.url}?tags=drop${options}`)
    receiver.hanging = true
    const cut = setInterval(() => receiver.cut(), 5)
    const error = await backend.flush(window, never).catch((reason: unknown) => reason)
    clearInterval(cut)
    receiver.hanging = false
    return { receiver, flush: () => backend.flush(window, never), error }
  }

  test('fails, and all of it is sent again', async () => {
    const { receiver, flush, error } = await cutOff('')
    expect(error).toMatchObject({ name: 'NoAnswerError' })
    await flush()
    expect(receiver.lines.find(({ name }) => name === 'orders')?.value).toBe('5')
  })

  test('loses what it held where the URL would rather have that than send it twice', async () => {
    const { receiver, error } = await cutOff('&in-doubt=drop')
    expect(error).toMatchObject({ name: 'PermanentError', refused: window.rollups.length })
    expect(receiver.lines).toEqual([])
  })
})

test.each([
  ['statsd:', /write statsd:\/\/host:8125/],
  ['statsd+tls://host', /knows no statsd\+tls/],
  ['statsd+unix://host/path', /names no socket/],
  ['statsd://host/path', /write statsd:\/\/host:8125/],
  ['statsd://host?samples=1', /samples=1 must be a whole number from 2/],
])('%s is refused with the way out', async (url, message) => {
  await expect(openBackend(url)).rejects.toThrow(message)
})

test('statsd 0.9 itself counts what it is sent exactly, and has its percentiles', async () => {
  const directory = await temp()
  const recorder = join(directory, 'recorder.cjs')
  // a backend of statsd's: writes what it flushes to standard output
  await writeFile(
    recorder,
    `exports.init = (startup, config, events) => {
      events.on('flush', (time, metrics) => console.log('FLUSH' + JSON.stringify(metrics)))
      return true
    }`,
  )
  const config = join(directory, 'config.js')
  await writeFile(
    config,
    `{ servers: [{ server: './servers/tcp', port: 0, address: '127.0.0.1' }], flushInterval: 200, mgmt_port: 0, backends: [${JSON.stringify(recorder)}], debug: false }`,
  )
  const statsd = createRequire(import.meta.url).resolve('statsd/stats.js')
  // its server does not say which port it was given
  const wrapper = join(directory, 'wrapper.cjs')
  await writeFile(
    wrapper,
    `const net = require('node:net'); const listen = net.Server.prototype.listen
    net.Server.prototype.listen = function (...args) { this.once('listening', () => console.log('PORT' + JSON.stringify(this.address()))); return listen.apply(this, args) }
    process.argv[2] = ${JSON.stringify(config)}; require(${JSON.stringify(statsd)})`,
  )
  const child = spawn(process.execPath, [wrapper, config], { cwd: join(statsd, '..') })
  try {
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (piece: string) => (output += piece))
    await until(() => /PORT.*127\.0\.0\.1/.test(output), 'statsd listens')
    const { port } = JSON.parse(/PORT(\{.*127\.0\.0\.1.*\})/.exec(output)?.[1] ?? '') as { port: number }
    const backend = await openBackend(`statsd+tcp://127.0.0.1:${port}?samples=1000`)
    const counters = Array.from({ length: 2_000 }, (_, index) =>
      sampleRollup({ type: 'counter', name: `c${index}`, source: 'not_specified', tags: {} }, [index + 0.5]),
    )
    type Figures = Record<string, number>
    type Flushed = { counters: Figures; timer_data: Record<string, Figures> }
    const flushes = (): Flushed[] =>
      [...output.matchAll(/^FLUSH(.*)\n/gm)].map(([, json]) => JSON.parse(json as string) as Flushed)
    const total = (name: string): number => flushes().reduce((sum, { counters: own }) => sum + (own[name] ?? 0), 0)
    await backend.flush(sampleWindow(counters), never)
    await until(() => total('c1999') > 0, 'statsd flushes')
    for (const { name, value } of counters as { name: string; value: number }[]) expect(total(name)).toBe(value)
    const values = Array.from({ length: 5_000 }, (_, index) => [(index + 1) / 1000, 1] as const)
    for (let attempt = 0; ; attempt++) {
      const name = `db${attempt}`
      await backend.flush(sampleWindow([timer(name, values)]), never)
      const parts = (): Figures[] =>
        flushes().flatMap(({ timer_data: { [name]: own } }) => (own?.['count'] ? [own] : []))
      const count = (): number => parts().reduce((sum, own) => sum + (own['count'] as number), 0)
      await until(() => count() > 4_999.99, 'statsd flushes the timer')
      expect(count()).toBeCloseTo(5_000, 6)
      // one of its flushes may have come in between
      const [part, second] = parts()
      if (second !== undefined) continue
      expect([part?.['lower'], part?.['upper']]).toEqual([1, 5_000])
      expect(Math.abs((part?.['upper_90'] as number) - 4_500)).toBeLessThan(45)
      break
    }
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})
