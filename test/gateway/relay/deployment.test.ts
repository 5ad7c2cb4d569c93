import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterEach, describe, expect, test } from 'vitest'
import { BUNDLE_TYPE, encodeBundle } from '../../../client/wire/bundle.ts'
import { until } from '../../until.ts'
import { counterFrame } from '../fake-sink.ts'
import { TestRelay } from './relay.ts'
import { FaultyUpstream } from './upstream.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const stops: (() => Promise<unknown>)[] = []

afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()))
})

async function start(...options: Parameters<typeof TestRelay.start>): Promise<TestRelay> {
  const relay = await TestRelay.start(...options)
  stops.push(() => relay[Symbol.asyncDispose]())
  return relay
}

async function startUpstream(): Promise<FaultyUpstream> {
  const upstream = await FaultyUpstream.start()
  stops.push(() => upstream.stop())
  return upstream
}

function post(relay: TestRelay, ...frames: Uint8Array[]): Promise<Response> {
  return relay.post(encodeBundle(frames) as Uint8Array<ArrayBuffer>, { 'content-type': BUNDLE_TYPE })
}

describe('a deployment', () => {
  test('takes nothing and says why while its settings make no sense, and goes on once they do', async () => {
    const upstream = await startUpstream()
    const relay = await start({ env: { UPSTREAM_URL: upstream.url, RELAY_LINGER: '1m' } })
    expect((await post(relay, counterFrame({ seq: 1 }))).status).toBe(202)
    await relay.restart({ env: { UPSTREAM_URL: upstream.url, ZIBRATO_INSECURE: '' } })
    const refused = await post(relay, counterFrame({ seq: 2 }))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    const { error } = (await refused.json()) as { error: { code: string; message: string } }
    expect(error.code).toBe('unavailable')
    expect(error.message).toContain('wrangler secret put ZIBRATO_TOKENS')
    expect((await relay.get('/healthz')).status).toBe(200)
    expect(await (await relay.get('/readyz')).text()).toContain('ZIBRATO_TOKENS')
    expect(relay.log).toContain('ZIBRATO_TOKENS')
    // what it had waits meanwhile
    expect(await relay.alarm()).toMatchObject({ frames: 1 })
    await relay.restart({ env: { UPSTREAM_URL: upstream.url, RELAY_LINGER: '50ms' } })
    expect((await post(relay, counterFrame({ seq: 2 }))).status).toBe(202)
    await until(() => upstream.seqs.length === 2, 'both are forwarded')
    expect(upstream.seqs).toEqual([1, 2])
  })

  test('forwards by itself, to a service binding where there is one, and with no alarm left over', async () => {
    const requests: { url: string; authorization: string | null; bytes: number }[] = []
    const relay = await start({
      env: { RELAY_LINGER: '100ms', UPSTREAM_TOKEN: 'up-secret' },
      service: async (request) => {
        const bytes = (await request.arrayBuffer()).byteLength
        requests.push({ url: request.url, authorization: request.headers.get('authorization'), bytes })
        return Response.json({ accepted: 1, rejected: [] }, { status: 202 })
      },
    })
    const frame = counterFrame()
    expect((await post(relay, frame)).status).toBe(202)
    await until(() => requests.length === 1, 'a post at the service')
    expect(requests).toEqual([
      { url: 'https://upstream/v1/metrics', authorization: 'Bearer up-secret', bytes: frame.length + 1 },
    ])
    await until(async () => (await relay.figures()).frames === 0, 'it is let go of')
    expect(requests).toHaveLength(1)
  })

  test('goes on by itself after it was cut off while forwarding', async () => {
    const upstream = await startUpstream()
    const relay = await start({ env: { UPSTREAM_URL: upstream.url, RELAY_LINGER: '50ms', RELAY_GROUPS: '1' } })
    upstream.always = 'silence'
    expect((await post(relay, counterFrame({ seq: 1 }))).status).toBe(202)
    await until(() => upstream.posts.length === 1, 'a post')
    upstream.always = undefined
    await relay.restart()
    // asking for figures wakes the object, as anything does
    await until(async () => (await relay.figures()).forwarded === 1, 'it is forwarded')
    expect(upstream.seqs).toEqual([1])
  })
})

test('a Worker project of its own exports the relay from the package', async () => {
  const { outputFiles } = await build({
    stdin: { contents: `export { default, Relay } from 'zibrato/relay'`, resolveDir: ROOT },
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
  })
  const text = outputFiles[0]?.text ?? ''
  const { default: worker, Relay } = (await import(`data:text/javascript,${encodeURIComponent(text)}`)) as {
    default: { fetch(request: Request, env: object, context: object): Promise<Response> }
    Relay: unknown
  }
  expect(Relay).toBeTypeOf('function')
  const response = await worker.fetch(new Request('https://relay/readyz'), {}, { waitUntil: () => {} })
  expect([response.status, await response.text()]).toEqual([503, expect.stringContaining('RELAY: the binding')])
})

describe('wrangler.toml', () => {
  test('builds, with every binding that the relay needs', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zibrato-wrangler-'))
    stops.push(() => Promise.resolve(rmSync(folder, { recursive: true, force: true })))
    const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [wrangler, 'deploy', '--dry-run', '--outdir', folder],
      {
        cwd: ROOT,
        // nothing of it may ask the network, nor write beside the sources
        env: {
          ...process.env,
          CI: '1',
          WRANGLER_HIDE_BANNER: 'true',
          WRANGLER_SEND_METRICS: 'false',
          WRANGLER_LOG_PATH: join(folder, 'log'),
          XDG_CONFIG_HOME: folder,
        },
      },
    )
    expect(stdout).toMatch(/env\.RELAY \(Relay\)\s+Durable Object/)
    expect(stdout).toMatch(/env\.UPSTREAM_URL/)
    const built = readFileSync(join(folder, 'edge.js'), 'utf8')
    expect(built).not.toMatch(/from ["']node:|require\(["']/)
    expect(built).toMatch(/export \{[^}]*\bRelay\b[^}]*\}/s)
  })
})
