import { fileURLToPath } from 'node:url'
import { type BuildResult, build } from 'esbuild'
import { Miniflare } from 'miniflare'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/edge.ts'
import type { Warning } from '../../../client/warning.ts'
import { until } from '../../until.ts'
import { GatewayDouble, respond } from '../transport/gateway-double.ts'

const EDGE = fileURLToPath(new URL('../../../client/edge.ts', import.meta.url))
const WORKER = `
import { Zibrato } from ${JSON.stringify(EDGE)}
let z
export default {
  async fetch(request, env, ctx) {
    z ??= new Zibrato({ url: env.GATEWAY, token: env.TOKEN, source: 'edge' })
    const { pathname } = new URL(request.url)
    z.counter('hits').with({ path: pathname }).inc()
    const answer = await z.timer('work').time(async () => 'done ' + pathname)
    ctx.waitUntil(z.flush())
    return new Response(answer)
  },
}
`
// the same, in module scope: nothing there may need a request
const GLOBAL = WORKER.replace(
  'let z\n',
  "const z = new Zibrato({ url: 'GATEWAY' })\nconst hits = z.counter('hits')\n",
).replace(/z \?\?= .*\n/, '')

let worker = ''
let bundle: BuildResult<{ write: false; metafile: true }>
const stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  bundle = await build({
    entryPoints: [EDGE],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
    metafile: true,
  })
  worker = await bundled(WORKER)
})

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()))
})

async function bundled(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: '/', loader: 'js' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

async function start(script: string, bindings: Record<string, string>): Promise<Miniflare> {
  const miniflare = new Miniflare({ modules: true, script, compatibilityDate: '2025-09-01', bindings })
  stops.push(() => miniflare.dispose())
  await miniflare.ready
  return miniflare
}

async function gateway(): Promise<GatewayDouble> {
  const double = await GatewayDouble.start()
  stops.push(() => double.stop())
  return double
}

describe('zibrato/edge', () => {
  test('bundles without externals and needs nothing of Node', () => {
    const [output] = Object.values(bundle.metafile.outputs)
    expect(output?.imports).toEqual([])
    const text = bundle.outputFiles[0]?.text ?? ''
    expect(text).not.toMatch(/["'`]node:|require\(|zeromq/)
    // worth a look when it grows; 9 kB of it travel compressed
    console.log(`zibrato/edge: ${text.length} bytes minified`)
    expect(text.length).toBeLessThan(64_000)
  })

  test('counts in a Worker, whose requests post to a gateway from waitUntil', async () => {
    const double = await gateway()
    const miniflare = await start(worker, { GATEWAY: double.url, TOKEN: 'secret' })
    for (let request = 0; request < 20; request++) {
      const response = await miniflare.dispatchFetch(`http://worker/${request % 2}`)
      expect(await response.text()).toBe(`done /${request % 2}`)
    }
    await until(() => double.sum('hits') === 20)
    expect(double.posts[0]?.headers['authorization']).toBe('Bearer secret')
    const entries = double.posts.flatMap(({ frames }) => frames).flatMap((frame) => frame.entries)
    expect(new Set(entries.map(({ series }) => series.source))).toEqual(new Set(['edge']))
    expect(entries.some(({ series }) => series.name === 'work' && series.type === 'timer')).toBe(true)
  })

  test('counts requests that overlap', async () => {
    const double = await gateway()
    const miniflare = await start(worker, { GATEWAY: double.url, TOKEN: 'secret' })
    await Promise.all(Array.from({ length: 50 }, async () => (await miniflare.dispatchFetch('http://worker/x')).text()))
    await until(() => double.sum('hits') === 50)
    expect(new Set(double.posts.flatMap(({ frames }) => frames.map(({ publisher }) => publisher))).size).toBe(1)
  })

  test('sends the same bytes again with a later request when the gateway failed', async () => {
    const double = await gateway()
    double.next.push((_, response) => respond(response, 503, {}))
    const miniflare = await start(worker, { GATEWAY: double.url, TOKEN: 'secret' })
    await (await miniflare.dispatchFetch('http://worker/x')).text()
    await until(() => double.posts.length >= 1)
    await until(async () => {
      await (await miniflare.dispatchFetch('http://worker/x')).text()
      return double.posts.length >= 3
    })
    const frames = double.posts.flatMap(({ frames: each }) => each.map(({ shard, seq }) => `${shard} ${seq}`))
    expect(frames.length).toBeGreaterThan(new Set(frames).size)
  })

  test('can be made in module scope, where there are no timers and no random values', async () => {
    const double = await gateway()
    const miniflare = await start(await bundled(GLOBAL.replace('GATEWAY', double.url)), {})
    await (await miniflare.dispatchFetch('http://worker/x')).text()
    await until(() => double.sum('hits') === 1)
    expect(double.posts).toHaveLength(1)
  })

  test('goes nowhere, with one warning and every frame counted, without a url', async () => {
    const warnings: Warning[] = []
    const z = new Zibrato({ onWarning: (warning) => warnings.push(warning) })
    z.counter('hits').inc()
    await z.close()
    expect(warnings.map(({ code }) => code)).toEqual(['ZIBRATO_NO_URL'])
    expect(z.stats().dropped).toEqual({ nowhere: 1 })
    expect(z.connected()).toBe(false)
  })

  test('has no raw sockets', () => {
    expect(() => new Zibrato({ url: 'tcp://127.0.0.1:5550' })).toThrow(UsageError)
    expect(() => new Zibrato({ host: '::1' })).toThrow(/tcp:\/\/host:port is no gateway's; write https:/)
  })

  test('refuses a url that holds a password, and does not show it', () => {
    const shouted = (): Zibrato => new Zibrato({ url: 'HTTPS://ann:hunter2@metrics.example.com' })
    expect(shouted).toThrow(/a secret as token/)
    expect(shouted).not.toThrow(/hunter2/)
    const asked = (): Zibrato => new Zibrato({ url: 'ftp://metrics.example.com?key=hunter3@4' })
    expect(asked).toThrow(/url ftp:\/\/\*\*\*@ is no gateway/)
    const unknown = (): Zibrato => new Zibrato({ url: 'ftp://ann:hunter2@metrics.example.com?key=hunter3' })
    expect(unknown).toThrow(/ftp:\/\/\*\*\*@metrics.example.com is no gateway/)
    expect(unknown).not.toThrow(/hunter/)
    const open = (): Zibrato => new Zibrato({ url: 'https://ann:hunter2@metrics.example.com/v1/metrics' })
    expect(open).toThrow(UsageError)
    expect(open).toThrow(/\/\/\*\*\*@metrics.example.com.* a secret as token$/)
    expect(open).not.toThrow(/hunter2/)
    expect(() => new Zibrato({ url: 'https://metrics.example.com/teams/a@b' })).not.toThrow()
  })
})
