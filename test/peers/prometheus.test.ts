import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend, Rollup, Window } from '../../backends/backend.ts'
import { openBackend } from '../../backends/open.ts'
import type { PrometheusBackend } from '../../backends/prometheus.ts'
import { oddlyNamedRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import type { Type } from '../../client/wire/series.ts'
import { Playground } from '../flow/processes.ts'
import { until } from '../until.ts'
import { freePort } from '../free-port.ts'
import { PeerServer } from './server.ts'

const never = new AbortController().signal
const MODES = ['summary', 'histogram', 'both'] as const

/** One series of an answer to a query. */
interface Told {
  readonly metric: Readonly<Record<string, string>>
  readonly value?: readonly [number, string]
  readonly histogram?: readonly [number, { count: string; sum: string; buckets?: readonly unknown[][] }]
}

async function query(url: string, expression: string, time?: number): Promise<readonly Told[]> {
  const at = time === undefined ? '' : `&time=${time}`
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}${at}`)
  const { status, error, data } = (await response.json()) as {
    status: string
    error?: string
    data: { result: readonly Told[] }
  }
  if (status !== 'success') throw new Error(`${expression}: ${error}`)
  return data.result
}

/** The one number of an answer; NaN when there is none. */
async function numberOf(url: string, expression: string, time?: number): Promise<number> {
  const [first, second] = await query(url, expression, time)
  if (second !== undefined) throw new Error(`${expression} has several answers`)
  return Number(first?.value?.[1])
}

function series(type: Type, name: string, values: readonly number[], tags = {}): Rollup {
  return sampleRollup({ type, name, source: 'web', tags }, values)
}

/** Seconds of latency, spread over three decades, the same each time. */
function latencies(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 0.001 * 10 ** ((3 * ((index * 7919) % count)) / count))
}

/** A window of 10 s that ended a while ago. */
function windowBefore(base: number, index: number, rollups: readonly Rollup[]): Window {
  return { start: base + index * 10 - 10, end: base + index * 10, rollups }
}

describe('Prometheus', () => {
  const pages = new Map<string, PrometheusBackend>()
  let server: PeerServer
  let ground: Playground
  let plain: Server
  let url = ''

  beforeAll(async () => {
    ground = new Playground()
    const up = await ground.zibrato(
      ...'up --port 0 --http 0 --udp off --flush 500ms --state memory: --to prometheus:?timers=both'.split(' '),
    )
    const post = await fetch(`${up.listening.http}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        measurements: [
          { type: 'counter', name: 'up.orders', value: 5 },
          { type: 'timer', name: 'up.db', value: 0.25 },
        ],
      }),
    })
    if (post.status !== 202) throw new Error(`the gateway answered ${post.status}`)
    const targets: string[] = []
    for (const timers of MODES) {
      const backend = (await openBackend(`prometheus://127.0.0.1:0?timers=${timers}`)) as PrometheusBackend
      pages.set(timers, backend)
      await backend.connect()
      targets.push(jobOf(`open-${timers}`, new URL(backend.address ?? '')))
    }
    // who says nothing of what it takes gets the classic format
    plain = createServer((request, response) => {
      const backend = pages.get((request.url ?? '').slice(1)) as PrometheusBackend
      void backend
        .handle(new Request('http://host/'))
        .text()
        .then((text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text))
    })
    plain.listen(0, '127.0.0.1')
    await once(plain, 'listening')
    const { port } = plain.address() as AddressInfo
    for (const timers of MODES) targets.push(jobOf(`text-${timers}`, new URL(`http://127.0.0.1:${port}/${timers}`)))
    targets.push(jobOf('up', new URL(`${up.listening.http}/prometheus`)))
    server = await PeerServer.make()
    const config = join(server.directory, 'prometheus.yml')
    await writeFile(config, `global:\n  scrape_interval: 1s\nscrape_configs:\n${targets.join('')}`)
    const listen = `127.0.0.1:${await freePort()}`
    url = `http://${listen}`
    await server.start(
      'prometheus',
      [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(server.directory, 'data')}`,
        `--web.listen-address=${listen}`,
        '--web.enable-remote-write-receiver',
        '--enable-feature=native-histograms',
      ],
      async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok === true,
    )
  })
  afterAll(async () => {
    await server?.stop()
    plain?.close()
    for (const backend of pages.values()) await backend.close()
    await ground?.[Symbol.asyncDispose]()
  })

  function jobOf(name: string, { host, pathname }: URL): string {
    return `  - job_name: ${name}\n    metrics_path: ${pathname}\n    static_configs: [{ targets: ['${host}'] }]\n`
  }

  async function writer(options = ''): Promise<Backend> {
    return openBackend(`prometheus+http://${new URL(url).host}/api/v1/write${options}`)
  }

  test('scrapes both formats, and stores the same', async () => {
    for (const backend of pages.values()) {
      await backend.flush(sampleWindow([...rollupsOfEveryType(), ...oddlyNamedRollups()]), never)
    }
    await until(
      async () => (await query(url, 'orders_total{job=~"(open|text)-.*"}')).length === 2 * MODES.length,
      'all targets are scraped with what was flushed',
      60_000,
    )
    expect(await numberOf(url, 'min(up)')).toBe(1)
    for (const timers of MODES) {
      const stored = async (job: string): Promise<string[]> => {
        const told = await query(url, `{job="${job}-${timers}",__name__!~"up|scrape_.*"}`)
        return told
          .map(({ metric, value }) => JSON.stringify([{ ...metric, job: '', instance: '' }, value?.[1]]))
          .sort()
      }
      const [open, text] = [await stored('open'), await stored('text')]
      // a sum with negative values has no place in OpenMetrics
      expect(open).toEqual(text.filter((each) => !each.includes('"size_sum"')))
      expect(open.length).toBeGreaterThan(100)
    }
  })

  test('knows the values, types and units of what it scraped', async () => {
    expect(await numberOf(url, 'orders_total{job="open-summary"}')).toBe(10)
    expect(await numberOf(url, 'queue{job="open-summary"}')).toBe(4)
    expect(await numberOf(url, 'users{job="open-summary"}')).toBe(3)
    expect(await numberOf(url, 'db_seconds{job="open-summary",quantile="0.5"}')).toBe(0.012)
    expect(await numberOf(url, 'db_seconds_count{job="open-histogram"}')).toBe(4)
    expect(await numberOf(url, 'db_seconds_bucket{job="open-histogram",le="0.025"}')).toBe(2)
    const response = await fetch(
      `${url}/api/v1/targets/metadata?match_target=${encodeURIComponent('{job="open-summary"}')}`,
    )
    const { data } = (await response.json()) as { data: readonly { metric: string; type: string; unit: string }[] }
    const told = data.map(({ metric, type, unit }) => `${metric} ${type} ${unit}`.trim())
    expect(told).toEqual(expect.arrayContaining(['orders counter', 'queue gauge', 'db_seconds summary seconds']))
  })

  test('scrapes the route of `zibrato up`', async () => {
    const labels = '{job="up"}'
    await until(async () => (await numberOf(url, `up_orders_total${labels}`)) === 5, 'the route is scraped', 60_000)
    expect(await numberOf(url, `up_db_seconds_sum${labels}`)).toBe(0.25)
    expect(await numberOf(url, 'up_db_seconds_quantile{job="up",quantile="0.5"}')).toBe(0.25)
  })

  test('takes remote write of every type and of odd names, and once', async () => {
    const end = Math.floor(Date.now() / 10_000) * 10
    const backend = await writer('?prefix=rw.')
    const rollups = [...rollupsOfEveryType(), ...oddlyNamedRollups()]
    for (const index of [-1, 0]) {
      // the second time after an answer that got lost
      for (let times = 0; times < 2; times++) await backend.flush(windowBefore(end, index, rollups), never)
    }
    expect(await numberOf(url, 'rw_orders_total', end)).toBe(10)
    expect(await numberOf(url, 'rw_events_total', end)).toBe(240)
    expect(await numberOf(url, 'rw_events_m1', end)).toBe(12)
    expect(await numberOf(url, 'rw_queue{source="web",host="a"}', end)).toBe(4)
    expect(await numberOf(url, 'rw_users', end)).toBe(3)
    expect(await numberOf(url, 'rw_db_seconds{quantile="1.0"}', end)).toBe(2.5)
    expect(await numberOf(url, 'rw_db_seconds_count', end)).toBe(8)
    expect(await numberOf(url, 'rw_size_sum', end)).toBe(2 * 90_505)
    const odd = await query(url, '{__name__=~"rw_.+",source="🚀 ünï\u0301cödé"}', end)
    expect(odd.length).toBe(11)
    expect(await numberOf(url, 'count({__name__=~"rw_.+"})', end)).toBe(4 + 3 + 2 * 11 + 10 + 9 * 11)
  })

  test('counts increments after a pause and after a restart, as the samples before tell of them', async () => {
    const end = Math.floor(Date.now() / 10_000) * 10
    const counter = (value: number, total: number): Rollup =>
      ({ ...series('counter', 'rare', [value]), total }) as Rollup
    const backend = await writer()
    await backend.flush(windowBefore(end, -24, [counter(7, 1007)]), never)
    await backend.flush(windowBefore(end, -3, [counter(5, 1012), series('timer', 'rare', [1, 2])]), never)
    // a window and a restart later the count begins again
    await (await writer()).flush(windowBefore(end, -2, [series('timer', 'rare', [3])]), never)
    // between the first sample and the last of a window, nothing is extrapolated
    const grown = async (name: string, from: number, to: number): Promise<number> =>
      (await numberOf(url, `${name} - (${name} offset ${to - from}s)`, to)) || 0
    expect(await grown('rare_total', end - 39, end - 30)).toBe(5)
    expect(await numberOf(url, 'increase(rare_total[10s])', end - 30)).toBeCloseTo(5, 1)
    expect(await numberOf(url, 'increase(rare_seconds_count[20s])', end - 20)).toBeCloseTo(3, 1)
    expect(await numberOf(url, 'resets(rare_seconds_count[1m])', end - 20)).toBe(1)
  })

  test('computes quantiles of classic histograms within their buckets', async () => {
    const end = Math.floor(Date.now() / 10_000) * 10
    const values = latencies(5000)
    const backend = await writer('?timers=histogram&prefix=classic.')
    for (let index = -5; index <= 0; index++) {
      await backend.flush(windowBefore(end, index, [series('timer', 'db', values)]), never)
    }
    const sorted = values.toSorted((left, right) => left - right)
    const bounds = [0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
    for (const q of [0.1, 0.5, 0.9, 0.99]) {
      const exact = sorted[Math.ceil(q * values.length) - 1] as number
      const told = await numberOf(url, `histogram_quantile(${q}, rate(classic_db_seconds_bucket[1m]))`, end)
      const above = bounds.findIndex((bound) => bound >= exact)
      expect(told).toBeGreaterThanOrEqual((bounds[above - 1] as number) * 0.999)
      expect(told).toBeLessThanOrEqual((bounds[above] as number) * 1.001)
    }
    expect(await numberOf(url, 'classic_db_seconds_count', end)).toBe(6 * 5000)
  })

  test.each([1, 2.5])(
    'computes quantiles of native histograms as exactly as the sketch does (weight %d)',
    async (weight) => {
      const end = Math.floor(Date.now() / 10_000) * 10
      const values = latencies(5000).concat(0, 0, -0.5)
      const distribution = new Distribution()
      for (const value of values) distribution.add(value, weight)
      const name = `native.${String(weight).replace('.', '_')}`
      const backend = await writer('?timers=native')
      const rollup = { ...series('timer', name, values), distribution } as Rollup
      for (let index = -5; index <= 0; index++) await backend.flush(windowBefore(end, index, [rollup]), never)
      const metric = `${name.replace('.', '_')}_seconds`
      expect(await numberOf(url, `histogram_count(${metric})`, end)).toBe(6 * values.length * weight)
      expect(await numberOf(url, `histogram_sum(${metric})`, end)).toBeCloseTo(6 * distribution.sum, 6)
      const [told] = await query(url, metric, end)
      expect(told?.histogram?.[1].buckets?.length).toBeGreaterThan(500)
      const sorted = values.toSorted((left, right) => left - right)
      for (const q of [0.01, 0.5, 0.9, 0.99, 0.999]) {
        const exact = sorted[Math.ceil(q * values.length) - 1] as number
        const quantile = await numberOf(url, `histogram_quantile(${q}, rate(${metric}[1m]))`, end)
        expect(quantile / exact).toBeGreaterThan(1 / 1.0111)
        expect(quantile / exact).toBeLessThan(1.0111)
      }
    },
  )

  test('refuses a request whole for one sample that is out of order; all others get there', async () => {
    const end = Math.floor(Date.now() / 10_000) * 10
    await (await writer()).flush(windowBefore(end, 0, [series('gauge', 'doubted.3', [77])]), never)
    const rollups = Array.from({ length: 100 }, (_, index) => series('gauge', `doubted.${index}`, [index]))
    const flush = (await writer()).flush(windowBefore(end, 0, rollups), never)
    await expect(flush).rejects.toMatchObject({ name: 'PermanentError', refused: 1 })
    expect(await numberOf(url, 'count({__name__=~"doubted_.*"})', end)).toBe(100)
    expect(await numberOf(url, 'doubted_3', end)).toBe(77)
  })

  test.each(MODES)('finds nothing to complain of in the classic format (%s)', async (timers) => {
    // names that nobody sane has are complained of as names
    const backend = (await openBackend(`prometheus:?timers=${timers}`)) as PrometheusBackend
    await backend.flush(sampleWindow(rollupsOfEveryType()), never)
    const text = await backend.handle(new Request('http://host/')).text()
    expect(text.length).toBeGreaterThan(1000)
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
    expect({ status, output: stdout + stderr }).toEqual({ status: 0, output: '' })
  })
})

describe('VictoriaMetrics', () => {
  let server: PeerServer
  let url = ''
  beforeAll(async () => {
    server = await PeerServer.make()
    const listen = `127.0.0.1:${await freePort()}`
    url = `http://${listen}`
    await server.start(
      'victoria-metrics',
      [`-storageDataPath=${join(server.directory, 'data')}`, `-httpListenAddr=${listen}`, '-search.latencyOffset=0s'],
      async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true,
    )
  })
  afterAll(() => server?.stop())

  test('takes remote write of every type and of odd names', async () => {
    const end = Math.floor(Date.now() / 10_000) * 10
    const backend = await openBackend(`prometheus+http://${new URL(url).host}/api/v1/write`)
    const rollups = [...rollupsOfEveryType(), ...oddlyNamedRollups()]
    for (const index of [-1, 0]) await backend.flush(windowBefore(end, index, rollups), never)
    await fetch(`${url}/internal/force_flush`)
    await until(async () => (await numberOf(url, 'events_total', end)) === 240, 'the last window is found')
    expect(await numberOf(url, 'orders_total', end)).toBe(10)
    expect(await numberOf(url, 'db_seconds{quantile="0.5"}', end)).toBe(0.012)
    expect(await numberOf(url, 'count({source="🚀 ünï\u0301cödé"})', end)).toBe(11)
  })
})
