import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { request } from 'undici'
import type { ZibratoOptions } from '../../client/options.ts'
import type { ZibratoStats } from '../../client/stats.ts'
import { DIST } from './processes.ts'

/** What an isolate's client is made with, and whether its Worker is measured besides its orders. */
export interface IsolateOptions extends Pick<ZibratoOptions, 'source' | 'flushInterval' | 'waitingBytes'> {
  readonly metrics: boolean
}

const WORKER = `
  import { env } from 'cloudflare:workers'
  import { Zibrato, instrument } from 'DIST/client/edge.js'
  const { metrics, ...options } = env.OPTIONS
  const z = new Zibrato({ ...options, onWarning: () => {} })
  const orders = z.counter('orders')
  export default instrument(z, {
    async fetch(request) {
      const asked = new URL(request.url).pathname.split('/').at(-1)
      if (asked === 'stats') return Response.json(z.stats())
      for (let count = Number(asked); count > 0; count--) orders.inc()
      if (metrics) z.timer('work').record(0.25)
      return new Response('ok')
    },
  }, ({ GATEWAY }) => ({ url: GATEWAY }), { metrics, route: () => '/' })
`
const ROUTER = `
  export default {
    fetch: (request, env) => env[new URL(request.url).pathname.split('/')[1]].fetch(request)
  }
`

let script: Promise<string> | undefined

function bundled(): Promise<string> {
  script ??= build({
    stdin: { contents: WORKER.replaceAll('DIST', DIST), resolveDir: DIST },
    bundle: true,
    format: 'esm',
    external: ['cloudflare:workers'],
    write: false,
  }).then(({ outputFiles }) => outputFiles[0]?.text ?? '')
  return script
}

/** Isolates of one workerd, which count orders and post them to a gateway; dispose of it, and what they hold is gone. */
export class Isolates implements AsyncDisposable {
  readonly length: number
  readonly #miniflare: Miniflare
  readonly #url: URL
  #disposed: Promise<void> | undefined

  private constructor(miniflare: Miniflare, url: URL, length: number) {
    this.#miniflare = miniflare
    this.#url = url
    this.length = length
  }

  static async start(gateway: string, isolates: readonly IsolateOptions[]): Promise<Isolates> {
    const options = { modules: true, compatibilityDate: '2026-01-01' } as const
    const names = isolates.map((_, index) => `i${index}`)
    const code = await bundled()
    const miniflare = new Miniflare({
      workers: [
        { ...options, name: 'router', script: ROUTER, serviceBindings: Object.fromEntries(names.map((n) => [n, n])) },
        ...isolates.map((OPTIONS, index) => ({
          ...options,
          name: `i${index}`,
          script: code,
          bindings: { GATEWAY: gateway, OPTIONS: { ...OPTIONS } },
        })),
      ],
    })
    return new Isolates(miniflare, await miniflare.ready, isolates.length)
  }

  /** Has one of them count orders, one by one; answers what it answers. */
  order(index: number, count = 1): Promise<string> {
    return this.#get(`/i${index}/${count}`)
  }

  /** How each of them is. Those that are measured count being asked, and post that. */
  async stats(): Promise<ZibratoStats[]> {
    const asked = Array.from({ length: this.length }, (_, index) => this.#get(`/i${index}/stats`))
    return (await Promise.all(asked)).map((text) => JSON.parse(text) as ZibratoStats)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#miniflare.dispose()
    return this.#disposed
  }

  /** On a connection of its own: one that is kept may be closed at the moment at which it is used again. */
  async #get(path: string): Promise<string> {
    const { body } = await request(new URL(path, this.#url), { reset: true })
    return body.text()
  }
}

/** Frames that clients say they gave up: those that may have arrived, those that cannot have, and all. */
export function lostBy(clients: readonly ZibratoStats[]): { unknown: number; dropped: number; frames: number } {
  const unknown = clients.reduce((sum, stats) => sum + stats.unknown, 0)
  const dropped = clients.flatMap((stats) => Object.values(stats.dropped)).reduce((sum, count) => sum + count, 0)
  return { unknown, dropped, frames: unknown + dropped }
}
