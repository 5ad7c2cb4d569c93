import { type Server, createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Connection, type ConnectionRequest } from '../../../client/transport/connection.ts'
import { until } from '../../until.ts'

/** How a server treats requests on a connection that had some before. */
let treat: 'answer' | 'reset' | 'silence'
let server: Server
let connection: Connection
const sockets: Socket[] = []
const bodies: string[] = []

beforeEach(async () => {
  treat = 'answer'
  sockets.length = 0
  bodies.length = 0
  connection = new Connection()
  server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      bodies.push(body)
      const isUsed = sockets.includes(request.socket)
      sockets.push(request.socket)
      if (isUsed && treat === 'reset') request.socket.resetAndDestroy()
      else if (!isUsed || treat === 'answer') response.writeHead(202, { 'x-name': 'value' }).end(`took ${body}`)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  vi.useRealTimers()
  connection.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

async function post(text: string, request: Partial<ConnectionRequest> = {}): Promise<string> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const body = new TextEncoder().encode(text)
  const signal = AbortSignal.timeout(30_000)
  const answer = await connection.request(url, { method: 'POST', headers: {}, body, signal, ...request })
  expect([answer.status, answer.headers.get('X-Name'), answer.headers.get('nothing')]).toEqual([202, 'value', null])
  return answer.text()
}

describe('a connection of a program that may be frozen', () => {
  test('is kept from one request to the next', async () => {
    for (const text of ['one', 'two', 'three']) expect(await post(text)).toBe(`took ${text}`)
    expect(new Set(sockets).size).toBe(1)
  })

  test.each(['reset', 'silence'] as const)(
    'is made anew for the same request when the old one ends in %s',
    async (how) => {
      connection.patienceMs = 50
      await post('one')
      treat = how
      expect(await post('two')).toBe('took two')
      expect(bodies).toEqual(['one', 'two', 'two'])
      expect(new Set(sockets).size).toBe(2)
      expect(connection.renewed).toBe(1)
    },
  )

  test('is made anew when it was idle for long, by the clock on the wall, or that was set back', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    await post('one')
    vi.setSystemTime(Date.now() + 60_000)
    await post('two')
    vi.setSystemTime(Date.now() - 3_600_000)
    await post('three')
    expect(new Set(sockets).size).toBe(3)
    expect(connection.renewed).toBe(0)
  })

  test('does not try again what failed on a new one, nor what was given up', async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    const { port } = { port: 9 }
    const request = { method: 'GET', headers: {}, signal: AbortSignal.timeout(30_000) } as const
    await expect(connection.request(`http://127.0.0.1:${port}/`, request)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    await post('one')
    treat = 'silence'
    const abort = new AbortController()
    const given = post('two', { signal: abort.signal })
    await until(() => bodies.length === 2)
    abort.abort()
    await expect(given).rejects.toMatchObject({ name: 'AbortError' })
    expect(connection.renewed).toBe(0)
  })

  test('reads an answer to its end, but keeps only so much of it', async () => {
    expect((await post('x'.repeat(300_000))).length).toBeLessThan(150_000)
    await post('next')
    expect(new Set(sockets).size).toBe(1)
  })

  test('is closed once it is not used any more, though others took its place meanwhile', async () => {
    treat = 'silence'
    let release = (): void => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    server.removeAllListeners('request')
    const seen: Socket[] = []
    server.on('request', (request, response) => {
      seen.push(request.socket)
      const isFirst = seen.length === 1
      request
        .resume()
        .on(
          'end',
          () =>
            void (isFirst ? held : Promise.resolve()).then(() => response.writeHead(202, { 'x-name': 'value' }).end()),
        )
    })
    const first = post('one')
    await until(() => seen.length === 1)
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.setSystemTime(Date.now() + 60_000)
    await post('two')
    await post('three')
    expect(seen[1]).toBe(seen[2])
    expect(seen[1]).not.toBe(seen[0])
    release()
    await first
    await until(() => seen[0]?.destroyed === true, 'the retired connection is closed')
    expect(seen[1]?.destroyed).toBe(false)
  })
})
