import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { until } from '../../until.ts'
import { accept, type GatewayDouble, respond } from '../transport/gateway-double.ts'
import { Edge } from './workers.ts'

// a Worker in all its kinds, whose handlers use what they are called on
const WORKER = `
  import { Zibrato, instrument } from 'zibrato/edge'
  const warnings = []
  const z = new Zibrato({ source: 'edge', onWarning: ({ code, message }) => warnings.push(code + ' ' + message) })
  const hits = z.counter('hits')
  class Shop {
    #open = true
    async fetch(request, env, ctx) {
      const { pathname } = new URL(request.url)
      if (pathname === '/stats') return Response.json({ ...z.stats(), warnings })
      hits.inc()
      if (!this.#open || !ctx.waitUntil) throw new Error('called on another')
      if (pathname === '/throws') throw new TypeError('no such item')
      if (pathname === '/items/5') return new Response('five', { status: 404, headers: { 'x-item': '5' } })
      if (pathname === '/stream') {
        const { readable, writable } = new TransformStream()
        const writer = writable.getWriter()
        const write = async () => {
          await writer.write(new TextEncoder().encode('first '))
          await fetch(env.GATE)
          await writer.write(new TextEncoder().encode('last'))
          await writer.close()
        }
        ctx.waitUntil(write())
        // miniflare holds back what it may compress
        return new Response(readable, { headers: { 'content-type': 'text/event-stream' } })
      }
      return new Response('ok ' + request.method)
    }
    scheduled(controller) {
      if (!this.#open) throw new Error('called on another')
      hits.inc(10)
    }
    async queue(batch) {
      if (!this.#open) throw new Error('called on another')
      hits.inc(100)
      if (batch.messages.length > 1) throw new Error('too many')
    }
  }
  const route = (request) => new URL(request.url).pathname.replace(/\\d+/, ':id')
  export default instrument(z, new Shop(), CONNECT, OPTIONS)
`
const CONNECT = '(env) => ({ url: env.URL, token: env.TOKEN })'

function source({ connect = CONNECT, options = '{ route }' } = {}): string {
  return WORKER.replace('CONNECT', connect).replace('OPTIONS', options)
}

/** Every frame's entries of a name, as tag=value,... and what was recorded. */
function entriesOf(gateway: GatewayDouble, name: string): string[] {
  return gateway.posts
    .flatMap(({ frames }) => frames)
    .flatMap(({ entries }) => entries)
    .filter(({ series }) => series.name === name)
    .map(({ series, aggregate }) => {
      const tags = Object.entries(series.tags).map(([tag, value]) => `${tag}=${value}`)
      return `${tags.join(',')} ${'value' in aggregate ? aggregate.value : 'count' in aggregate ? aggregate.count : ''}`
    })
    .sort()
}

async function statsOf(worker: { dispatchFetch(url: string): Promise<{ json(): Promise<unknown> }> }): Promise<{
  warnings: string[]
  dropped: Record<string, number>
  waiting: number
}> {
  return (await (await worker.dispatchFetch('http://shop/stats')).json()) as never
}

/** What miniflare calls a Worker's other handlers by. */
interface Fetcher {
  scheduled(options: { cron: string }): Promise<{ outcome: string }>
  queue(name: string, messages: readonly object[]): Promise<{ outcome: string }>
}

describe('an instrumented Worker', () => {
  test('counts and times requests by route, method and class of status, errors and the cold start', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    const worker = await edge.worker(source(), { bindings: { URL: gateway.url, TOKEN: 'secret' } })
    const get = async (path: string, init = {}): Promise<string> =>
      (await worker.dispatchFetch(`http://shop${path}`, init)).text()
    expect(await get('/items/1', { method: 'POST', body: 'x' })).toBe('ok POST')
    expect(await get('/items/5')).toBe('five')
    expect(await get('/items/7', { method: 'PROPFIND' })).toBe('ok PROPFIND')
    expect(await get('/throws')).toMatch(/^TypeError: no such item/)
    await until(() => gateway.sum('hits') === 4 && gateway.sum('worker.errors') === 1)
    expect(gateway.posts[0]?.headers['authorization']).toBe('Bearer secret')
    expect(entriesOf(gateway, 'worker.requests')).toEqual([
      'handler=fetch,method=GET,route=/items/:id,status=4xx 1',
      'handler=fetch,method=GET,route=/throws,status=error 1',
      'handler=fetch,method=POST,route=/items/:id,status=2xx 1',
      'handler=fetch,method=other,route=/items/:id,status=2xx 1',
    ])
    expect(entriesOf(gateway, 'worker.duration')).toEqual([
      'handler=fetch,method=GET,route=/items/:id 1',
      'handler=fetch,method=GET,route=/throws 1',
      'handler=fetch,method=POST,route=/items/:id 1',
      'handler=fetch,method=other,route=/items/:id 1',
    ])
    expect(entriesOf(gateway, 'worker.errors')).toEqual(['handler=fetch,method=GET,route=/throws 1'])
    expect(entriesOf(gateway, 'worker.cold_starts')).toEqual([' 1'])
    // made while the module loaded, when there was no time yet
    for (const frame of gateway.posts.flatMap(({ frames }) => frames)) expect(frame.spanMs).toBeLessThan(86_400_000)
  })

  test('handles what is scheduled and queued, each counted by its name', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    const worker = await edge.worker(source(), { bindings: { URL: gateway.url } })
    const fetcher = (await worker.getWorker()) as unknown as Fetcher
    expect((await fetcher.scheduled({ cron: '*/5 * * * *' })).outcome).toBe('ok')
    const message = (id: string): { id: string; timestamp: Date; attempts: number; body: string } => ({
      id,
      timestamp: new Date(),
      attempts: 1,
      body: 'x',
    })
    expect((await fetcher.queue('mails', [message('a')])).outcome).toBe('ok')
    expect((await fetcher.queue('mails', [message('a'), message('b')])).outcome).toBe('exception')
    await until(() => gateway.sum('hits') === 210)
    expect(entriesOf(gateway, 'worker.requests')).toEqual(
      [
        'handler=queue,queue=mails,status=error 1',
        'handler=queue,queue=mails,status=ok 1',
        'cron=*/5 * * * *,handler=scheduled,status=ok 1',
      ].sort(),
    )
    expect(entriesOf(gateway, 'worker.errors')).toEqual(['handler=queue,queue=mails 1'])
  })

  test('answers as it did, streams as they come', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    let open = (): void => {}
    const opened = new Promise<void>((resolve) => (open = resolve))
    const gate = createServer((_, response) => void opened.then(() => response.end()))
    await new Promise<void>((resolve) => gate.listen(0, '127.0.0.1', resolve))
    try {
      const bindings = { URL: gateway.url, GATE: `http://127.0.0.1:${(gate.address() as AddressInfo).port}` }
      const worker = await edge.worker(source(), { bindings })
      const plain = await worker.dispatchFetch('http://shop/items/5')
      expect([plain.status, plain.headers.get('x-item'), await plain.text()]).toEqual([404, '5', 'five'])
      const streamed = await fetch(new URL('/stream', await worker.ready))
      const reader = streamed.body?.getReader()
      const read = async (): Promise<string> => new TextDecoder().decode((await reader?.read())?.value)
      expect(await read()).toBe('first ')
      // what the request measured is there before its stream has ended
      await until(() => gateway.sum('hits') === 2)
      open()
      expect(await read()).toBe('last')
    } finally {
      gate.close()
    }
  })

  test('leaves its own figures out when told to, and takes url and token of its variables', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    const worker = await edge.worker(source({ connect: 'undefined', options: '{ metrics: false }' }), {
      bindings: { ZIBRATO_URL: gateway.url, ZIBRATO_TOKEN: 'from-env' },
    })
    await (await worker.dispatchFetch('http://shop/')).text()
    await until(() => gateway.sum('hits') === 1)
    const names = gateway.posts.flatMap(({ frames }) =>
      frames.flatMap(({ entries }) => entries.map(({ series }) => series.name)),
    )
    expect(names).toEqual(['hits'])
    expect(gateway.posts[0]?.headers['authorization']).toBe('Bearer from-env')
  })

  test('posts to a service binding in place of a url', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    const worker = await edge.worker(source({ connect: '(env) => ({ binding: env.GATEWAY, token: "t" })' }), {
      serviceBindings: {
        GATEWAY: async (request: Request) => {
          const { pathname } = new URL(request.url)
          const body = await request.arrayBuffer()
          const headers = Object.fromEntries(request.headers) as Record<string, string>
          const answer = await fetch(gateway.url + pathname, { method: request.method, headers, body })
          return new Response(await answer.text(), { status: answer.status }) as never
        },
      },
    })
    await (await worker.dispatchFetch('http://shop/')).text()
    await until(() => gateway.sum('hits') === 1)
    expect(gateway.posts[0]?.headers['authorization']).toBe('Bearer t')
  })

  test('sends what requests measured at the same time in fewer posts than requests', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    const worker = await edge.worker(source().replace("source: 'edge'", 'linger: 1_000'), {
      bindings: { URL: gateway.url },
    })
    await Promise.all(Array.from({ length: 40 }, async () => (await worker.dispatchFetch('http://shop/')).text()))
    await until(() => gateway.sum('hits') === 40)
    expect(gateway.posts.length).toBeLessThan(40)
    expect((await statsOf(worker)).dropped).toEqual({})
  })

  test.each<[string, (gateway: GatewayDouble) => void, { connect?: string }, RegExp, boolean]>([
    [
      'a token that the gateway refuses',
      (gateway) => (gateway.answer = (_, response) => respond(response, 401, { error: { code: 'unauthorized' } })),
      {},
      /^ZIBRATO_TRANSPORT .*answered 401/,
      true,
    ],
    [
      'a body that is too large for it',
      (gateway) => (gateway.answer = (_, response) => respond(response, 413, {})),
      {},
      /^ZIBRATO_TRANSPORT .*answered 413/,
      true,
    ],
    ['no gateway at all', (gateway) => void gateway.stop(), {}, /^ZIBRATO_TRANSPORT .*gave no answer/, false],
    [
      'settings that throw',
      () => {},
      { connect: '() => { throw new Error("no such secret") }' },
      /^ZIBRATO_NO_URL no such secret$/,
      true,
    ],
    [
      'settings that make no sense',
      () => {},
      { connect: '() => ({ url: "metrics.example.com" })' },
      /^ZIBRATO_NO_URL .*write https:/,
      true,
    ],
    [
      'settings that are none',
      () => {},
      { connect: '() => 5' },
      /^ZIBRATO_NO_URL .*url undefined is no gateway's; write https:/,
      true,
    ],
    ['no settings', () => {}, { connect: '() => undefined' }, /^ZIBRATO_NO_URL no url/, true],
  ])('answers as if nothing had happened with %s, and says so', async (_, arrange, parts, warning, drops) => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    const bindings = { URL: gateway.url, TOKEN: 'wrong' }
    arrange(gateway)
    const worker = await edge.worker(source(parts), { bindings })
    for (let times = 0; times < 3; times++) {
      const answer = await worker.dispatchFetch('http://shop/items/5')
      expect([answer.status, await answer.text()]).toEqual([404, 'five'])
    }
    await until(async () => (await statsOf(worker)).warnings.length > 0)
    const stats = await statsOf(worker)
    expect(stats.warnings[0]).toMatch(warning)
    expect(stats.warnings.filter((each) => each.startsWith('ZIBRATO_NO_URL')).length).toBeLessThan(2)
    await until(async () => Object.keys((await statsOf(worker)).dropped).length > 0 === drops)
  })

  test('says with the next success how much was dropped', async () => {
    await using edge = new Edge()
    const gateway = await edge.gateway()
    gateway.next.push((_, response) => respond(response, 400, {}))
    const worker = await edge.worker(source({ options: '{ metrics: false }' }), { bindings: { URL: gateway.url } })
    await (await worker.dispatchFetch('http://shop/')).text()
    await until(async () => (await statsOf(worker)).dropped['refused'] === 1)
    gateway.answer = accept
    await (await worker.dispatchFetch('http://shop/')).text()
    await until(() => gateway.sum('zibrato.dropped') === 1)
    expect(entriesOf(gateway, 'zibrato.dropped')).toEqual(['reason=refused 1'])
  })
})
