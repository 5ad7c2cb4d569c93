import { connect } from 'node:net'
import { once } from 'node:events'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Gateway, createApp, startGateway } from '../../gateway/index.ts'
import { until } from '../until.ts'
import { FakeSink } from './fake-sink.ts'

const LIMIT = 100_000
const COMPRESS = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync } as const

let sink: FakeSink
let gateway: Gateway

beforeEach(async () => {
  sink = new FakeSink()
  gateway = await startGateway({ sink, port: 0, maxBodyBytes: LIMIT, maxHeldBytes: LIMIT * 4 })
})

afterEach(async () => {
  await gateway.close({ timeoutMs: 100 })
})

function post(body: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
  const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body, duplex: 'half' }
  return fetch(`${gateway.url}/v1/metrics`, init)
}

async function code(response: Response): Promise<[number, string]> {
  return [response.status, ((await response.json()) as { error: { code: string } }).error.code]
}

/** A valid body of one measurement and as many bytes as wanted. */
function bodyOf(bytes: number): Uint8Array<ArrayBuffer> {
  const text = '[{"type":"counter","name":"orders","value":1}]'
  return new TextEncoder().encode(text + ' '.repeat(bytes - text.length))
}

/** What the gateway answers to bytes on a bare connection. */
async function raw(...pieces: (string | Uint8Array)[]): Promise<string> {
  const socket = connect(gateway.port, '127.0.0.1')
  let answer = ''
  socket.on('data', (data) => (answer += data.toString()))
  socket.on('error', () => {})
  for (const piece of pieces) socket.write(piece)
  await until(() => answer.includes('}') || socket.closed, 'an answer')
  socket.destroy()
  return answer
}

const HEAD = 'POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'

describe('a body', () => {
  test.each(['gzip', 'deflate', 'br'] as const)('is read from %s', async (encoding) => {
    const response = await post(COMPRESS[encoding](bodyOf(500)), { 'content-encoding': encoding })
    expect(await response.json()).toEqual({ accepted: 1, rejected: [] })
  })

  test('may have exactly as many bytes as the limit says, and not one more', async () => {
    expect((await post(bodyOf(LIMIT))).status).toBe(202)
    expect(await code(await post(bodyOf(LIMIT + 1)))).toEqual([413, 'too_large'])
    for (const encoding of ['gzip', 'deflate', 'br'] as const) {
      const headers = { 'content-encoding': encoding }
      expect((await post(COMPRESS[encoding](bodyOf(LIMIT)), headers)).status).toBe(202)
      expect(await code(await post(COMPRESS[encoding](bodyOf(LIMIT + 1)), headers))).toEqual([413, 'too_large'])
    }
  })

  test.each(['gzip', 'deflate', 'br'] as const)('that is a bomb of %s is stopped at the limit', async (encoding) => {
    const bomb = COMPRESS[encoding](Buffer.alloc(64 * 1024 * 1024, ' '))
    expect(bomb.length).toBeLessThan(LIMIT)
    const before = process.memoryUsage().arrayBuffers
    const answers = await Promise.all([1, 2].map(async () => code(await post(bomb, { 'content-encoding': encoding }))))
    for (const answer of answers) expect(answer).toEqual([413, 'too_large'])
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024)
    expect((await post(bodyOf(100))).status).toBe(202)
  })

  test('sent in pieces without a length is bounded as it comes', async () => {
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 10_000
        if (sent > 100 * LIMIT) controller.close()
        else controller.enqueue(new Uint8Array(10_000).fill(0x20))
      },
    })
    const answer = await post(endless).then(code, () => 'cut off')
    expect([[413, 'too_large'], 'cut off']).toContainEqual(answer)
    expect(sent).toBeLessThan(100 * LIMIT)
    const pieces = new Blob([bodyOf(200)]).stream()
    expect((await post(pieces)).status).toBe(202)
  })

  test('is refused by a Content-Length over the limit, before it is sent', async () => {
    const answer = await raw(`${HEAD}content-length: ${LIMIT + 1}\r\n\r\n`)
    expect(answer).toContain('HTTP/1.1 413')
    expect(answer.toLowerCase()).toContain('connection: close')
  })

  test('is not read past a Content-Length that is too small', async () => {
    const answer = await raw(`${HEAD}content-length: 10\r\n\r\n[{"type":"counter","name":"orders","value":1}]`)
    expect(answer).toContain('HTTP/1.1 400')
    expect(sink.measurements).toEqual([])
  })

  test('that has both a length and chunks is no HTTP', async () => {
    const answer = await raw(`${HEAD}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n`)
    expect(answer).toContain('HTTP/1.1 400')
    expect(answer).toContain('{"error":{"code":"unreadable"')
  })

  test('whose upload is aborted leaves nothing behind', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const socket = connect(gateway.port, '127.0.0.1')
      socket.on('error', () => {})
      await once(socket, 'connect')
      // each says it will fill most of what may be held at once
      socket.write(`${HEAD}content-length: ${LIMIT - 1}\r\n\r\n[{"type"`)
      socket.destroy()
    }
    await until(async () => (await post(bodyOf(LIMIT))).status === 202, 'room for another body')
    expect(sink.measurements).toHaveLength(1)
  })

  test('waits for no other: past what may be held at once, posts are refused', async () => {
    const slow = Array.from({ length: 4 }, () => connect(gateway.port, '127.0.0.1'))
    for (const socket of slow) socket.write(`${HEAD}content-length: ${LIMIT}\r\n\r\n[`)
    let last = 0
    await until(async () => (last = (await post(bodyOf(LIMIT))).status) !== 202, 'a refusal')
    expect(last).toBe(503)
    for (const socket of slow) socket.destroy()
    await until(async () => (await post(bodyOf(LIMIT))).status === 202, 'room for another body')
  })

  test.each([['gzip'], ['deflate'], ['br']])('that is no valid %s is unreadable', async (encoding) => {
    const headers = { 'content-encoding': encoding }
    expect(await code(await post('[]', headers))).toEqual([400, 'unreadable'])
    const cut = COMPRESS[encoding as keyof typeof COMPRESS](bodyOf(5_000)).subarray(0, -5)
    expect(await code(await post(cut, headers))).toEqual([400, 'unreadable'])
  })

  test.each([['compress'], ['zstd'], ['gzip, br']])('in encoding %j is unsupported', async (encoding) => {
    const response = await post('[]', { 'content-encoding': encoding })
    expect(response.headers.get('accept-encoding')).toBe('gzip, deflate, br')
    expect(await code(response)).toEqual([415, 'unsupported_encoding'])
  })

  test('is not even waited for when the headers are too large', async () => {
    const answer = await raw(`${HEAD}x: ${'y'.repeat(20_000)}\r\n\r\n`)
    expect(answer).toContain('HTTP/1.1 431')
    expect(answer).toContain('headers_too_large')
  })
})

describe('where there is no Node', () => {
  const send = (body: BodyInit, headers: Record<string, string> = {}): Promise<Response> =>
    Promise.resolve(
      createApp({ sink, maxBodyBytes: LIMIT }).request('/v1/metrics', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      }),
    )

  test.each(['gzip', 'deflate'] as const)('%s is read and bounded by the platform itself', async (encoding) => {
    const headers = { 'content-encoding': encoding }
    expect((await send(COMPRESS[encoding](bodyOf(LIMIT)), headers)).status).toBe(202)
    expect(await code(await send(COMPRESS[encoding](bodyOf(LIMIT + 1)), headers))).toEqual([413, 'too_large'])
    expect(await code(await send(COMPRESS[encoding](Buffer.alloc(64e6)), headers))).toEqual([413, 'too_large'])
    expect(await code(await send('[]', headers))).toEqual([400, 'unreadable'])
  })

  test('br is unsupported', async () => {
    const response = await send(brotliCompressSync('[]'), { 'content-encoding': 'br' })
    expect(response.headers.get('accept-encoding')).toBe('gzip, deflate')
    expect(await code(response)).toEqual([415, 'unsupported_encoding'])
  })

  test('a Content-Length that lies does not help', async () => {
    expect(await code(await send(bodyOf(LIMIT + 1), { 'content-length': '50' }))).toEqual([413, 'too_large'])
  })
})
