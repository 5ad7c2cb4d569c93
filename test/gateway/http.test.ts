import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BUNDLE_TYPE, encodeBundle } from '../../client/wire/bundle.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../../gateway/index.ts'
import { FakeSink, counterFrame } from './fake-sink.ts'
import {
  GOOD as good,
  JSON_TYPES,
  NO_PATHS,
  NO_TOKENS,
  OTHER_TYPES,
  UNREADABLE,
  WRONG_METHODS,
  badMeasurements,
} from './posts.ts'

let sink: FakeSink
let gateway: Gateway

async function restart(options: Partial<GatewayOptions>): Promise<void> {
  await gateway.close()
  gateway = await startGateway({ sink, port: 0, ...options })
}

beforeEach(async () => {
  sink = new FakeSink()
  gateway = await startGateway({ sink, port: 0 })
})

afterEach(async () => {
  await gateway.close({ timeoutMs: 100 })
})

function post(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const raw = typeof body === 'string' || body instanceof Uint8Array
  return fetch(`${gateway.url}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: (raw ? body : JSON.stringify(body)) as BodyInit,
  })
}

async function expectError(response: Response, status: number, code: string): Promise<string> {
  const body = (await response.json()) as { error: { code: string; message: string } }
  expect([response.status, body.error.code]).toEqual([status, code])
  expect(response.headers.get('content-type')).toBe('application/json')
  return body.error.message
}

describe('JSON measurements', () => {
  test('are taken from an envelope, whose level and source they inherit', async () => {
    const response = await post({
      level: 'crit',
      source: 'web',
      measurements: [good, { ...good, level: 'debug', source: 's2' }],
    })
    expect(response.status).toBe(202)
    expect(await response.json()).toEqual({ accepted: 2, rejected: [] })
    expect(sink.measurements).toEqual([
      { ...good, level: 'crit', source: 'web' },
      { ...good, level: 'debug', source: 's2' },
    ])
  })

  test('are taken from a bare array, with every type and option', async () => {
    const measurements = [
      { type: 'counter', name: 'c', value: 2, rate: 0.1 },
      { type: 'meter', name: 'm', value: 1, tags: { route: '/pay', status: 200, ok: true } },
      { type: 'gauge', name: 'g', value: -1.5, timestamp: 1_700_000_000.25 },
      { type: 'timer', name: 't', value: 12, unit: 'ms', rate: 0.5 },
      { type: 'histogram', name: 'h', value: 512 },
      { type: 'set', name: 's', value: 'u17' },
    ]
    const response = await post([...measurements, { type: 'unique', name: 's', value: 17 }])
    expect(await response.json()).toEqual({ accepted: 7, rejected: [] })
    expect(sink.measurements).toEqual([...measurements, { type: 'set', name: 's', value: 17 }])
  })

  test('treat null as absent', async () => {
    const response = await post({
      level: null,
      source: 'web',
      measurements: [{ ...good, level: null, source: null, tags: null, timestamp: null, rate: null, unit: null }],
    })
    expect(await response.json()).toEqual({ accepted: 1, rejected: [] })
    expect(sink.measurements).toEqual([{ ...good, source: 'web' }])
  })

  test.each(JSON_TYPES)('are read as %s', async (type) => {
    expect((await post([good], { 'content-type': type })).status).toBe(202)
  })

  test('that are bad are named, each by index and reason, and take no neighbour along', async () => {
    const bad = badMeasurements()
    const response = await post(bad.flatMap(([measurement]) => [good, measurement]))
    expect(response.status).toBe(202)
    const { accepted, rejected } = (await response.json()) as {
      accepted: number
      rejected: { index: number; reason: string }[]
    }
    expect(accepted).toBe(bad.length)
    expect(rejected.map(({ index }) => index)).toEqual(bad.map((_, index) => index * 2 + 1))
    for (const [index, [, reason]] of bad.entries()) expect(rejected[index]?.reason).toContain(reason)
    expect(sink.measurements).toHaveLength(bad.length)
  })

  test('beyond what a double holds are refused', async () => {
    const response = await post('[{"type":"counter","name":"c","value":1e999},{"type":"counter","name":"c","value":1}]')
    expect(await response.json()).toMatchObject({ accepted: 1, rejected: [{ index: 0 }] })
  })

  test('with their own level are taken beside a bad level of the envelope', async () => {
    const response = await post({ level: '?', measurements: [good, { ...good, level: 'info' }] })
    expect(await response.json()).toMatchObject({ accepted: 1, rejected: [{ index: 0 }] })
  })

  test('of which none is valid are a 400 that names each', async () => {
    const response = await post([{ ...good, value: 'x' }, 5])
    expect(await response.clone().json()).toMatchObject({ accepted: 0, rejected: [{ index: 0 }, { index: 1 }] })
    await expectError(response, 400, 'all_invalid')
  })

  test('may be none at all', async () => {
    expect(await (await post([])).json()).toEqual({ accepted: 0, rejected: [] })
  })

  test.each(UNREADABLE)('whose body is %s are unreadable', async (_, body) => {
    await expectError(await post(body), 400, 'unreadable')
    expect(sink.measurements).toEqual([])
  })

  test('over the bound of one body are too many, and none is taken', async () => {
    await restart({ maxMeasurements: 3 })
    expect((await post([good, good, good])).status).toBe(202)
    await expectError(await post([good, good, good, good]), 413, 'too_large')
    expect(sink.measurements).toHaveLength(3)
  })
})

describe('bundles', () => {
  const bundle = { 'content-type': BUNDLE_TYPE }

  test('are handed on frame by frame, as the bytes they are', async () => {
    const frames = [counterFrame({ seq: 1 }), counterFrame({ seq: 2, level: 'crit', name: 'b' })]
    const response = await post(encodeBundle(frames), bundle)
    expect(await response.json()).toEqual({ accepted: 2, rejected: [] })
    expect(sink.frames.map(({ bytes }) => [...bytes])).toEqual(frames.map((frame) => [...frame]))
    expect(sink.frames[1]).toMatchObject({ level: 'crit', seq: 2, closedMs: 1_700_000_000_000 })
  })

  test('with a damaged frame keep its neighbours', async () => {
    const damaged = counterFrame({ seq: 2 })
    damaged[damaged.length - 20] = (damaged[damaged.length - 20] as number) ^ 1
    const response = await post(
      encodeBundle([counterFrame(), damaged, new Uint8Array([7]), counterFrame({ seq: 3 })]),
      bundle,
    )
    const { accepted, rejected } = (await response.json()) as {
      accepted: number
      rejected: { index: number; reason: string }[]
    }
    expect([accepted, rejected.map(({ index }) => index)]).toEqual([2, [1, 2]])
    expect(sink.frames.map(({ seq }) => seq)).toEqual([1, 3])
  })

  test('that are cut off keep what came whole', async () => {
    const bytes = encodeBundle([counterFrame(), counterFrame({ seq: 2 })])
    const response = await post(bytes.subarray(0, bytes.length - 1), bundle)
    expect(await response.json()).toMatchObject({ accepted: 1, rejected: [{ index: 1 }] })
  })

  test('of garbage are a 400', async () => {
    await expectError(await post(new Uint8Array(100).fill(7), bundle), 400, 'all_invalid')
  })

  test('of too many frames are refused before any is looked at', async () => {
    await expectError(await post(new Uint8Array(50_000).fill(1), bundle), 413, 'too_large')
  })

  test('are refused whole when the ring is full', async () => {
    sink.full = true
    const response = await post(encodeBundle([counterFrame()]), bundle)
    expect(response.headers.get('retry-after')).toBe('1')
    await expectError(response, 503, 'overloaded')
  })
})

describe('a post is refused', () => {
  test.each(OTHER_TYPES)('as unsupported when it is %j', async (type) => {
    await expectError(await post(new TextEncoder().encode('[]'), { 'content-type': type }), 415, 'unsupported_type')
  })

  test('with 503 and Retry-After while the sink is full', async () => {
    sink.full = true
    const response = await post([good])
    expect(response.headers.get('retry-after')).toBe('1')
    await expectError(response, 503, 'overloaded')
    expect(sink.measurements).toEqual([])
  })

  test('with 503 when what was taken does not fit into the ring', async () => {
    sink.ready = Promise.resolve(false)
    await expectError(await post([good]), 503, 'overloaded')
  })

  test('with 500 that says nothing about what went wrong inside, while the log does', async () => {
    const errors: unknown[] = []
    await restart({ onError: (error) => errors.push(error) })
    sink.sealed = () => Promise.reject(new Error('the inner secret'))
    const message = await expectError(await post([good]), 500, 'internal')
    expect(message).not.toContain('secret')
    expect(String(errors[0])).toContain('the inner secret')
  })
})

describe('tokens', () => {
  beforeEach(() =>
    restart({
      tokens: [
        { name: 'shop', secret: 'hunter2' },
        { name: 'edge', secret: 'hunter3', levels: ['info', 'warn'] },
      ],
    }),
  )

  test.each(NO_TOKENS)('keep %j out', async (authorization) => {
    const response = await post([good], authorization === undefined ? {} : { authorization })
    expect(response.headers.get('www-authenticate')).toContain('Bearer')
    const message = await expectError(response, 401, 'unauthorized')
    expect(message).not.toContain('hunter')
    expect(sink.measurements).toEqual([])
  })

  test('let their holder in, again and again', async () => {
    for (const scheme of ['Bearer', 'bearer', 'Bearer']) {
      expect((await post([good], { authorization: `${scheme} hunter2` })).status).toBe(202)
    }
  })

  test('take what their levels allow and name the rest', async () => {
    const response = await post([good, { ...good, level: 'crit' }, { ...good, level: 'warn' }], {
      authorization: 'Bearer hunter3',
    })
    expect(response.status).toBe(202)
    expect(await response.json()).toEqual({
      accepted: 2,
      rejected: [{ index: 1, reason: 'level "crit" is not allowed with this token' }],
    })
  })

  test('answer 403 when no level is allowed, in JSON and in bundles', async () => {
    const authorization = 'Bearer hunter3'
    await expectError(await post([{ ...good, level: 'crit' }, 5], { authorization }), 403, 'level_forbidden')
    const bytes = encodeBundle([counterFrame({ level: 'crit' })])
    await expectError(await post(bytes, { authorization, 'content-type': BUNDLE_TYPE }), 403, 'level_forbidden')
    expect([sink.measurements, sink.frames]).toEqual([[], []])
  })

  test('are not needed to ask how the gateway is', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      const response = await fetch(gateway.url + path)
      expect(response.status).toBe(200)
      expect(await response.text()).not.toContain('hunter')
    }
  })
})

describe('the other paths', () => {
  test('say how the gateway is', async () => {
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200)
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200)
    sink.online = false
    const response = await fetch(`${gateway.url}/readyz`)
    expect(response.headers.get('retry-after')).toBe('1')
    await expectError(response, 503, 'not_ready')
    sink.online = true
    sink.full = true
    await expectError(await fetch(`${gateway.url}/readyz`), 503, 'not_ready')
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200)
  })

  test('give figures as Prometheus text, with those of others behind', async () => {
    await restart({ metrics: () => '# TYPE other gauge\nother 5\n' })
    await post([good, good, 5])
    await post('')
    const response = await fetch(`${gateway.url}/metrics`)
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    const text = await response.text()
    expect(text).toContain('zibrato_gateway_requests_total{status="202"} 1\n')
    expect(text).toContain('zibrato_gateway_requests_total{status="400"} 1\n')
    expect(text).toContain('zibrato_gateway_measurements_total 2\n')
    expect(text).toContain('zibrato_gateway_rejected_total 1\n')
    expect(text).toContain('other 5\n')
  })

  test('name the methods that are allowed', async () => {
    for (const [path, method, allow] of WRONG_METHODS) {
      const response = await fetch(gateway.url + path, { method })
      expect(response.headers.get('allow')).toBe(allow)
      await expectError(response, 405, 'method_not_allowed')
    }
    expect((await fetch(`${gateway.url}/healthz`, { method: 'HEAD' })).status).toBe(200)
  })

  test('are not found when there are none', async () => {
    for (const path of NO_PATHS) {
      await expectError(await fetch(gateway.url + path, { method: 'POST', body: '{}' }), 404, 'not_found')
    }
  })
})
