import { type RequestListener, createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { Agent, request as undiciRequest } from 'undici'
import { afterEach, describe, expect, test } from 'vitest'
import { Zibrato } from '../../../client/platform/node.ts'
import { type ObserveOptions, observe } from '../../../client/runtime/index.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import type { Warning } from '../../../client/warning.ts'
import { until } from '../../until.ts'

const SERVER = 'http.server.requests'
const CLIENT = 'http.client.requests'
const stops: (() => void | Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stops.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function observed(options: ObserveOptions): { z: Zibrato; metrics: MemoryMetrics } {
  const metrics = new MemoryMetrics()
  const z = new Zibrato({ transport: metrics, flushInterval: '1h' })
  const off = { eventLoop: false, gc: false, heap: false, memory: false, resources: false, cpu: false }
  const observing = observe(z, { ...off, http: false, undici: false, ...options })
  stops.push(() => observing.stop())
  return { z, metrics }
}

/** Once so many requests have been counted under these tags. */
async function expectCounted(
  { z, metrics }: ReturnType<typeof observed>,
  count: number,
  name: string,
  tags = {},
): Promise<void> {
  await until(
    async () => {
      await z.flush()
      return metrics.count(name, { tags }) === count
    },
    `${count} requests of ${JSON.stringify(tags)}`,
  )
}

const answer: RequestListener = (incoming, response) => {
  response.statusCode = Number(incoming.url?.slice(1, 4)) || 200
  response.end('body')
}

describe('observing http servers', () => {
  test('times requests by method and class of status', async () => {
    const url = await serve(answer)
    const setup = observed({ http: true })
    await Promise.all(['/200', '/201', '/404', '/500'].map(async (path) => (await fetch(url + path)).text()))
    await fetch(url, { method: 'POST', body: 'x' })
    await new Promise((resolve) => request(url, { method: 'PURGE' }).on('response', resolve).end())
    await expectCounted(setup, 2, SERVER, { method: 'GET', status: '2xx' })
    await expectCounted(setup, 1, SERVER, { method: 'GET', status: '4xx' })
    await expectCounted(setup, 1, SERVER, { method: 'GET', status: '5xx' })
    await expectCounted(setup, 1, SERVER, { method: 'POST', status: '2xx' })
    await expectCounted(setup, 1, SERVER, { method: 'other', status: '2xx' })
    await expectCounted(setup, 6, SERVER)
    expect(setup.metrics.sum(SERVER)).toBeGreaterThan(0)
    // one series for each method and class, and no other tags
    expect(setup.metrics.series().filter(({ name }) => name === SERVER)).toHaveLength(5)
    expect(setup.metrics.last('http.server.active')).toBe(0)
  })

  test('counts those whose client went away as aborted, and those that are being answered', async () => {
    const url = await serve(() => {})
    const setup = observed({ http: true })
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(async () => {
      await setup.z.flush()
      return setup.metrics.last('http.server.active') === 1
    })
    socket.destroy()
    await expectCounted(setup, 1, SERVER, { method: 'GET', status: 'aborted' })
    expect(setup.metrics.last('http.server.active')).toBe(0)
  })

  test('adds the route that a function names, asked when the request has ended', async () => {
    const url = await serve((incoming, response) => {
      // as a router does once it knows
      Object.assign(incoming, { route: { path: '/users/:id' } })
      answer(incoming, response)
    })
    const route = (incoming: object): string | undefined => (incoming as { route?: { path: string } }).route?.path
    const setup = observed({ http: { route } })
    await (await fetch(`${url}/users/17`)).text()
    await expectCounted(setup, 1, SERVER, { route: '/users/:id', status: '2xx' })
  })

  test('times requests also when a route throws, and says so once', async () => {
    const url = await serve(answer)
    const told: Warning[] = []
    const setup = observed({
      http: {
        route: () => {
          throw new Error('no router')
        },
      },
      onWarning: (warning) => {
        told.push(warning)
        throw new Error('nor anybody who listens')
      },
    })
    await Promise.all([1, 2, 3].map(async () => (await fetch(url)).text()))
    await expectCounted(setup, 3, SERVER, { method: 'GET', status: '2xx' })
    expect(told).toEqual([
      {
        code: 'ZIBRATO_ROUTE',
        message: 'observe: http.route threw: no router; its requests have no tag "route"',
      },
    ])
  })
})

describe('observing undici', () => {
  test('times what fetch and undici ask for, by method and class of status', async () => {
    const url = await serve(answer)
    const setup = observed({ undici: true })
    const dispatcher = new Agent()
    stops.push(() => dispatcher.close())
    await Promise.all([
      ...['/200', '/404'].map(async (path) => (await fetch(url + path)).text()),
      ...['/200', '/503'].map(async (path) =>
        (await undiciRequest(url + path, { method: 'PUT', dispatcher })).body.text(),
      ),
    ])
    await expectCounted(setup, 1, CLIENT, { method: 'GET', status: '2xx' })
    await expectCounted(setup, 1, CLIENT, { method: 'GET', status: '4xx' })
    await expectCounted(setup, 1, CLIENT, { method: 'PUT', status: '2xx' })
    await expectCounted(setup, 1, CLIENT, { method: 'PUT', status: '5xx' })
    await expectCounted(setup, 4, CLIENT)
    expect(setup.metrics.sum(CLIENT)).toBeGreaterThan(0)
  })

  test('counts requests that fail or are given up as errors', async () => {
    const url = await serve((incoming, response) => {
      if (incoming.url === '/cut') incoming.socket.destroy()
      else if (incoming.url === '/half') response.write('half')
    })
    const setup = observed({ undici: true })
    await expect(fetch(`${url}/cut`)).rejects.toThrow('fetch failed')
    const giveUp = new AbortController()
    const half = await fetch(`${url}/half`, { signal: giveUp.signal })
    giveUp.abort()
    await expect(half.text()).rejects.toThrow('aborted')
    await expectCounted(setup, 2, CLIENT, { method: 'GET', status: 'error' })
  })

  test('adds the route that a function names', async () => {
    const url = await serve(answer)
    const setup = observed({ undici: { route: ({ origin }) => new URL(String(origin)).hostname } })
    await (await fetch(`${url}/200`)).text()
    await expectCounted(setup, 1, CLIENT, { route: '127.0.0.1', status: '2xx' })
  })
})
