import { afterEach, expect, test } from 'vitest'
import { Zibrato } from '../../client/edge.ts'
import { below, seeded } from '../client/random.ts'
import { TestRelay } from '../gateway/relay/relay.ts'
import { type Fault, FaultyUpstream } from '../gateway/relay/upstream.ts'
import { until } from '../until.ts'
import { Playground } from './processes.ts'

// ZIBRATO_RELAY_LONG=1: 10,000 posts, and an outage of 5 s
const isLong = process.env['ZIBRATO_RELAY_LONG'] !== undefined
const CLIENTS = 20
const POSTS = isLong ? 500 : 15
const OUTAGE_MS = isLong ? 5_000 : 800

const stops: (() => PromiseLike<unknown>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

/** One post in ten fails, and one in twenty is taken and not answered for. */
function unreliable(random: () => number): () => Fault | undefined {
  return () => {
    const way = below(random, 20)
    if (way < 2) return { status: 503 }
    return way === 2 ? 'taken, then reset' : undefined
  }
}

async function proxy(url: () => string, seed: number): Promise<FaultyUpstream> {
  const proxied = await FaultyUpstream.inFrontOf(url)
  proxied.judge = unreliable(seeded(seed))
  stops.push(() => proxied.stop())
  return proxied
}

test(
  'counts everything once through the relay, with faults on both sides, an outage, doubled alarms and restarts',
  { timeout: isLong ? 900_000 : 120_000 },
  async () => {
    const ground = new Playground()
    stops.push(() => ground[Symbol.asyncDispose]())
    const { program: up, listening } = await ground.zibrato(
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
    const upstream = await proxy(() => listening.http as string, 1)
    const relay = await TestRelay.start({
      env: { UPSTREAM_URL: upstream.url, RELAY_GROUPS: '4', RELAY_LINGER: '50ms' },
    })
    stops.push(() => relay[Symbol.asyncDispose]())
    const front = await proxy(() => relay.url, 2)

    let sent = 0
    const clients = Array.from(
      { length: CLIENTS },
      () => new Zibrato({ url: front.url, source: 'edge', closeTimeout: '60s' }),
    )
    // each post is a frame, and each frame of another of the series
    const working = Promise.all(
      clients.map(async (z) => {
        for (let turn = 0; turn < POSTS; turn++) {
          z.counter('orders', { tags: { turn: turn % 40 } }).inc()
          sent++
          await z.flush()
        }
        await z.close()
      }),
    )
    const total = CLIENTS * POSTS
    const has = (part: number): Promise<void> =>
      until(() => sent >= total * part, `${part} of all is sent`, isLong ? 600_000 : 90_000)

    await has(0.2)
    upstream.judge = () => 'reset'
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS))
    upstream.judge = unreliable(seeded(3))
    await Promise.all([relay.alarm(3), relay.alarm(2)])
    await has(0.5)
    await relay.restart()
    await has(0.8)
    upstream.judge = () => 'reset'
    await relay.restart()
    await relay.alarm(2)
    upstream.judge = unreliable(seeded(4))
    await working

    await until(async () => (await relay.alarm(2)).frames === 0, 'the relay has forwarded everything', 120_000)
    const figures = await relay.figures()
    expect(figures).toMatchObject({ unknown: 0, dropped: {} })
    expect(await up.stop(), up.stderr).toBe(0)
    const stats = clients.map((z) => z.stats())
    expect(stats.filter(({ waiting }) => waiting > 0)).toEqual([])
    const reported = stats.reduce(
      (sum, { dropped, unknown }) => sum + unknown + Object.values(dropped).reduce((left, right) => left + right, 0),
      0,
    )
    const arrived = ground.sums('out.jsonl').get('orders') ?? 0
    expect(total - arrived).toBe(reported)
    // what was to be tried, was
    expect(figures.repeats).toBeGreaterThan(0)
    expect(figures.forwarded).toBe(total - reported)
  },
)
