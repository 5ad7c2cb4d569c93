import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BUNDLE_TYPE, encodeBundle } from '../../../client/wire/bundle.ts'
import { Tokens } from '../../../gateway/auth.ts'
import { Upstream } from '../../../gateway/relay/upstream.ts'
import { until } from '../../until.ts'
import { counterFrame } from '../fake-sink.ts'
import { TestRelay } from './relay.ts'
import { FaultyUpstream } from './upstream.ts'

const MINUTE = 60_000
const MEBIBYTE = 1 << 20
// of the gateway upstream
const LIMIT = 60_000

let upstream: FaultyUpstream
let relay: TestRelay
let publisher = 100

beforeAll(async () => {
  upstream = await FaultyUpstream.start({
    maxBodyBytes: LIMIT,
    tokens: new Tokens([{ name: 'relay', secret: 'up-secret', levels: ['info', 'warn'] }]),
  })
  relay = await TestRelay.start({
    env: {
      UPSTREAM_URL: upstream.url,
      UPSTREAM_TOKEN: 'up-secret',
      RELAY_GROUPS: '1',
      RELAY_BYTES: String(MEBIBYTE),
    },
  })
})

beforeEach(async () => {
  publisher++
  upstream.reset()
  await relay.fresh(String(publisher))
})

afterEach(async () => {
  // what a test leaves must not come during the next
  upstream.reset()
  await until(async () => (await relay.alarm()).frames === 0, 'everything is forwarded')
})

afterAll(async () => {
  await relay[Symbol.asyncDispose]()
  await upstream.stop()
})

/** Frames of this test's publisher. */
function framesOf(...seqs: number[]): Uint8Array[] {
  return seqs.map((seq) => counterFrame({ seq, publisher }))
}

async function store(...seqs: number[]): Promise<void> {
  expect((await post(framesOf(...seqs))).status).toBe(202)
}

function post(frames: readonly Uint8Array[]): Promise<Response> {
  return relay.post(encodeBundle(frames) as Uint8Array<ArrayBuffer>, { 'content-type': BUNDLE_TYPE })
}

function kinds(): string {
  return upstream.posts.map(({ kind }) => kind).join(' ')
}

async function reasonNotReady(): Promise<string> {
  let reason = ''
  // what objects say is up to a second old
  await until(async () => {
    const response = await relay.get('/readyz')
    reason = response.status === 503 ? ((await response.json()) as { error: { message: string } }).error.message : ''
    return reason !== ''
  }, 'not ready')
  return reason
}

describe('the relay', () => {
  test('stores before it answers, and forwards the bytes as they came, oldest first, in one post', async () => {
    await store(1, 2)
    await store(3)
    expect(await relay.figures()).toMatchObject({ frames: 3, forwarded: 0 })
    expect(upstream.posts).toEqual([])
    expect(await relay.alarm()).toMatchObject({ frames: 0, bytes: 0, forwarded: 3 })
    expect(kinds()).toBe('frames')
    expect(upstream.posts[0]?.headers['authorization']).toBe('Bearer up-secret')
    expect(upstream.sink.frames.map(({ bytes }) => [...bytes])).toEqual(framesOf(1, 2, 3).map((frame) => [...frame]))
  })

  test('compresses large posts', async () => {
    await store(...Array.from({ length: 100 }, (_, index) => index + 1))
    await relay.alarm()
    expect(upstream.seqs).toHaveLength(100)
    expect(upstream.posts[0]?.headers['content-encoding']).toBe('gzip')
    expect(upstream.posts[0]?.bytes).toBeLessThan(3_000)
  })

  test('stores a repeat once: while it waits, once it is forwarded, and after a restart', async () => {
    await store(1, 2)
    await store(2, 3, 2)
    expect(await relay.figures()).toMatchObject({ frames: 3, repeats: 2 })
    await relay.alarm()
    await store(1, 2, 3)
    await relay.restart()
    await store(3, 2, 1)
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 3 })
    expect(upstream.seqs).toEqual([1, 2, 3])
  })

  test('knows what it forwarded for as long as senders may send it again', async () => {
    await store(1)
    await relay.alarm()
    await relay.ahead(5.5 * MINUTE)
    await store(1, 2)
    await relay.alarm()
    await relay.restart()
    await store(2, 3)
    await relay.alarm()
    expect(upstream.seqs).toEqual([1, 2, 3])
  })

  test('counts JSON with an Idempotency-Key once, and without one each time', async () => {
    const body = JSON.stringify([{ type: 'counter', name: 'orders', value: 1 }])
    const json = { 'content-type': 'application/json' }
    for (let turn = 0; turn < 3; turn++) {
      const response = await relay.post(body, { ...json, 'idempotency-key': 'k1' })
      expect([response.status, await response.json()]).toEqual([202, { accepted: 1, rejected: [] }])
    }
    await relay.restart()
    await relay.post(body, { ...json, 'idempotency-key': 'k1' })
    expect(await relay.alarm()).toMatchObject({ forwarded: 1 })
    expect((await relay.post(body, { ...json, 'idempotency-key': 'k2' })).status).toBe(202)
    for (let turn = 0; turn < 2; turn++) expect((await relay.post(body, json)).status).toBe(202)
    expect(await relay.alarm()).toMatchObject({ forwarded: 4 })
  })

  test('doubles nothing when its alarm goes off several times at once', async () => {
    await store(1, 2, 3)
    expect(await relay.alarm(4)).toMatchObject({ frames: 0, forwarded: 3 })
    expect(kinds()).toBe('frames')
    expect(upstream.seqs).toEqual([1, 2, 3])
  })

  test('takes posts while it forwards', async () => {
    await store(1)
    upstream.always = 'silence'
    const cutOff = relay.alarm().then(
      () => false,
      () => true,
    )
    await until(() => upstream.posts.length === 1)
    await store(2)
    expect(await relay.figures()).toMatchObject({ frames: 2 })
    await relay.restart()
    expect(await cutOff).toBe(true)
    upstream.always = undefined
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 2 })
    expect(upstream.seqs).toEqual([1, 2])
  })
})

describe('while upstream is away, the relay', () => {
  test('keeps everything, tries with posts of nothing, and goes on when it is back', async () => {
    upstream.always = { status: 503, code: 'overloaded' }
    await store(1)
    await relay.alarm()
    await store(2, 3)
    expect(await relay.alarm()).toMatchObject({ frames: 3, troubles: ['upstream answered 503 (overloaded)'] })
    expect(kinds()).toMatch(/^frames probe( probe)*$/)
    expect(await reasonNotReady()).toBe('upstream answered 503 (overloaded)')
    upstream.always = undefined
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 3, unknown: 0, troubles: [] })
    expect(upstream.seqs).toEqual([1, 2, 3])
    await until(async () => (await relay.get('/readyz')).status === 200)
  })

  test('never gives up what did not go out', async () => {
    upstream.always = { status: 503, code: 'overloaded' }
    await store(1)
    await relay.alarm()
    await store(2)
    await relay.ahead(60 * MINUTE)
    expect(await relay.alarm()).toMatchObject({ frames: 2, unknown: 0 })
    upstream.always = undefined
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 2, unknown: 0 })
    expect(upstream.seqs).toEqual([1, 2])
  })

  test('sends what may have arrived again by itself, the same bytes', async () => {
    upstream.next.push('taken, then reset')
    await store(1, 2)
    await relay.alarm()
    await store(3)
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 3 })
    expect(kinds()).toBe('frames probe frames frames')
    // whoever merges them tells the repeats
    expect(upstream.seqs).toEqual([1, 2, 1, 2, 3])
  })

  test('gives up after five minutes what may have arrived, counts it as unknown, and nothing else', async () => {
    upstream.next.push('taken, then reset')
    upstream.always = { status: 502 }
    await store(1, 2)
    await relay.alarm()
    await store(3)
    await relay.ahead(4.9 * MINUTE)
    expect(await relay.alarm()).toMatchObject({ frames: 3, unknown: 0 })
    await relay.restart()
    await relay.ahead(10 * MINUTE)
    expect(await relay.alarm()).toMatchObject({ frames: 1, unknown: 2 })
    upstream.always = undefined
    expect(await relay.alarm()).toMatchObject({ frames: 0, unknown: 2, forwarded: 1 })
    expect(upstream.seqs).toEqual([1, 2, 3])
  })

  test('waits as long as Retry-After says', async () => {
    upstream.always = { status: 503, headers: { 'retry-after': '59' } }
    await store(1)
    await relay.alarm()
    const posts = upstream.posts.length
    // without that header it would be back within 250 ms
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(upstream.posts).toHaveLength(posts)
  })

  test('comes back by itself', async () => {
    upstream.next.push('reset', { status: 500 })
    await store(1)
    await relay.alarm()
    await until(() => upstream.seqs.length === 1)
    expect(kinds()).toBe('frames probe probe frames')
  })

  test('is full at its bound: 503 with Retry-After, but repeats are taken', async () => {
    upstream.always = { status: 503 }
    // 9,000 frames are nearly half a megabyte
    const lot = (from: number): Uint8Array[] => framesOf(...Array.from({ length: 9_000 }, (_, index) => from + index))
    expect((await post(lot(1))).status).toBe(202)
    expect((await post(lot(9_001))).status).toBe(202)
    const refused = await post(lot(18_001))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5'])
    expect(await refused.json()).toMatchObject({
      error: { code: 'overloaded', message: 'the relay is full, as what it took cannot go out; retry later' },
    })
    expect((await post(lot(1))).status).toBe(202)
    expect(await relay.figures()).toMatchObject({ frames: 18_000, refused: 1, repeats: 9_000 })
    upstream.always = undefined
    await until(async () => (await relay.alarm()).frames === 0, 'it is empty')
    expect((await post(lot(18_001))).status).toBe(202)
    await until(async () => (await relay.alarm()).frames === 0, 'it is empty again')
    expect(new Set(upstream.seqs).size).toBe(27_000)
    expect(upstream.seqs).toHaveLength(27_000)
  })
})

describe('what upstream refuses', () => {
  test('is sent in smaller posts when it is too large', async () => {
    // 3,000 frames are over 150,000 bytes, of which the gateway takes 60,000
    await store(...Array.from({ length: 3_000 }, (_, index) => index + 1))
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 3_000, dropped: {} })
    expect(upstream.seqs).toEqual(Array.from({ length: 3_000 }, (_, index) => index + 1))
  })

  test('is dropped and counted when it is a frame too large by itself', async () => {
    const large = counterFrame({ publisher, seq: 2, many: 3_000 })
    expect(large.length).toBeGreaterThan(LIMIT)
    expect((await post([...framesOf(1), large, ...framesOf(3)])).status).toBe(202)
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 2, dropped: { refused: 1 } })
    expect(upstream.seqs).toEqual([1, 3])
  })

  test('by index is dropped and counted, and its neighbours go on', async () => {
    const forbidden = counterFrame({ publisher, seq: 1, level: 'crit' })
    expect((await post([...framesOf(1), forbidden, ...framesOf(2)])).status).toBe(202)
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 2, dropped: { rejected: 1 } })
    expect(upstream.seqs).toEqual([1, 2])
  })

  test('whole is dropped and counted when it names every frame', async () => {
    expect((await post([counterFrame({ publisher, seq: 1, level: 'crit' })])).status).toBe(202)
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 0, dropped: { refused: 1 }, troubles: [] })
  })

  test('without saying why is narrowed down to the frame that is in the way', async () => {
    // no gateway answers so; what stands between may
    upstream.judge = (frames) => (frames.includes(5) ? { status: 400 } : undefined)
    await store(1, 2, 3, 4, 5, 6, 7, 8)
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 7, dropped: { refused: 1 } })
    expect(upstream.seqs).toEqual([1, 2, 3, 4, 6, 7, 8])
  })

  test('with 400 to whatever comes is kept, as it says nothing of the frames', async () => {
    upstream.always = { status: 400 }
    await store(1, 2, 3)
    expect(await relay.alarm()).toMatchObject({ frames: 3, dropped: {} })
    expect((await relay.figures()).troubles).toEqual([
      'upstream answered 400, where a gateway of Zibrato answers 202: check UPSTREAM_URL',
    ])
    upstream.always = undefined
    await relay.ahead(MINUTE)
    await relay.alarm()
    expect(upstream.seqs).toEqual([1, 2, 3])
  })

  test('with a Retry-After of 0 is tried again as if there were none', async () => {
    upstream.next.push(
      { status: 503, headers: { 'retry-after': '0' } },
      { status: 503, headers: { 'retry-after': '2' } },
    )
    const asked = new Upstream({ service: undefined, url: upstream.url, token: 'up-secret' })
    expect(await asked.probe()).toMatchObject({ kind: 'again', retryAfterMs: undefined })
    expect(await asked.probe()).toMatchObject({ kind: 'again', retryAfterMs: 2_000 })
  })

  test.each([
    [401, 'unauthorized', 'upstream answered 401 (unauthorized): check UPSTREAM_TOKEN'],
    [403, undefined, 'upstream answered 403: check UPSTREAM_TOKEN'],
    [404, 'not_found', 'upstream answered 404 (not_found), where a gateway of Zibrato answers 202: check UPSTREAM_URL'],
    [200, undefined, 'upstream answered 200, where a gateway of Zibrato answers 202: check UPSTREAM_URL'],
    [301, undefined, 'upstream answered 301, where a gateway of Zibrato answers 202: check UPSTREAM_URL'],
  ])('with %d is kept, as an operator can mend that', async (status, code, trouble) => {
    upstream.always = { status, ...(code === undefined ? {} : { code }) }
    await store(1)
    await relay.alarm()
    await relay.ahead(60 * MINUTE)
    const unknown = status < 400 ? 1 : 0
    expect(await relay.alarm()).toMatchObject({ frames: 1 - unknown, unknown, dropped: {} })
    await store(2)
    expect((await relay.alarm()).troubles).toEqual([trouble])
    upstream.always = undefined
    expect(await relay.alarm()).toMatchObject({ frames: 0, forwarded: 2 - unknown })
  })
})
