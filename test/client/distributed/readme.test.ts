import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DIST, Playground } from '../../flow/processes.ts'
import { freePort } from '../../free-port.ts'
import { until } from '../../until.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
// within the package, so that the blocks find it by its name
const FOLDER = join(ROOT, 'dist', `readme-${process.pid}`)
// programs run elsewhere, where there is none
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const README = readFileSync(join(ROOT, 'client/distributed/README.md'), 'utf8')
const BLOCKS = new Map(
  [...README.matchAll(/```ts\n\/\/ (\S+)\n([\s\S]*?)```/g)].map(([, name = '', code = '']) => [name, code]),
)

beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true })
})

afterAll(() => {
  rmSync(FOLDER, { recursive: true, force: true })
})

function run(playground: Playground, name: string, change = (code: string): string => code) {
  for (const [each, code] of BLOCKS) writeFileSync(join(FOLDER, each), change(code))
  return playground.start(process.execPath, ['--import', TSX, join(FOLDER, name)], {
    XDG_RUNTIME_DIR: playground.folder,
  })
}

describe('the README of registries of several processes', { timeout: 120_000 }, () => {
  test('is run to its last block', () => {
    expect([...BLOCKS.keys()]).toEqual(['server.mts', 'gauges.mts', 'reporters.mts', 'primary.mts'])
    expect(README.match(/```ts/g)?.length).toBe(BLOCKS.size)
    expect(DIST).toBe(join(ROOT, 'dist'))
  })

  test('has a server of four processes that reports what they answer', async () => {
    await using playground = new Playground()
    const [port, reports] = [await freePort(), await freePort()]
    run(playground, 'server.mts', (code) => code.replace('8080', String(port)).replace('8889', String(reports)))
    const asked = async (url: string): Promise<unknown> => (await fetch(url)).text().catch(() => undefined)
    let answered = 0
    await until(
      async () => {
        if ((await asked(`http://127.0.0.1:${port}/`).catch(() => undefined)) === 'ok') answered++
        return answered === 3
      },
      'three answers',
      50_000,
    )
    let report: Record<string, { count: number }> = {}
    await until(async () => {
      report = (await (await fetch(`http://127.0.0.1:${reports}/`)).json()) as typeof report
      return report['latency']?.count === 3
    })
    expect(report['requests']?.count).toBe(3)
  })

  test('has gauges that become one, or are kept apart', async () => {
    await using playground = new Playground()
    const program = run(playground, 'gauges.mts')
    expect(await program.ended, program.stderr).toBe(0)
    const { connections, heap } = JSON.parse(program.stdout) as { connections: object; heap: { series: object[] } }
    expect(connections).toEqual({ value: 12 })
    expect(heap.series).toMatchObject([{ tags: { process: expect.stringMatching(/^pid-\d+$/) } }])
  })

  test('has an aggregator in a process of its own, with its reporters', async () => {
    await using playground = new Playground()
    const program = run(playground, 'primary.mts')
    expect(await program.ended, program.stderr).toBe(0)
    // what it answered, and the reporter's last line
    expect(program.stdout).toBe('{"orders":{"value":3}}\n{"orders":{"value":3}}\n')
  })
})
