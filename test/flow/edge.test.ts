import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { request } from 'undici'
import { beforeAll, describe, expect, it } from 'vitest'
import { until } from '../until.ts'
import { FaultyGateway } from './faulty-gateway.ts'
import { DIST, Playground } from './processes.ts'

/** `ZIBRATO_LONG=1` asks for the long form. */
const isLong = process.env['ZIBRATO_LONG'] === '1'
const REQUESTS = isLong ? 10_000 : 2_000
const OUTAGE_MS = isLong ? 5_000 : 1_000
const CONCURRENCY = 200
const ISOLATES = 20
/** Instances of workerd that they are spread over where some are killed. */
const GROUPS = 4
const TEST_MS = isLong ? 600_000 : 180_000
const SETTLE_MS = 90_000

const WORKER = `
  import { Zibrato, instrument } from 'DIST/client/edge.js'
  const z = new Zibrato({ source: 'shop' })
  const orders = z.counter('orders')
  export default instrument(z, {
    async fetch(request) {
      if (new URL(request.url).pathname.endsWith('/stats')) return Response.json(z.stats())
      orders.inc()
      z.timer('work').record(0.25)
      return new Response('ok')
    },
  }, (env) => ({ url: env.GATEWAY }), { route: () => '/' })
`
const ROUTER = `
  export default {
    fetch: (request, env) => env[new URL(request.url).pathname.split('/')[1]].fetch(request)
  }
`
const SERVER = `
  import { Zibrato } from 'DIST/client/index.js'
  const z = new Zibrato({ url: process.env.URL, source: 'shop', flushInterval: '100ms' })
  for (let times = 0; times < 1000; times++) {
    z.counter('orders').inc()
    if (times % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await z.close()
`

interface Stats {
  readonly waiting: number
  readonly unknown: number
  readonly dropped: Readonly<Record<string, number>>
}

let script = ''

beforeAll(async () => {
  const { outputFiles } = await build({
    stdin: { contents: WORKER.replaceAll('DIST', DIST), resolveDir: DIST },
    bundle: true,
    format: 'esm',
    write: false,
  })
  script = outputFiles[0]?.text as string
})

/** Isolates of one workerd behind one address. */
async function startIsolates(count: number, gateway: string): Promise<{ miniflare: Miniflare; url: URL }> {
  const options = { modules: true, compatibilityDate: '2026-01-01' } as const
  const names = Array.from({ length: count }, (_, index) => `i${index}`)
  const miniflare = new Miniflare({
    workers: [
      { ...options, name: 'router', script: ROUTER, serviceBindings: Object.fromEntries(names.map((n) => [n, n])) },
      ...names.map((name) => ({ ...options, name, script, bindings: { GATEWAY: gateway } })),
    ],
  })
  return { miniflare, url: await miniflare.ready }
}

/** GETs on a connection of its own: one that is kept may be closed at the moment at which it is used again. */
async function get(path: string, url: URL): Promise<string> {
  const { body } = await request(new URL(path, url), { reset: true })
  return body.text()
}

async function statsOf(url: URL, count: number): Promise<Stats[]> {
  const asked = Array.from({ length: count }, async (_, index) => get(`/i${index}/stats`, url))
  return (await Promise.all(asked)).map((text) => JSON.parse(text) as Stats)
}

function lostOf({ unknown, dropped }: Stats): number {
  return unknown + Object.values(dropped).reduce((sum, count) => sum + count, 0)
}

/** Makes requests, so many at once; tells of each that is about to start. */
async function load(
  count: number,
  started: (index: number) => void,
  call: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const run = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      started(index)
      await call(index)
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, run))
}

function outage(door: FaultyGateway): Promise<void> {
  door.goDown()
  return new Promise((resolve) => setTimeout(() => resolve(void (door.isDown = false)), OUTAGE_MS))
}

async function up(ground: Playground): Promise<{ http: string; broker: string; stop: () => Promise<unknown> }> {
  const { program, listening } = await ground.zibrato(
    'up',
    '--port',
    '0',
    '--http',
    '0',
    '--flush',
    '1',
    '--to',
    'file:out.jsonl',
  )
  return { http: listening.http as string, broker: listening.broker?.publishers as string, stop: () => program.stop() }
}

describe('Workers behind a gateway that fails', () => {
  it(
    'lose nothing that they do not report and double nothing, and share their series with servers',
    async () => {
      await using ground = new Playground()
      const { http, broker, stop } = await up(ground)
      await using door = await FaultyGateway.before(http, { unavailable: 0.1, reset: 0.05 })
      const { miniflare, url } = await startIsolates(ISOLATES, door.url)
      const arrived = (): number => ground.sums('out.jsonl').get('orders') ?? 0
      try {
        const server = ground.node(SERVER, { URL: broker })
        let back: Promise<void> | undefined
        await load(
          REQUESTS,
          (index) => {
            if (index === REQUESTS / 2) back = outage(door)
          },
          async (index) => {
            expect(await get(`/i${index % ISOLATES}/order`, url)).toBe('ok')
          },
        )
        await back
        expect(await server.ended, server.stderr).toBe(0)
        const attempted = REQUESTS + 1_000
        // asking isolates for their figures would have them post more
        await until(() => arrived() >= attempted, 'all isolates have sent what they counted', SETTLE_MS)
        expect((await statsOf(url, ISOLATES)).map(lostOf)).toEqual(Array.from({ length: ISOLATES }, () => 0))
        expect(await stop()).toBe(0)
        expect(arrived()).toBe(attempted)
        expect(Math.min(door.posts.answered, door.posts.unavailable, door.posts.reset)).toBeGreaterThan(0)
      } finally {
        await miniflare.dispose()
      }
      const orders = ground.rollups('out.jsonl').filter(({ name }) => name === 'orders')
      expect(new Set(orders.map(({ source, tags }) => JSON.stringify([source, tags])))).toEqual(
        new Set(['["shop",{}]']),
      )
      expect(new Set(orders.map(({ time }) => time)).size).toBe(orders.length)
      const sums = ground.sums('out.jsonl')
      expect(sums.get('work')).toBe(REQUESTS)
      expect(sums.get('worker.cold_starts')).toBe(ISOLATES)
      expect(sums.get('worker.errors')).toBeUndefined()
    },
    TEST_MS,
  )

  it(
    'that are killed lose what was not acknowledged at the most',
    async () => {
      await using ground = new Playground()
      const { http, stop } = await up(ground)
      await using door = await FaultyGateway.before(http, { unavailable: 0.1, reset: 0.05 })
      const groups = await Promise.all(Array.from({ length: GROUPS }, () => startIsolates(ISOLATES / GROUPS, door.url)))
      const count = REQUESTS / 4
      const killed: Promise<void>[] = []
      let attempted = 0
      try {
        let back: Promise<void> | undefined
        await load(
          count,
          (index) => {
            attempted++
            if (index === count / 2) back = outage(door)
            // with workerd gone, what its isolates held is gone
            if (index === Math.floor(count * 0.4) || index === Math.floor(count * 0.6)) {
              killed.push((groups[killed.length] as (typeof groups)[0]).miniflare.dispose())
            }
          },
          async (index) => {
            const { url } = groups[index % groups.length] as (typeof groups)[0]
            // those to isolates that are gone fail, or were cut off
            await get(`/i${index % (ISOLATES / GROUPS)}/order`, url).catch(() => '')
          },
        )
        await Promise.all([back, ...killed])
        // each question is counted and posted, so with faults somebody would always have something left
        door.isWell = true
        const alive = groups.slice(killed.length)
        await until(
          async () => {
            const stats = await Promise.all(alive.map(({ url }) => statsOf(url, ISOLATES / GROUPS)))
            return stats.flat().every(({ waiting }) => waiting === 0)
          },
          'those alive have sent what they counted',
          SETTLE_MS,
        )
      } finally {
        await Promise.all(groups.slice(killed.length).map(({ miniflare }) => miniflare.dispose()))
      }
      expect(await stop()).toBe(0)
      const arrived = ground.sums('out.jsonl').get('orders') ?? 0
      expect(door.acknowledged('orders')).toBeGreaterThan(0)
      expect(door.acknowledged('orders')).toBeLessThanOrEqual(arrived)
      expect(arrived).toBeLessThanOrEqual(attempted)
    },
    TEST_MS,
  )
})
