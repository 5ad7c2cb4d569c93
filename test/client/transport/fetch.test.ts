import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Zibrato } from '../../../client/edge.ts'
import type { Warning } from '../../../client/warning.ts'
import { until } from '../../until.ts'
import { GatewayDouble, accept, respond } from './gateway-double.ts'

let gateway: GatewayDouble
let warnings: Warning[]

beforeEach(async () => {
  gateway = await GatewayDouble.start()
  warnings = []
})

afterEach(async () => {
  vi.unstubAllGlobals()
  vi.useRealTimers()
  await gateway.stop()
})

function client(options: ConstructorParameters<typeof Zibrato>[0] = {}): Zibrato {
  return new Zibrato({ url: gateway.url, linger: 0, onWarning: (warning) => warnings.push(warning), ...options })
}

/** Counts once at a level of its own, so that every count is a frame. */
function countApart(z: Zibrato, count: number): void {
  for (let index = 0; index < count; index++) z.counter('hits', { level: `l${index}` }).inc()
}

describe('a client at the edge', () => {
  test('has one flush wait for the next attempt while the others leave, and counts add up meanwhile', async () => {
    gateway.next.push((_, response) => respond(response, 503, {}, { 'retry-after': '2' }))
    const z = client()
    z.counter('hits').inc()
    const first = z.flush()
    await until(() => warnings.length === 1)
    for (let times = 0; times < 5; times++) {
      z.counter('hits').inc()
      await z.flush()
    }
    // nobody waited, nothing was sent
    expect(gateway.posts).toHaveLength(1)
    await first
    const [failed, again] = gateway.posts
    expect(gateway.posts).toHaveLength(2)
    expect(again?.frames.map(({ seq }) => seq)).toEqual([1, 2])
    expect(again?.bundle.subarray(0, failed?.bundle.length)).toEqual(failed?.bundle)
    expect(gateway.sum('hits')).toBe(6)
    expect(z.stats()).toMatchObject({ sent: 2, replayed: 1, waiting: 0, unknown: 0, dropped: {} })
  })

  test('posts once for each flush, though gauges that are read or combined always have something to say', async () => {
    const z = client()
    z.gauge('heap').observe(() => 5)
    z.gauge('queue', { combine: 'sum' }).set(1)
    for (let times = 1; times <= 3; times++) {
      await z.flush()
      expect(gateway.posts).toHaveLength(times)
    }
  })

  test('says on the console what nobody else is told of, the first of a kind', async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue()
    gateway.answer = (_, response) => respond(response, 401, {})
    const z = new Zibrato({ url: gateway.url, linger: 0 })
    for (let times = 0; times < 3; times++) {
      z.counter('hits').inc()
      await z.flush()
    }
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/^zibrato: .*answered 401/)]])
    warn.mockRestore()
  })

  test('backs off once for posts that fail together', async () => {
    const held: (() => void)[] = []
    gateway.answer = (_, response) => held.push(() => respond(response, 503, {}))
    const z = client()
    const flushes = Array.from({ length: 10 }, async (_, index) => {
      z.counter('hits', { level: `l${index}` }).inc()
      await z.flush()
    })
    await until(() => held.length === 10)
    for (const answer of held) answer()
    gateway.answer = accept
    // ten times in a row would be a pause of over 20 s, for which no flush has the time
    await Promise.all(flushes)
    expect(gateway.sum('hits')).toBe(10)
    expect(z.stats()).toMatchObject({ sent: 10, replayed: 10, waiting: 0, unknown: 0, dropped: {} })
  })

  test('leaves what it cannot send in time for the next flush', async () => {
    gateway.next.push((_, response) => respond(response, 503, {}, { 'retry-after': '2' }))
    const z = client()
    z.counter('hits').inc()
    await z.flush(500)
    expect(z.stats()).toMatchObject({ waiting: 1, unknown: 0, dropped: {} })
    expect(gateway.posts).toHaveLength(1)
    await z.flush()
    expect(gateway.posts[1]?.bundle).toEqual(gateway.posts[0]?.bundle)
    expect(z.stats().waiting).toBe(0)
  })

  test('drops the oldest past waitingBytes, and reports as many as did not arrive', async () => {
    gateway.answer = (_, response) => respond(response, 503, {})
    const z = client({ waitingBytes: 1_000 })
    countApart(z, 100)
    await z.flush(100)
    const { waiting, waitingBytes, dropped } = z.stats()
    expect(waitingBytes).toBeLessThanOrEqual(1_000)
    expect(waiting + (dropped['overflow'] ?? 0)).toBe(100)
    gateway.posts.length = 0
    gateway.answer = accept
    await z.flush()
    expect(100 - gateway.sum('hits')).toBe(dropped['overflow'])
    expect(gateway.sum('zibrato.dropped')).toBe(dropped['overflow'])
    // reported once
    await z.flush()
    expect(gateway.sum('zibrato.dropped')).toBe(dropped['overflow'])
  })

  test('gives up what went out five minutes ago and was not answered for, and reports it as unknown', async () => {
    gateway.next.push((_, response) => response.destroy())
    const z = client({ clock: { now: () => Date.now() - 300_000, elapsed: () => performance.now() } })
    countApart(z, 7)
    await z.flush()
    expect(z.stats()).toMatchObject({ waiting: 0, unknown: 7, dropped: {} })
    // they had arrived, as it happens
    expect(gateway.sum('hits')).toBe(7)
    z.counter('others').inc()
    await z.flush()
    expect(gateway.sum('zibrato.dropped')).toBe(7)
  })

  test('goes on when its time has come, though the flush that waited for it was cut off with its request', async () => {
    gateway.next.push((_, response) => respond(response, 503, {}, { 'retry-after': '1' }))
    const z = client()
    z.counter('hits').inc()
    vi.useFakeTimers({ toFake: ['performance'] })
    // nothing wakes a request that is gone; others use timers too
    const real = setTimeout
    vi.stubGlobal('setTimeout', (call: () => void, ms: number) => (ms === 1_000 ? real(() => {}, 0) : real(call, ms)))
    void z.flush()
    while (warnings.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    vi.unstubAllGlobals()
    await z.flush()
    expect(gateway.posts).toHaveLength(1)
    vi.advanceTimersByTime(1_000)
    await z.flush()
    expect(gateway.posts).toHaveLength(2)
    expect(z.stats().waiting).toBe(0)
    expect(gateway.sum('hits')).toBe(1)
  })
})
