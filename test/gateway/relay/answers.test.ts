import { type Socket, connect } from 'node:net'
import { deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Zibrato } from '../../../client/edge.ts'
import { BUNDLE_TYPE, encodeBundle } from '../../../client/wire/bundle.ts'
import { until } from '../../until.ts'
import { counterFrame } from '../fake-sink.ts'
import {
  GOOD,
  JSON_TYPES,
  NO_PATHS,
  NO_TOKENS,
  OTHER_TYPES,
  UNREADABLE,
  WRONG_METHODS,
  badMeasurements,
} from '../posts.ts'
import { TestRelay } from './relay.ts'

// the gateway's own answers on Workers: what is stored is never forwarded here
const JSON_TYPE = { 'content-type': 'application/json', authorization: 'Bearer hunter2' }
const BUNDLE = { 'content-type': BUNDLE_TYPE, authorization: 'Bearer hunter2' }
const LIMIT = 4 << 20
const COMPRESS = { gzip: gzipSync, deflate: deflateSync } as const

let relay: TestRelay

beforeAll(async () => {
  relay = await TestRelay.start({
    env: {
      UPSTREAM_URL: 'http://127.0.0.1:9',
      ZIBRATO_INSECURE: '',
      ZIBRATO_TOKENS: '# who may post\nshop=hunter2\n',
      RELAY_LINGER: '1m',
    },
  })
})

afterAll(() => relay[Symbol.asyncDispose]())

const HEAD =
  'POST /v1/metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer hunter2\r\ncontent-type: application/json\r\n'

function dial(): Socket {
  const { hostname, port } = new URL(relay.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  return socket
}

async function error(response: Response): Promise<[number, string]> {
  const { error: problem } = (await response.json()) as { error: { code: string; message: string } }
  expect(problem.message).not.toContain('hunter')
  return [response.status, problem.code]
}

function bodyOf(bytes: number): Uint8Array<ArrayBuffer> {
  const text = JSON.stringify([GOOD])
  return new TextEncoder().encode(text + ' '.repeat(bytes - text.length))
}

describe('on Workers, JSON measurements', () => {
  test('are taken, and those that are bad are named', async () => {
    const bad = badMeasurements()
    const body = JSON.stringify({ source: 'web', measurements: bad.flatMap(([measurement]) => [GOOD, measurement]) })
    const response = await relay.post(body, JSON_TYPE)
    expect(response.status).toBe(202)
    const { accepted, rejected } = (await response.json()) as {
      accepted: number
      rejected: { index: number; reason: string }[]
    }
    expect(accepted).toBe(bad.length)
    expect(rejected.map(({ index }) => index)).toEqual(bad.map((_, index) => index * 2 + 1))
    for (const [index, [, reason]] of bad.entries()) expect(rejected[index]?.reason).toContain(reason)
  })

  test.each(JSON_TYPES)('are read as %s', async (type) => {
    expect((await relay.post(JSON.stringify([GOOD]), { ...JSON_TYPE, 'content-type': type })).status).toBe(202)
  })

  test.each(OTHER_TYPES)('are not read as %j', async (type) => {
    const response = await relay.post(new TextEncoder().encode('[]'), { ...JSON_TYPE, 'content-type': type })
    expect(await error(response)).toEqual([415, 'unsupported_type'])
  })

  test.each(UNREADABLE)('whose body is %s are unreadable', async (_, body) => {
    expect(await error(await relay.post(body, JSON_TYPE))).toEqual([400, 'unreadable'])
  })

  test('of which none is valid are a 400', async () => {
    expect(await error(await relay.post('[5]', JSON_TYPE))).toEqual([400, 'all_invalid'])
  })

  test('have an Idempotency-Key of 1 to 255 characters', async () => {
    const headers = { ...JSON_TYPE, 'idempotency-key': 'x'.repeat(256) }
    expect(await error(await relay.post(JSON.stringify([GOOD]), headers))).toEqual([400, 'invalid_key'])
  })
})

describe('on Workers, bundles', () => {
  test('of a client are taken whole', async () => {
    const z = new Zibrato({ url: relay.url, token: 'hunter2', source: 'fetcher' })
    for (let index = 0; index < 200; index++) z.counter('orders', { tags: { index } }).inc()
    await z.close()
    expect(z.stats()).toMatchObject({ waiting: 0, unknown: 0, dropped: {} })
  })

  test('with a damaged frame keep its neighbours', async () => {
    const damaged = counterFrame({ seq: 2 })
    damaged[damaged.length - 20] = (damaged[damaged.length - 20] as number) ^ 1
    const bundle = encodeBundle([counterFrame(), damaged, counterFrame({ seq: 3 })]) as Uint8Array<ArrayBuffer>
    const response = await relay.post(bundle, BUNDLE)
    expect(await response.json()).toMatchObject({ accepted: 2, rejected: [{ index: 1 }] })
  })

  test('of garbage are a 400', async () => {
    expect(await error(await relay.post(new Uint8Array(100).fill(7), BUNDLE))).toEqual([400, 'all_invalid'])
  })

  test('with a frame that no object takes are too large', async () => {
    const frame = counterFrame({ many: 45_000 })
    expect(frame.length).toBeGreaterThan(1 << 20)
    const bundle = encodeBundle([frame]) as Uint8Array<ArrayBuffer>
    expect(await error(await relay.post(bundle, BUNDLE))).toEqual([413, 'too_large'])
  })
})

describe('on Workers, a body', () => {
  test('may have 4 MiB, and not one byte more', async () => {
    expect((await relay.post(bodyOf(LIMIT), JSON_TYPE)).status).toBe(202)
    expect((await relay.post(gzipSync(bodyOf(LIMIT)), { ...JSON_TYPE, 'content-encoding': 'gzip' })).status).toBe(202)
    const more = gzipSync(bodyOf(LIMIT + 1))
    const response = await relay.post(more, { ...JSON_TYPE, 'content-encoding': 'gzip' })
    expect(await error(response)).toEqual([413, 'too_large'])
    // what says that it is too large is answered before it comes
    const socket = dial()
    let answer = ''
    socket.on('data', (data) => (answer += data.toString()))
    socket.write(`${HEAD}content-length: ${LIMIT + 1}\r\n\r\n`)
    await until(() => answer.includes('too_large'), 'an answer')
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    socket.destroy()
  })

  test.each(['gzip', 'deflate'] as const)('of %s is read, and bounded once decompressed', async (encoding) => {
    const headers = { ...JSON_TYPE, 'content-encoding': encoding }
    expect((await relay.post(COMPRESS[encoding](bodyOf(5_000)), headers)).status).toBe(202)
    // decompressed as a whole they would be more than an isolate may have
    const bomb = COMPRESS[encoding](Buffer.alloc(64 << 20, ' '))
    const answers = await Promise.all([1, 2, 3, 4].map(async () => error(await relay.post(bomb, headers))))
    expect(new Set(answers.map(String))).toEqual(new Set(['413,too_large']))
    expect(await error(await relay.post('[]', headers))).toEqual([400, 'unreadable'])
  })

  test.each([['br'], ['zstd'], ['gzip, gzip']])('in encoding %j is unsupported', async (encoding) => {
    const response = await relay.post('[]', { ...JSON_TYPE, 'content-encoding': encoding })
    expect(response.headers.get('accept-encoding')).toBe('gzip, deflate')
    expect(await error(response)).toEqual([415, 'unsupported_encoding'])
  })

  test('whose sender goes away leaves nothing behind', async () => {
    // all of them together are more than may be held at once
    for (let turn = 0; turn < 20; turn++) {
      const socket = dial()
      await new Promise<void>((sent) => {
        socket.write(`${HEAD}content-length: ${LIMIT}\r\n\r\n${' '.repeat(LIMIT - 1)}`, () => sent())
      })
      socket.destroy()
    }
    let status = 0
    await until(async () => (status = (await relay.post(bodyOf(LIMIT), JSON_TYPE)).status) === 202, 'room for a body')
    expect(status).toBe(202)
  })
})

describe('on Workers, tokens', () => {
  test.each(NO_TOKENS)('keep %j out', async (authorization) => {
    const headers = { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) }
    const response = await relay.post(JSON.stringify([GOOD]), headers)
    expect(response.headers.get('www-authenticate')).toContain('Bearer')
    expect(await error(response)).toEqual([401, 'unauthorized'])
  })

  test('of many requests at once are all found', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const authorization = `${index % 2 === 0 ? 'Bearer' : 'bearer'} ${index % 5 === 0 ? 'wrong' : 'hunter2'}`
        return (await relay.post(JSON.stringify([GOOD]), { ...JSON_TYPE, authorization })).status
      }),
    )
    expect(answers).toEqual(Array.from({ length: 50 }, (_, index) => (index % 5 === 0 ? 401 : 202)))
  })

  test('are nowhere to be read', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      const response = await relay.get(path)
      expect(response.status).toBe(200)
      expect(await response.text()).not.toContain('hunter')
    }
    expect(relay.log).not.toContain('hunter')
  })
})

describe('on Workers, the other paths', () => {
  test('give the figures of all objects together', async () => {
    const value = async (name: string): Promise<number> => {
      const text = await (await relay.get('/metrics')).text()
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
    }
    await until(async () => (await value('zibrato_relay_frames_waiting')) > 0)
    const text = await (await relay.get('/metrics')).text()
    expect(text).toContain('zibrato_relay_waiting_bytes{group="1"}')
    expect(text).toContain('zibrato_relay_object_up{group="1"} 1\n')
    expect(text).toContain('zibrato_gateway_requests_total{status="202"}')
  })

  test('name the methods that are allowed', async () => {
    for (const [path, method, allow] of WRONG_METHODS) {
      const response = await fetch(relay.url + path, { method })
      expect(response.headers.get('allow')).toBe(allow)
      expect(await error(response)).toEqual([405, 'method_not_allowed'])
    }
  })

  test('are not found when there are none, the paths of objects among them', async () => {
    for (const path of [...NO_PATHS, '/frames', '/figures']) {
      expect(await error(await fetch(relay.url + path, { method: 'POST', body: '{}' }))).toEqual([404, 'not_found'])
    }
  })
})
