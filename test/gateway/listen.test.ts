import { Agent, request } from 'node:http'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../client/errors.ts'
import { Gateway, startGateway } from '../../gateway/index.ts'
import { until } from '../until.ts'
import { FakeSink } from './fake-sink.ts'

const started: Gateway[] = []
const sink = new FakeSink()

async function start(options: Partial<ConstructorParameters<typeof Gateway>[0]> = {}): Promise<Gateway> {
  const gateway = await startGateway({ sink, port: 0, ...options })
  started.push(gateway)
  return gateway
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((gateway) => gateway.close({ timeoutMs: 100 })))
})

describe('a gateway', () => {
  test('picks a free port and says which', async () => {
    const gateway = await start()
    expect(gateway.port).toBeGreaterThan(0)
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200)
  })

  test('says in one line that its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const error = await start({ port }).catch((caught: unknown) => caught as Error & { code: string })
    expect(error).toMatchObject({ code: 'ERR_LISTEN' })
    expect((error as Error).message).toBe(
      `gateway: cannot listen on 127.0.0.1:${port}: port ${port} is taken; stop whoever holds it or choose another with --http`,
    )
    other.close()
  })

  test('says in one line that its host is none of this machine, or has no address', async () => {
    await expect(start({ host: '192.0.2.1', insecure: true })).rejects.toThrow(
      'gateway: cannot listen on 192.0.2.1:0: the host is not an address of this machine',
    )
    await expect(start({ host: 'no such host' })).rejects.toThrow(UsageError)
  })

  test.each([[-1], [65_536], [1.5], [Number.NaN]])('refuses port %d', async (port) => {
    await expect(start({ port })).rejects.toThrow(UsageError)
  })

  test('does not listen beyond loopback without tokens, unless told to', async () => {
    await expect(start({ host: '0.0.0.0' })).rejects.toThrow(/--token .*--insecure/)
    await start({ host: '0.0.0.0', insecure: true })
    await start({ host: '0.0.0.0', tokens: [{ name: 'a', secret: 'b' }] })
    await start({ host: 'localhost' })
    await start({ host: '127.0.0.9' })
  })

  test('can be started again on the port it let go of', async () => {
    const first = await start()
    await (await fetch(`${first.url}/healthz`)).text()
    await first.close()
    const second = await start({ port: first.port })
    expect(second.port).toBe(first.port)
  })

  test('turns away more connections than it may have', async () => {
    const gateway = await start({ maxConnections: 2 })
    const sockets = Array.from({ length: 3 }, () => connect(gateway.port, '127.0.0.1').on('error', () => {}))
    await until(() => gateway.turnedAway > 0)
    expect(gateway.turnedAway).toBe(1)
    for (const socket of sockets) socket.destroy()
  })

  test('answers what is in flight when it closes, and drops idle and silent connections', async () => {
    let settle!: (taken: boolean) => void
    const slow = new FakeSink()
    slow.ready = new Promise((resolve) => (settle = resolve))
    const gateway = await start({ sink: slow })
    const agent = new Agent({ keepAlive: true })
    const idle = request(`${gateway.url}/healthz`, { agent }).end()
    const [response] = await once(idle, 'response')
    response.resume()
    await once(response, 'end')
    const silent = connect(gateway.port, '127.0.0.1')
    await once(silent, 'connect')
    const answer = fetch(`${gateway.url}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '[{"type":"counter","name":"c","value":1}]',
    })
    await until(() => slow.measurements.length === 1)
    let closed = false
    const closing = gateway.close({ timeoutMs: 60_000 }).then(() => (closed = true))
    await once(silent.resume(), 'close')
    await expect(fetch(`${gateway.url}/healthz`)).rejects.toThrow('fetch failed')
    expect(closed).toBe(false)
    settle(true)
    expect((await answer).status).toBe(202)
    await closing
    agent.destroy()
  })

  test('cuts off what has not ended in time when it closes', async () => {
    const gateway = await start()
    const socket = connect(gateway.port, '127.0.0.1').on('error', () => {})
    socket.write('POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[')
    await once(socket, 'connect')
    await (await fetch(`${gateway.url}/healthz`)).text()
    await gateway.close({ timeoutMs: 50 })
    await gateway.close()
    await expect(fetch(`${gateway.url}/healthz`)).rejects.toThrow('fetch failed')
  })
})
