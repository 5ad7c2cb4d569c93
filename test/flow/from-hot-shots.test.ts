import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { StatsD } from 'hot-shots'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Zibrato } from '../../client/index.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { MemoryMetrics } from '../../client/transport/metrics.ts'
import { startStatsd } from '../../gateway/index.ts'
import { until } from '../until.ts'
import { DIST, type Listening, Playground } from './processes.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const PAGE = readFileSync(join(ROOT, 'docs/from-hot-shots.md'), 'utf8')
// below node_modules, so that blocks find hot-shots
const FOLDER = join(ROOT, 'node_modules', `.zibrato-hot-shots-${process.pid}`)

const blocks = (language: string): string[] =>
  [...PAGE.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map(([, code = '']) => code)

/** Rows of the table of calls. */
const CALLS = [...PAGE.matchAll(/^\| `((?:await )?client\.[^`]+)` +\| `([^`]*\bz\.[^`]+)` +\|$/gm)].map(
  ([, before = '', after = '']) => [before, after] as const,
)

const hasUnixDgram = ((): boolean => {
  try {
    createRequire(import.meta.url)('unix-dgram')
    return true
  } catch {
    return false
  }
})()

/** What the code of the table finds around it. */
const WORLD = {
  parse: (text: string) => text.length,
  load: () => Promise.resolve(1),
  startedDate: new Date(Date.now() - 5),
}

type Call = (names: object) => Promise<unknown>
let calls: (readonly [before: Call, after: Call])[]

beforeAll(async () => {
  mkdirSync(FOLDER, { recursive: true })
  const call = (code: string): string => `async ({ client, z, ${Object.keys(WORLD).join(', ')} }) => { ${code} }`
  const script = join(FOLDER, 'calls.mjs')
  writeFileSync(script, `export default [${CALLS.map((row) => `[${row.map(call).join(', ')}]`).join(',\n')}]`)
  calls = ((await import(/* @vite-ignore */ pathToFileURL(script).href)) as { default: typeof calls }).default
})
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }))

/** All that is known of each series; of durations that were taken with a clock, how many. */
function known(metrics: MemoryMetrics, isTimed: boolean): unknown[] {
  return metrics
    .series()
    .map(({ type, name, tags }) => {
      const query = { type, tags }
      const sum = isTimed ? 'a duration' : metrics.sum(name, query)
      return [
        type,
        name,
        tags,
        sum,
        metrics.count(name, query),
        metrics.last(name, query),
        metrics.distinct(name, query),
      ]
    })
    .toSorted((left, right) => JSON.stringify(left).localeCompare(JSON.stringify(right)))
}

describe('the page for those who come from hot-shots', () => {
  test('has a table of calls', () => {
    expect(CALLS.length).toBeGreaterThan(15)
  })

  test.each(CALLS.map((row, index) => [...row, index] as const))(
    'says that %s and %s measure the same',
    async (before, _, index) => {
      const [theirCall, ourCall] = calls[index] as (typeof calls)[number]
      const theirs = new MemoryMetrics()
      const sink = { full: false, offer: (frames: readonly SealedFrame[]) => theirs.send(frames) }
      await using gateway = await startStatsd({ sink, flushMs: 5, listeners: [{ kind: 'udp', port: 0 }] })
      const client = new StatsD({ host: '127.0.0.1', port: Number(gateway.urls[0]?.split(':').at(-1)) })
      await theirCall({ ...WORLD, client })
      await new Promise<void>((done) => client.close(() => done()))
      await gateway.close()
      const ours = new MemoryMetrics()
      const z = new Zibrato({ transport: ours })
      await ourCall({ ...WORLD, z })
      await z.close()
      const isTimed = /parse|load|start/.test(before)
      expect(known(ours, isTimed)).toEqual(known(theirs, isTimed))
      expect(ours.series().length).toBeGreaterThan(0)
    },
  )

  describe('holds code that runs', () => {
    let ground: Playground
    let listening: Listening
    beforeAll(async () => {
      ground = new Playground()
      const sockets = ['--unix', join(ground.folder, 'statsd.sock'), '--tcp', '0']
      const datagrams = hasUnixDgram ? ['--unix-datagram', join(ground.folder, 'dsd.socket')] : []
      ;({ listening } = await ground.up('--flush', '100ms', ...sockets, ...datagrams))
    })
    afterAll(() => ground[Symbol.asyncDispose]())

    /** A block as a program of its own, at the addresses of this test. */
    async function program(code: string): Promise<void> {
      const port = (url: string | undefined): string => url?.split(':').at(-1) ?? ''
      const local = code
        .replaceAll('/run/zibrato', ground.folder)
        .replaceAll('8125', port(listening.udp))
        .replaceAll('8126', port(listening.tcp))
        .replaceAll("'zibrato'", `'${DIST}/client/index.js'`)
        // who draws one of ten would now and then send nothing
        .replace(', sampleRate: 0.1', '')
      const script = join(FOLDER, 'block.mjs')
      writeFileSync(script, local)
      const child = ground.start(process.execPath, [script], { ZIBRATO_URL: listening.broker?.publishers })
      expect(await child.ended, child.stderr).toBe(0)
    }

    test('in each of its ways to say where the server is', async () => {
      const [addresses = ''] = blocks('js')
      const usable = hasUnixDgram ? addresses : addresses.replace(/^const uds = .*\n/m, '').replace(', uds]', ']')
      await program(usable)
      const expected = hasUnixDgram ? 4 : 3
      await until(() => ground.sums('out.jsonl').get('hits') === expected)
      const hits = ground.rollups('out.jsonl').filter(({ name }) => name === 'hits')
      expect(new Set(hits.map(({ tags }) => JSON.stringify(tags)))).toEqual(new Set(['{"route":"/pay"}']))
    })

    test('before and after', async () => {
      const [, before = '', after = ''] = blocks('js')
      await program(before)
      await until(() => ground.sums('out.jsonl').get('orders') === 1 && ground.sums('out.jsonl').get('pay') === 1)
      await program(after)
      await until(() => ground.sums('out.jsonl').get('orders') === 2 && ground.sums('out.jsonl').get('pay') === 2)
      const tags = ground.rollups('out.jsonl').filter(({ name }) => name === 'orders')
      expect(tags.map((rollup) => rollup.tags)).toEqual(Array(2).fill({ env: 'production', kind: 'book' }))
      expect(blocks('js').length).toBe(3)
    })

    test('in the shell', async () => {
      const lines = blocks('sh').flatMap((block) => block.trim().split('\n'))
      expect(lines.length).toBe(3)
      for (const line of lines) {
        const [, ...args] = line.replaceAll('/run/zibrato', `${ground.folder}/..`).split(' ')
        if (!hasUnixDgram && args.includes('--unix-datagram')) continue
        await using other = new Playground()
        // where a test may listen
        const own = args.map((arg) => arg.replace(`${ground.folder}/..`, other.folder).replace('8126', '0'))
        const ports = args[0] === 'up' ? ['--port', '0', '--http', '0'] : []
        const started = await other.zibrato(...own, ...ports)
        expect(started.listening.udp).toMatch(/^udp:/)
        expect(await started.program.stop()).toBe(0)
      }
    })
  })
})
