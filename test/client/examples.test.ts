import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../free-port.ts'
import { until } from '../until.ts'
import { blocksOf, runBlock } from './examples.ts'
import { GatewayDouble } from './transport/gateway-double.ts'

const ROOT = join(import.meta.dirname, '../..')
// below node_modules, so that the blocks find what they import
const FOLDER = join(ROOT, 'node_modules', `.zibrato-examples-${process.pid}`)
const PAGES = ['client/reporters/README.md', 'docs/from-tapes.md', 'docs/coming-from.md']
const BLOCKS = PAGES.flatMap((page) =>
  blocksOf(readFileSync(join(ROOT, page), 'utf8')).map((code, index) => [page, index, code] as const),
)

let gateway: GatewayDouble
// takes what the example of a reporter of one's own posts
const posted: string[] = []
const collector = createServer((request, response) => {
  request.setEncoding('utf8').on('data', (text: string) => posted.push(text))
  request.on('end', () => response.end())
})

beforeAll(async () => {
  collector.listen(0, '127.0.0.1')
  await once(collector, 'listening')
  mkdirSync(FOLDER, { recursive: true })
  gateway = await GatewayDouble.start()
  process.env['ZIBRATO_URL'] = gateway.url
})

afterAll(async () => {
  collector.close()
  collector.closeAllConnections()
  await gateway.stop()
  rmSync(FOLDER, { recursive: true, force: true })
  delete process.env['ZIBRATO_URL']
})

describe('pages on registries and reporters', () => {
  test.each(BLOCKS)('%s holds code that runs: block %d', async (page, index, code) => {
    const local = code
      .replaceAll('8889', String(await freePort()))
      .replaceAll('https://collector.example.com', `http://127.0.0.1:${(collector.address() as AddressInfo).port}`)
    await expect(runBlock(local, FOLDER, `${page.replaceAll(/\W/g, '-')}-${index}`)).resolves.toBeDefined()
  })

  test('hold code that publishes', async () => {
    expect(BLOCKS.length).toBe(10)
    await until(() => gateway.sum('orders') >= 2)
    expect(posted).toEqual(['{}'])
  })
})
