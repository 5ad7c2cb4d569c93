import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { expect, it } from 'vitest'
import { until } from '../until.ts'
import { DIST, Playground } from './processes.ts'

const SERVER = `
  import { Zibrato } from 'DIST/client/index.js'
  const z = new Zibrato({ url: process.env.URL, source: 'server', flushInterval: '200ms' })
  const counters = Array.from({ length: 5 }, (_, i) => z.counter('server.count' + i))
  const timer = z.timer('server.timer'), histogram = z.histogram('server.histogram'), meter = z.meter('server.meter')
  const unique = z.unique('server.unique'), gauge = z.gauge('server.gauge')
  const cart = { pay: z.wrapCounted(() => 1, { name: 'server.wrapped', value: 3 }) }
  class Cart { static add() { return 2 } }
  const decorate = z.countMe({ name: 'server.decorated' })
  Object.defineProperty(Cart, 'add', decorate(Cart, 'add', Object.getOwnPropertyDescriptor(Cart, 'add')))
  for (let i = 0; i < 20000; i++) {
    counters[i % 5].inc(i % 3)
    timer.record((i % 1000 + 1) / 1000)
    histogram.record((i % 1000) + 1)
    meter.mark()
    unique.add('u' + (i % 700))
    gauge.set(i)
    const scope = counters[0].scope(2); scope[Symbol.dispose]()
    cart.pay(); Cart.add()
    if (i % 2000 === 0) await new Promise((resolve) => setTimeout(resolve, 50))
  }
  for (let i = 0; i < 10000; i++) z.counter('many', { tags: { n: i % 2000, part: Math.floor(i / 2000) } }).inc(i)
  const burst = z.histogram('server.burst')
  for (let i = 0; i < 5000; i++) burst.record(Math.exp(Math.sin(i) * 5))
  await z.close()
  if (z.stats().waiting > 0) throw new Error(JSON.stringify(z.stats()))
`

const FETCHER = `
  import { Zibrato } from 'DIST/client/edge.js'
  const z = new Zibrato({ url: process.env.URL, source: 'fetcher' })
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 100; i++) z.counter('shared').inc(2)
    await z.flush()
  }
  await z.close()
  const { dropped, unknown, waiting } = z.stats()
  if (Object.keys(dropped).length > 0 || unknown > 0 || waiting > 0) throw new Error(JSON.stringify(z.stats()))
`

const WORKER = `
  import { Zibrato } from 'DIST/client/edge.js'
  let z
  export default {
    async fetch(request, env, ctx) {
      z ??= new Zibrato({ url: env.GATEWAY, source: 'isolate' })
      z.counter('shared').inc(5)
      z.timer('isolate.timer').record(0.25)
      ctx.waitUntil(z.flush())
      return new Response('ok')
    },
  }
`

it('counts everything that servers, edge functions, curl and shells record at once, exactly', async () => {
  await using ground = new Playground()
  const { program: up, http, broker } = await ground.up()

  // more series than one client takes by default
  const server = ground.node(SERVER.replace("flushInterval: '200ms'", "flushInterval: '200ms', maxSeries: 20000"), {
    URL: broker,
  })
  const fetcher = ground.node(FETCHER, { URL: http })
  const bundled = await build({
    stdin: { contents: WORKER.replaceAll('DIST', DIST), resolveDir: DIST },
    bundle: true,
    format: 'esm',
    write: false,
  })
  const miniflare = new Miniflare({
    modules: true,
    script: bundled.outputFiles[0]?.text as string,
    compatibilityDate: '2026-01-01',
    bindings: { GATEWAY: http },
  })
  const sends = (async () => {
    for (let i = 1; i <= 8; i++) {
      const send = ground.cli('send', 'counter', 'sent', String(i), '--broker', broker)
      expect(await send.ended, send.stderr).toBe(0)
    }
  })()
  try {
    await Promise.all([
      ...Array.from({ length: 200 }, (_, i) => post(http, i)),
      ...Array.from({ length: 50 }, async () =>
        expect(await (await miniflare.dispatchFetch('http://worker/')).text()).toBe('ok'),
      ),
    ])
    expect(await server.ended, server.stderr).toBe(0)
    expect(await fetcher.ended, fetcher.stderr).toBe(0)
    await sends
    // what isolates still have under way arrives with nobody to wait for
    await until(() => ground.sum('shared', 'isolate') === 250, 'all isolates have flushed')
  } finally {
    await miniflare.dispose()
  }
  expect(await up.stop(), up.stderr).toBe(0)

  const rollups = ground.rollups()
  const sums = ground.sums()
  for (let i = 0; i < 5; i++) {
    const expected = Array.from({ length: 4000 }, (_, round) => (round * 5 + i) % 3).reduce(
      (left, right) => left + right,
      0,
    )
    expect(sums.get(`server.count${i}`)).toBe(expected + (i === 0 ? 40_000 : 0))
  }
  expect(sums.get('server.wrapped')).toBe(60_000)
  expect(sums.get('server.decorated')).toBe(20_000)
  expect(sums.get('server.meter')).toBe(20_000)
  expect(sums.get('server.timer')).toBe(20_000)
  expect(sums.get('server.histogram')).toBe(20_000)
  expect(sums.get('many')).toBe((9_999 * 10_000) / 2)
  expect(new Set(rollups.filter(({ name }) => name === 'many').map(({ tags }) => JSON.stringify(tags))).size).toBe(
    10_000,
  )
  expect(ground.sum('shared', 'fetcher')).toBe(4_000)
  expect(ground.sum('shared', 'isolate')).toBe(250)
  expect(sums.get('isolate.timer')).toBe(50)
  expect(sums.get('posted')).toBe((199 * 200) / 2)
  expect(sums.get('sent')).toBe(36)

  // recorded at one go, so they came in one frame and went into one window
  const burst = rollups.filter(({ name }) => name === 'server.burst')
  expect(burst.map(({ count: n }) => n)).toEqual([5_000])
  const sorted = Array.from({ length: 5_000 }, (_, i) => Math.exp(Math.sin(i) * 5)).sort((left, right) => left - right)
  for (const [percentile, quantile] of [
    ['p50', 0.5],
    ['p75', 0.75],
    ['p90', 0.9],
    ['p95', 0.95],
    ['p99', 0.99],
    ['p999', 0.999],
  ] as const) {
    const exact = sorted[Math.ceil(quantile * 5_000) - 1] as number
    expect(Math.abs((burst[0]?.[percentile] as number) - exact) / exact, percentile).toBeLessThan(0.01)
  }
  const gauges = rollups.filter(({ name }) => name === 'server.gauge')
  expect(gauges.at(-1)?.value).toBe(19_999)
})

async function post(http: string, value: number): Promise<void> {
  const body = JSON.stringify({ measurements: [{ type: 'counter', name: 'posted', value }] })
  const response = await fetch(new URL('/v1/metrics', http), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(value % 2 === 0 ? { 'content-encoding': 'gzip' } : {}) },
    body: value % 2 === 0 ? gzipSync(body) : body,
  })
  expect(response.status).toBe(202)
  expect(await response.json()).toEqual({ accepted: 1, rejected: [] })
}
