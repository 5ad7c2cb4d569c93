import { join, resolve } from 'node:path'
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { until } from './until.ts'
import { DIST, Playground, type Rollup } from './flow/processes.ts'

const EXAMPLES = resolve(import.meta.dirname, '../examples')

/** `zibrato up` into `out.jsonl`, the URL that examples take for it, and what is in the file once it has stopped. */
async function started(ground: Playground): Promise<{
  env: { ZIBRATO_URL: string; ZIBRATO_BROKER: string }
  http: string
  rollups: (name: string) => Promise<Rollup[]>
}> {
  const up = ['up', '--port', '0', '--http', '0', '--flush', '1', '--to', 'file:out.jsonl']
  const { program, listening } = await ground.zibrato(...up)
  const broker = listening.broker?.publishers as string
  return {
    env: { ZIBRATO_URL: broker, ZIBRATO_BROKER: broker },
    http: listening.http as string,
    rollups: async (name) => {
      expect(await program.stop(), program.stderr).toBe(0)
      return ground.rollups('out.jsonl').filter((each) => each.name.startsWith(name))
    },
  }
}

function sum(rollups: readonly Rollup[], name: string, tags: Record<string, string> = {}): number {
  return rollups
    .filter((each) => each.name === name && JSON.stringify(each.tags) === JSON.stringify(tags))
    .reduce((all, { value, count }) => all + (value ?? count ?? 0), 0)
}

it('counts the requests of the server, by route and status', async () => {
  await using ground = new Playground()
  const { env, rollups } = await started(ground)
  const server = ground.start(process.execPath, [join(EXAMPLES, 'server.mjs')], { ...env, PORT: '0', HOSTNAME: 'web1' })
  const url = await server.output(({ stdout }) => /http:\S+/.exec(stdout)?.[0], 'the address')
  for (const path of ['/pay', '/pay', '/favicon.ico', '/pay']) await (await fetch(new URL(path, url))).text()
  expect(await server.stop(), server.stderr).toBe(0)
  const found = await rollups('http.')
  expect(sum(found, 'http.requests', { route: '/pay', status: '200' })).toBe(3)
  expect(sum(found, 'http.requests', { route: 'other', status: '404' })).toBe(1)
  expect(sum(found, 'http.seconds')).toBe(4)
  expect(found.findLast(({ name }) => name === 'http.under_way')).toMatchObject({ value: 0, source: 'web1' })
})

it('measures the steps of the job and what it did', async () => {
  await using ground = new Playground()
  const { env, rollups } = await started(ground)
  const job = ground.start(process.execPath, [join(EXAMPLES, 'job.mjs')], env)
  expect(await job.ended, job.stderr).toBe(0)
  const found = await rollups('job.')
  expect(sum(found, 'job.rows')).toBe(3)
  expect(sum(found, 'job.users')).toBe(2)
  for (const step of ['load', 'store']) expect(sum(found, 'job.step', { outcome: 'ok', step })).toBe(1)
  expect(found.filter(({ name }) => name === 'job.succeeded_at')).toHaveLength(1)
})

it('counts backups of the shell script, and leaves them their exit code', async () => {
  await using ground = new Playground()
  const { env, rollups } = await started(ground)
  const [source, target] = ['source', 'target'].map((name) => join(ground.folder, name)) as [string, string]
  writeFileSync(source, 'twelve bytes')
  const zibrato = { ...env, ZIBRATO: `${process.execPath} ${join(DIST, 'bin/zibrato.js')}`, ZIBRATO_SOURCE: 'db1' }
  const script = (from: string) => ground.start('sh', [join(EXAMPLES, 'backup.sh'), from, target], zibrato)
  const backup = script(source)
  expect(await backup.ended, backup.stderr).toBe(0)
  expect(readFileSync(target, 'utf8')).toBe('twelve bytes')
  expect(await script(join(ground.folder, 'missing')).ended).toBe(1)
  const found = await rollups('backup')
  expect(sum(found, 'backups', { failed: '0' })).toBe(1)
  expect(sum(found, 'backups', { failed: '1' })).toBe(1)
  expect(sum(found, 'backup')).toBe(2)
  expect(found.find(({ name }) => name === 'backup.bytes')).toMatchObject({ value: 12, source: 'db1' })
})

// without tsx's own process, which would hear signals first
const TSX = ['--import', import.meta.resolve('tsx')]

it('times the routes of the server with Hono by their names', async () => {
  await using ground = new Playground()
  const { env, rollups } = await started(ground)
  const server = ground.start(process.execPath, [join(EXAMPLES, 'hono.mjs')], { ...env, PORT: '0' })
  const url = await server.output(({ stdout }) => /http:\S+/.exec(stdout)?.[0], 'the address')
  for (const path of ['/orders', '/orders', '/favicon.ico']) {
    await (await fetch(new URL(path, url), { method: 'POST' })).text()
  }
  expect(await server.stop(), server.stderr).toBe(0)
  const found = await rollups('')
  expect(sum(found, 'orders')).toBe(2)
  expect(sum(found, 'http.seconds', { route: '/orders', status: '200' })).toBe(2)
  expect(sum(found, 'http.seconds', { route: 'other', status: '404' })).toBe(1)
})

it('counts what the Worker takes', async () => {
  await using ground = new Playground()
  const { http, rollups } = await started(ground)
  const worker = ground.start(process.execPath, [...TSX, join(EXAMPLES, 'worker/run.ts')], {
    ZIBRATO_URL: http,
    PORT: '0',
  })
  const url = await worker.output(({ stdout }) => /http:\S+/.exec(stdout)?.[0], 'the address')
  let ordered = 0
  const order = async (): Promise<void> => {
    expect(await (await fetch(url)).text()).toBe('ordered by a Worker\n')
    ordered++
  }
  for (let turn = 0; turn < 5; turn++) await order()
  let patience = performance.now() + 5_000
  await until(
    async () => {
      // it sends after the response, and what it could not send in its time goes with the next
      if (performance.now() > patience) {
        await order()
        patience = performance.now() + 5_000
      }
      return sum(ground.rollups('out.jsonl'), 'orders') === ordered
    },
    'all orders have arrived',
    40_000,
  )
  await worker.stop()
  expect((await rollups('orders')).at(-1)).toMatchObject({ source: 'shop', total: ordered })
})

it('counts in one series what all programs take', async () => {
  await using ground = new Playground()
  const all = ground.start(process.execPath, [...TSX, join(EXAMPLES, 'all.ts')])
  expect(await all.ended, all.stderr).toBe(0)
  const lines = all.stdout.split('\n').filter((line) => line.startsWith('{'))
  const found = lines.map((line) => JSON.parse(line) as Rollup)
  const [, counted, ordered] = /(\d+) of (\d+) orders, in one series/.exec(all.stdout) ?? []
  expect(Number(ordered)).toBeGreaterThanOrEqual(30)
  expect([Number(counted), sum(found, 'orders')]).toEqual([Number(ordered), Number(ordered)])
  expect(found.at(-1)).toMatchObject({ name: 'orders', source: 'shop', tags: {}, total: Number(ordered) })
})
