import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Zibrato } from '../../../client/platform/node.ts'
import { HttpTransport } from '../../../client/transport/http.ts'
import { RETRY_MS } from '../../../client/transport/ring.ts'
import type { SealedFrame } from '../../../client/transport/transport.ts'
import { VERSION } from '../../../client/version.ts'
import type { Warning } from '../../../client/warning.ts'
import { until } from '../../until.ts'
import { GatewayDouble, respond } from './gateway-double.ts'

const SECRET = 'tok-hunter2'
let gateway: GatewayDouble
let warnings: Warning[] = []
const opened: { close(timeoutMs?: number): Promise<void> }[] = []

beforeEach(async () => {
  gateway = await GatewayDouble.start()
  warnings = []
})

afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close(0)))
  await gateway.stop()
  // oxlint-disable-next-line vitest/no-standalone-expect
  for (const { message } of warnings) expect(message).not.toContain(SECRET)
  vi.useRealTimers()
})

function client(options: ConstructorParameters<typeof Zibrato>[0] = {}): Zibrato {
  const z = new Zibrato({
    url: options.url ?? gateway.url,
    token: SECRET,
    exitHooks: false,
    flushInterval: '1h',
    closeTimeout: 3_000,
    onWarning: (warning) => warnings.push(warning),
    ...options,
  })
  opened.push(z)
  return z
}

/** A transport as it is on the edge: with no timer, it posts when it is drained. */
function edge(options: Partial<ConstructorParameters<typeof HttpTransport>[0]> = {}): HttpTransport {
  const transport = new HttpTransport({ url: gateway.url, warn: (warning) => warnings.push(warning), ...options })
  opened.push({ close: () => transport.close(0) })
  return transport
}

let seq = 0
function frame(): SealedFrame {
  // a gateway double that is told to answer need not understand it, so one real frame serves as many
  const metrics: SealedFrame[] = []
  const z = new Zibrato({
    exitHooks: false,
    flushInterval: '1h',
    transport: {
      send: (frames) => metrics.push(...frames) > 0,
      connected: () => true,
      drain: () => Promise.resolve(),
      close: () => Promise.resolve(),
      stats: () => ({ sent: 0, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0, dropped: {} }),
    },
  })
  z.counter('c').inc(++seq)
  void z.close()
  return metrics[0] as SealedFrame
}

describe('a client over HTTP', () => {
  test('posts a bundle to /v1/metrics with its token', async () => {
    const z = client()
    z.counter('orders').inc(3)
    await z.flush()
    expect(gateway.sum('orders')).toBe(3)
    const [post] = gateway.posts
    expect(post?.headers).toMatchObject({
      'content-type': 'application/vnd.zibrato.bundle',
      authorization: `Bearer ${SECRET}`,
      'user-agent': `zibrato/${VERSION}`,
    })
    expect(post?.headers['content-encoding']).toBeUndefined()
    expect(z.connected()).toBe(true)
    expect(z.stats()).toMatchObject({ sent: 1, waiting: 0, waitingBytes: 0, replayed: 0, unknown: 0, dropped: {} })
  })

  test('compresses what is over a kilobyte', async () => {
    const z = client()
    for (let index = 0; index < 200; index++) z.counter('orders', { tags: { index } }).inc()
    await z.flush()
    expect(gateway.sum('orders')).toBe(200)
    expect(gateway.posts[0]?.headers['content-encoding']).toBe('gzip')
    expect(gateway.posts[0]?.body.length).toBeLessThan((gateway.posts[0]?.bundle.length ?? 0) / 2)
  })

  test('counts and says what the gateway rejected', async () => {
    gateway.next.push((_, response) =>
      respond(response, 202, { accepted: 0, rejected: [{ index: 0, reason: 'level_forbidden' }] }),
    )
    const z = client()
    z.counter('orders').inc()
    await z.flush()
    expect(z.stats()).toMatchObject({ waiting: 0, dropped: { rejected: 1 } })
    expect(warnings.map(({ message }) => message)).toEqual([
      `${gateway.url}/v1/metrics answered 202, dropped 1 of 1 frames: {"accepted":0,"rejected":[{"index":0,"reason":"level_forbidden"}]}`,
    ])
  })

  test('takes a 202 for one, whatever its body', async () => {
    gateway.next.push((_, response) => response.writeHead(202).end('thanks'))
    gateway.next.push((_, response) => respond(response, 202, null))
    const z = client()
    for (let round = 0; round < 2; round++) {
      z.counter('orders').inc()
      await z.flush()
    }
    expect(gateway.posts).toHaveLength(2)
    expect(z.stats()).toMatchObject({ sent: 2, waiting: 0, dropped: {} })
  })

  test.each([400, 401, 403, 404, 415])('drops what is answered %d, counts it and says so', async (status) => {
    gateway.next.push((_, response) =>
      respond(response, status, { error: { code: 'x', message: `not with Bearer ${SECRET}` } }),
    )
    const z = client()
    z.counter('orders').inc()
    await z.flush()
    expect(gateway.posts).toHaveLength(1)
    expect(z.stats()).toMatchObject({ waiting: 0, dropped: { refused: 1 } })
    expect(warnings[0]?.message).toMatch(
      new RegExp(`answered ${status}, dropped 1 of 1 frames: .*not with Bearer \\*\\*\\*`),
    )
  })

  test('halves a post that is too large until it fits', async () => {
    gateway.answer = (post, response) =>
      post.frames.length > 3 ? respond(response, 413, {}) : respond(response, 202, { accepted: 1, rejected: [] })
    const z = client()
    for (let index = 0; index < 30; index++) z.counter('orders', { level: `l${index}` }).inc()
    await z.flush()
    expect(
      gateway.sum(
        'orders',
        gateway.posts.filter(({ frames }) => frames.length <= 3),
      ),
    ).toBe(30)
    expect(z.stats()).toMatchObject({ waiting: 0, dropped: {} })
  })

  test('drops a single frame that is too large', async () => {
    gateway.answer = (_, response) => respond(response, 413, {})
    const z = client()
    z.counter('orders').inc()
    await z.flush()
    expect(z.stats()).toMatchObject({ waiting: 0, dropped: { refused: 1 } })
  })

  test('waits as long as Retry-After says, and sends the same bytes again', async () => {
    gateway.next.push((_, response) => respond(response, 429, {}, { 'retry-after': '1' }))
    const z = client()
    z.counter('orders').inc()
    const started = performance.now()
    await z.flush()
    expect(performance.now() - started).toBeGreaterThan(900)
    expect(gateway.posts).toHaveLength(2)
    expect(gateway.posts[1]?.bundle).toEqual(gateway.posts[0]?.bundle)
    expect(z.stats()).toMatchObject({ sent: 1, replayed: 1, waiting: 0 })
  })

  test.each([408, 500, 502, 503, 504])('sends again after %d', async (status) => {
    gateway.next.push((_, response) => respond(response, status, {}))
    const z = client()
    z.counter('orders').inc()
    await z.flush()
    expect(gateway.posts).toHaveLength(2)
    expect(gateway.sum('orders')).toBe(1)
    expect(z.stats()).toMatchObject({ sent: 1, replayed: 1, waiting: 0, dropped: {} })
  })

  test('does not post so late that there is no time for an answer', async () => {
    let posts = 0
    let cutOff = 0
    const transport = edge({
      fetch: (_, { signal }) =>
        new Promise((resolve, reject) => {
          const status = ++posts <= 2 ? 503 : 202
          const cut = (): void => {
            cutOff++
            reject(signal.reason as Error)
          }
          signal.addEventListener('abort', cut)
          setTimeout(() => {
            signal.removeEventListener('abort', cut)
            resolve(new Response('{}', { status }))
          }, 60)
        }),
    })
    transport.send([frame()])
    // each drain is shorter than the pause after the second failure
    await until(async () => {
      await transport.drain(240)
      return transport.stats().waiting === 0
    })
    expect([posts, cutOff]).toEqual([3, 0])
  })

  test('sends the same bytes again when the connection is reset after they were accepted', async () => {
    gateway.next.push((_, response) => response.destroy())
    const z = client()
    z.counter('orders').inc()
    await z.flush()
    expect(gateway.posts).toHaveLength(2)
    expect(gateway.posts[1]?.bundle).toEqual(gateway.posts[0]?.bundle)
    expect(gateway.posts[1]?.frames[0]?.seq).toBe(1)
    expect(warnings[0]?.message).toMatch(/gave no answer, will retry: .*Error/)
  })

  test('keeps what is recorded while there is no gateway', async () => {
    const { port, url } = gateway
    await gateway.stop()
    const z = client({ url, closeTimeout: 100 })
    z.counter('orders').inc()
    await z.flush()
    // on a busy machine even a refusal takes longer than the flush
    await until(() => z.stats().waiting === 1)
    expect(z.connected()).toBe(false)
    expect(warnings[0]?.message).toMatch(/ECONNREFUSED/)
    gateway = await GatewayDouble.start(port)
    // in the background, without being flushed
    await until(() => gateway.sum('orders') === 1)
    await until(() => z.stats().waiting === 0)
  })

  test('ends within closeTimeout when the gateway does not answer, and counts what it does not know', async () => {
    gateway.answer = () => {}
    const z = client({ closeTimeout: 150 })
    z.counter('orders').inc()
    const started = performance.now()
    await z.close()
    expect(performance.now() - started).toBeLessThan(2_000)
    expect(z.stats()).toMatchObject({ waiting: 0, unknown: 1, dropped: {} })
    z.counter('orders').inc()
    await z.flush()
    expect(z.stats()).toMatchObject({ unknown: 1, dropped: { closed: 1 } })
  })

  test('drops the oldest past waitingBytes, and counts them', async () => {
    gateway.answer = (_, response) => respond(response, 503, {}, { 'retry-after': '30' })
    const z = client({ flushInterval: 0, waitingBytes: 1_000, closeTimeout: 0 })
    for (let times = 0; times < 100; times++) z.counter('orders').inc()
    await until(() => z.stats().waiting > 0 && gateway.posts.length === 1 && warnings.length === 1)
    const { waiting, waitingBytes, unknown, dropped } = z.stats()
    expect(waitingBytes).toBeLessThanOrEqual(1_000)
    expect(waiting + unknown + (dropped['overflow'] ?? 0)).toBe(100)
  })
})

describe('an HTTP transport without timers', () => {
  test('posts only when it is drained', async () => {
    const transport = edge()
    transport.send([frame()])
    await new Promise((resolve) => setImmediate(resolve))
    expect(gateway.posts).toEqual([])
    await transport.drain(1_000)
    expect(gateway.posts).toHaveLength(1)
    expect(transport.stats()).toMatchObject({ sent: 1, waiting: 0 })
  })

  test('lets each request post for itself', async () => {
    let release = (): void => {}
    gateway.next.push((_, response) => (release = (): void => respond(response, 202, {})))
    const transport = edge()
    transport.send([frame()])
    const first = transport.drain(5_000)
    await until(() => gateway.posts.length === 1)
    transport.send([frame()])
    // must not wait for the first one's answer
    await transport.drain(5_000)
    expect(gateway.posts).toHaveLength(2)
    expect(transport.stats().waiting).toBe(0)
    release()
    await first
  })

  test('drops of what waits, and nothing of what is under way', async () => {
    let release = (): void => {}
    gateway.next.push((_, response) => (release = (): void => respond(response, 503, {})))
    const frames = Array.from({ length: 4 }, frame)
    const bytes = frames[0]?.bytes.length ?? 0
    const transport = edge({ waitingBytes: 3 * bytes })
    transport.send(frames.slice(0, 2))
    const first = transport.drain(5_000)
    await until(() => gateway.posts.length === 1)
    transport.send(frames.slice(2))
    expect(transport.stats()).toMatchObject({ sent: 2, waiting: 1, waitingBytes: bytes, dropped: { overflow: 1 } })
    release()
    await first
    // those that failed are ahead of what came later
    const bundled = [frames[0], frames[1], frames[3]].flatMap((each) => [
      each?.bytes.length ?? 0,
      ...(each?.bytes ?? []),
    ])
    expect([...(gateway.posts[1]?.bundle ?? [])]).toEqual(bundled)
    expect(transport.stats()).toMatchObject({ sent: 3, replayed: 2, waiting: 0, unknown: 0, dropped: { overflow: 1 } })
  })

  test('sends again what was cut off with its request', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    // a post of a request that ended: its promise never settles
    let calls = 0
    const transport = edge({
      fetch: (...args: Parameters<typeof fetch>) => (calls++ === 0 ? new Promise(() => {}) : fetch(...args)),
    })
    transport.send([frame()])
    void transport.drain(1_000)
    await until(() => calls === 1)
    await transport.drain(1_000)
    expect(calls).toBe(1)
    vi.advanceTimersByTime(10_000)
    await transport.drain(1_000)
    expect(gateway.posts).toHaveLength(1)
    expect(transport.stats()).toMatchObject({ sent: 1, replayed: 1, waiting: 0, unknown: 0 })
  })

  test('ends a drain whose request never ends, and sends again what it carried', async () => {
    let calls = 0
    const transport = edge({
      fetch: (...args: Parameters<typeof fetch>) => (calls++ === 0 ? new Promise(() => {}) : fetch(...args)),
    })
    transport.send([frame()])
    await transport.drain(50)
    expect(calls).toBe(1)
    await transport.drain(1_000)
    expect(gateway.posts).toHaveLength(1)
    expect(transport.stats()).toMatchObject({ sent: 1, replayed: 1, waiting: 0, unknown: 0 })
  })

  test('gives a frame up 5 minutes after it was closed, once it may have arrived', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] })
    gateway.answer = (_, response) => respond(response, 503, {})
    const transport = edge()
    transport.send([{ ...frame(), closedMs: Date.now() }])
    await transport.drain(50)
    expect(transport.stats()).toMatchObject({ sent: 1, waiting: 1 })
    vi.advanceTimersByTime(RETRY_MS)
    // one that never went out is no repeat, however old it is
    transport.send([{ ...frame(), closedMs: Date.now() - 2 * RETRY_MS }])
    await transport.drain(50)
    expect(transport.stats()).toMatchObject({ sent: 2, waiting: 1, unknown: 1 })
  })

  test('shows no query of its url, which may hold a secret', async () => {
    gateway.answer = (_, response) => respond(response, 404, {})
    const transport = edge({ url: `${gateway.url}/metrics?key=${SECRET}` })
    transport.send([frame()])
    await transport.drain(1_000)
    expect(warnings[0]?.message).toContain(`${gateway.url}/metrics answered 404`)
  })
})

describe('posts that others have under way', () => {
  test('are waited for, not asked for again and again', async () => {
    let answer = (): void => {}
    let posts = 0
    // until that falls into the moment between two posts, and so begins another
    const sendOften = async (): Promise<void> => {
      for (let moment = 0; moment < 100; moment++) {
        await Promise.resolve()
        transport.send([one])
        if (transport.stats().waiting === 0) return
      }
    }
    const one = frame()
    const transport = new HttpTransport({
      url: gateway.url,
      warn: (warning) => warnings.push(warning),
      every: () => () => {},
      fetch: async () => {
        posts++
        if (posts === 2) await new Promise<void>((resolve) => (answer = resolve))
        const text = (): Promise<string> => {
          if (posts === 1) void sendOften()
          return Promise.resolve('{"rejected":[]}')
        }
        return { status: 202, headers: new Headers(), text }
      },
    })
    opened.push({ close: () => transport.close(0) })
    transport.send([frame()])
    await until(() => posts === 2)
    answer()
    await until(() => transport.stats().waiting === 0)
    expect(transport.stats()).toMatchObject({ replayed: 0, unknown: 0, dropped: {} })
  })
})
