import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { Registry } from '../../../client/registry/index.ts'
import { HttpReporter, PROMETHEUS_CONTENT_TYPE, StreamReporter } from '../../../client/reporters/index.ts'
import { until } from '../../until.ts'

const cleanUps: (() => Promise<unknown> | void)[] = []

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

function orders(): Registry {
  const registry = new Registry()
  registry.counter('shop.orders').inc(3)
  return registry
}

describe('an HTTP reporter', () => {
  test('answers JSON at / and Prometheus text at /metrics, on loopback, until it is stopped', async () => {
    await using reporter = new HttpReporter(0, { registry: orders() })
    expect(reporter.url).toBeUndefined()
    await reporter.start()
    const url = reporter.url as string
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
    const json = await fetch(url)
    expect(json.headers.get('content-type')).toBe('application/json')
    expect(await json.json()).toEqual({ shop: { orders: { value: 3 } } })
    const text = await fetch(new URL('metrics', url))
    expect(text.headers.get('content-type')).toBe(PROMETHEUS_CONTENT_TYPE)
    expect(await text.text()).toContain('shop_orders_total 3\n')
    expect((await fetch(new URL('other', url))).status).toBe(404)
    expect((await fetch(url, { method: 'POST', body: '' })).status).toBe(405)
    const head = await fetch(url, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
    await reporter.stop()
    await expect(fetch(url)).rejects.toThrow('fetch failed')
  })

  test('is open to others only with a token, or when told to be', async () => {
    const registry = orders()
    await expect(new HttpReporter(0, { registry, host: '0.0.0.0' }).start()).rejects.toThrow(UsageError)
    await expect(new HttpReporter(0, { registry, host: '0.0.0.0' }).start()).rejects.toThrow(
      'HttpReporter: 0.0.0.0:0 would be open to others; give a token, or insecure: true if that is meant',
    )
    await using insecure = new HttpReporter(0, { registry, host: '0.0.0.0', insecure: true })
    await insecure.start()
    await using closed = new HttpReporter(0, { registry, host: '0.0.0.0', token: 's3cret' })
    await closed.start()
    const url = `http://127.0.0.1:${new URL(closed.url as string).port}/metrics`
    const ask = async (authorization: string): Promise<number> =>
      (await fetch(url, { headers: { authorization } })).status
    expect([await ask(''), await ask('Bearer s3cre'), await ask('Bearer s3cret')]).toEqual([401, 401, 200])
  })

  test('says which port is taken, and may be started once it is free', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await using reporter = new HttpReporter(port, { registry: orders() })
    await expect(reporter.start()).rejects.toThrow(
      `HttpReporter: cannot listen on 127.0.0.1:${port}: port ${port} is taken`,
    )
    taken.close()
    await once(taken, 'close')
    await reporter.start()
    expect((await fetch(reporter.url as string)).status).toBe(200)
  })

  test('is mounted in Hono', async () => {
    const reporter = new HttpReporter(0, { registry: orders() })
    const app = new Hono()
    app.mount('/stats', reporter.fetch)
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
    cleanUps.push(() => void server.close())
    await until(() => server.address() !== null)
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/stats`
    expect(await (await fetch(url)).json()).toEqual({ shop: { orders: { value: 3 } } })
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('shop_orders_total 3\n')
    expect((await fetch(`${url}/other`)).status).toBe(404)
  })

  test('is a handler of node:http, as Express mounts them', async () => {
    const reporter = new HttpReporter(0, { registry: orders(), token: 't' })
    const server = createServer((request, response) => {
      // Express takes off what it mounted at
      request.url = request.url?.replace(/^\/stats/, '') ?? ''
      reporter.handler(request, response)
    }).listen(0, '127.0.0.1')
    cleanUps.push(() => void server.close())
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/stats`
    const headers = { authorization: 'Bearer t' }
    expect(await (await fetch(url, { headers })).json()).toEqual({ shop: { orders: { value: 3 } } })
    expect(await (await fetch(`${url}/metrics`, { headers })).text()).toContain('shop_orders_total 3\n')
    expect((await fetch(`${url}/metrics`)).status).toBe(401)
  })
})

describe('a stream reporter', () => {
  test('waits for a stream that does not keep up, and leaves out the turns meanwhile', async () => {
    const stream = new PassThrough({ highWaterMark: 1 })
    const registry = orders()
    await using reporter = new StreamReporter({ registry, stream, interval: 5, timeout: '10s' })
    await reporter.start()
    // the first line is taken, the next waits until somebody reads
    await until(() => reporter.skipped > 5)
    expect(stream.readableLength + stream.writableLength).toBeLessThan(120)
    const before = reporter.reports
    stream.resume()
    await until(() => reporter.reports > before)
  })

  test('outlives a stream that breaks', async () => {
    const stream = new PassThrough()
    await using reporter = new StreamReporter({ registry: orders(), stream, interval: 5 })
    await reporter.start()
    await until(() => reporter.reports > 0)
    stream.destroy(new Error('the disk is full'))
    await until(() => reporter.errors > 1)
    await reporter.stop()
    expect(stream.listenerCount('error')).toBe(0)
  })
})
