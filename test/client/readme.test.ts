import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../until.ts'
import { blocksOf, runBlock } from './examples.ts'
import { BrokerDouble } from './transport/broker-double.ts'
import { GatewayDouble } from './transport/gateway-double.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const README = readFileSync(join(ROOT, 'client/README.md'), 'utf8')
// below node_modules, so that the blocks find what the client imports
const FOLDER = join(ROOT, 'node_modules', `.zibrato-readme-${process.pid}`)
const BLOCKS = blocksOf(README)

let broker: BrokerDouble
let gateway: GatewayDouble

beforeAll(async () => {
  broker = await new BrokerDouble().start('#')
  gateway = await GatewayDouble.start()
  mkdirSync(FOLDER, { recursive: true })
})

afterAll(async () => {
  broker.kill()
  await gateway.stop()
  rmSync(FOLDER, { recursive: true, force: true })
  delete process.env['ZIBRATO_URL']
})

describe('the client’s README', () => {
  test.each(
    BLOCKS.map((code, index) => [index, code.match(/z\.(?!close|flush|child)\w+\(.*/)?.[0] ?? '', code] as const),
  )('holds code that runs: block %d, %s', async (index, _, code) => {
    const local = code
      .replaceAll('tcp://127.0.0.1:5550', broker.url)
      .replaceAll('https://metrics.example.com', gateway.url)
    process.env['ZIBRATO_URL'] = gateway.url
    const module = (await runBlock(local, FOLDER, `block${index}`)) as {
      default?: { fetch?: WorkerFetch }
      handler?: (event: unknown, context: unknown) => Promise<object>
    }
    // and what a Lambda function exports as that one's does
    const ordered = await module.handler?.(
      { item: 'book' },
      { awsRequestId: 'r1', getRemainingTimeInMillis: () => 30_000 },
    )
    expect(ordered ?? { ordered: 'book' }).toEqual({ ordered: 'book' })
    // what a Worker exports is called as a Worker's runtime does
    const waiting: Promise<unknown>[] = []
    const answer = await module.default?.fetch?.(
      new Request('https://shop/pay'),
      {},
      { waitUntil: (each) => waiting.push(each) },
    )
    await Promise.all(waiting)
    expect(answer?.status ?? 200).toBe(200)
  })

  test('has blocks that reach a broker and a gateway', async () => {
    await until(() => broker.sum('orders') === 5)
    expect(gateway.sum('http.requests')).toBe(2)
    expect(gateway.sum('blocks')).toBe(2)
    expect(gateway.sum('cart.add')).toBe(5)
    expect(gateway.sum('mails')).toBe(1)
    expect(gateway.sum('logins')).toBe(2)
    expect(gateway.sum('loads')).toBe(1)
    expect(gateway.sum('node.cpu')).toBeGreaterThan(0)
    expect(gateway.sum('hits')).toBe(1)
    expect(gateway.sum('lambda.orders')).toBe(1)
    expect(gateway.sum('lambda.invocations')).toBe(1)
  })

  test('lists every code of an error or warning', () => {
    const codes = new Set<string>()
    for (const folder of ['client', 'gateway', 'backends', 'bin']) {
      for (const file of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
        if (!file.endsWith('.ts')) continue
        const text = readFileSync(join(ROOT, folder, file), 'utf8')
        for (const [, code = ''] of text.matchAll(/(?:new ZibratoError\(|super\()\s*'(\w+)'/g)) codes.add(code)
        for (const [, code = ''] of text.matchAll(/code: '(ZIBRATO_\w+)'/g)) codes.add(code)
      }
    }
    expect(codes.size).toBeGreaterThan(6)
    const listed = new Set([...README.matchAll(/^\|.*`((?:ERR|ZIBRATO)_\w+)`/gm)].map(([, code = '']) => code))
    expect([...codes].filter((code) => !listed.has(code))).toEqual([])
  })

  test('lists every option and every environment variable', () => {
    const options = readFileSync(join(ROOT, 'client/options.ts'), 'utf8')
    const body = options.slice(options.indexOf('interface ZibratoOptions'), options.indexOf('\n}\n'))
    const names = [...body.matchAll(/readonly (\w+)\?:/g)].map(([, name = '']) => name)
    expect(names.length).toBeGreaterThan(10)
    const table = README.slice(README.search(/^\| option /m), README.indexOf('**At the end'))
    expect(names.filter((name) => !table.includes(`\`${name}\``))).toEqual([])
    for (const file of ['client.ts', 'platform/open.ts', 'platform/edge.ts']) {
      const text = readFileSync(join(ROOT, 'client', file), 'utf8')
      for (const [, name = ''] of text.matchAll(/env\('(\w+)'\)/g)) expect(table).toContain(`\`${name}\``)
    }
  })

  test('lists every reason for which something is dropped', () => {
    const reasons = new Set<string>()
    for (const file of [
      'instruments/gauge.ts',
      'instruments/instrument.ts',
      'registry/base-recorder.ts',
      'transport/ring.ts',
      'transport/lines.ts',
      'transport/fetch.ts',
      'transport/nowhere.ts',
    ]) {
      const text = readFileSync(join(ROOT, 'client', file), 'utf8')
      for (const [, call = ''] of text.matchAll(/(?:drop|dropOldest|reject|giveUp|fault)\(([^\n]*)/g)) {
        for (const [, reason = ''] of call.matchAll(/(?<!=== )'([a-z]+)'/g)) reasons.add(reason)
      }
    }
    expect(reasons.size).toBeGreaterThan(7)
    expect([...reasons].filter((reason) => !README.includes(`\`${reason}\``))).toEqual([])
  })
})

type WorkerFetch = (
  request: Request,
  env: unknown,
  ctx: { waitUntil(promise: Promise<unknown>): void },
) => Promise<Response>
