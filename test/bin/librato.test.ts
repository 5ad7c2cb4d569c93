import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { librato } from '../../bin/cli/commands.ts'
import type { Flag } from '../../bin/cli/flag.ts'
import { config } from '../../bin/cli/flags.ts'
import { libratoUrl } from '../../bin/cli/librato.ts'
import { LibratoService, TOKEN, USER } from '../backends/librato-service.ts'
import { Playground } from '../flow/processes.ts'
import { until } from '../until.ts'
import { logged, start, zibrato } from './cli.ts'

const bin = 'zibrato-librato'
const services: LibratoService[] = []
afterEach(async () => {
  for (const service of services.splice(0)) await service.stop()
})

async function started(): Promise<LibratoService> {
  const service = new LibratoService()
  await service.start()
  services.push(service)
  return service
}

test('the help has the flags of its table in the README, with their defaults, and examples', async () => {
  await using ground = new Playground()
  const { code, stdout, stderr } = await zibrato(ground, ['--help'], { bin })
  expect([code, stderr]).toEqual([0, ''])
  const text = stdout.replaceAll(/\s+/g, ' ')
  const readme = readFileSync(join(resolve(import.meta.dirname, '../..'), 'bin/README.md'), 'utf8')
  const [, rest = ''] = readme.split('\n## `zibrato-librato`')
  const [section = ''] = rest.split('\n## ')
  const rows = [...section.matchAll(/^\| `(--[^`]+)` *\| ([^|]+?) *\|/gm)].map(([, flag, fallback]) => [flag, fallback])
  const flags = [...Object.values<Flag<unknown>>(librato.flags), config]
  const usageOf = ({ name, placeholder }: Flag<unknown>): string =>
    placeholder === undefined ? `--${name}` : `--${name} <${placeholder}>`
  expect(rows.map(([flag]) => flag)).toEqual(flags.map(usageOf))
  for (const flag of flags) {
    expect(text).toContain(` ${usageOf(flag)} ${flag.help}`)
    if (flag.fallback === undefined) continue
    expect(text.slice(text.indexOf(` ${usageOf(flag)} `))).toContain(`default: ${flag.fallback})`)
    expect(rows).toContainEqual([usageOf(flag), `\`${flag.fallback}\``])
  }
  for (const [, line] of librato.examples) expect(stdout).toContain(line)
})

test('what clients measure arrives at Librato, of the levels that Zibrato 0.2 took, in windows of --flush', async () => {
  await using ground = new Playground()
  const service = await started()
  const { program: broker, listening } = await ground.zibrato('broker', '--port', '0')
  const { publishers, subscribers } = listening.broker as { publishers: string; subscribers: string }
  const port = /\d+$/.exec(subscribers)?.[0] ?? ''
  const args = ['--port', port, '--flush', '1', '--username', USER, '--apitoken', '$TOKEN', '--source', 'shop']
  const endpoint = `http://127.0.0.1:${service.port}`
  const worker = start(ground, [...args, '--state', 'file:state'], { TOKEN, ZIBRATO_ENDPOINT: endpoint }, bin)
  expect(await logged(worker, 'listening')).toMatchObject({
    brokers: [publishers],
    to: [`librato://127.0.0.1:${service.port}?tls=no&source=shop`.replace(/\?.*/, '?source=shop&tls=no')],
    levels: ['test', 'debug', 'info'],
    flushSeconds: 1,
  })
  const client = ground.node(
    `import { Zibrato } from 'DIST/client/index.js'
     const z = new Zibrato({ url: process.env.PUBLISHERS, level: 'info' })
     z.counter('orders').inc(7)
     z.gauge('queue').set(0)
     z.timer('db').record(0.25)
     z.child({ level: 'crit' }).counter('alarms').inc()
     z.child({ level: 'debug', source: 'web 1' }).counter('hits').inc(2)
     await z.flush()
     process.stdout.write('sent')
     setTimeout(() => {}, 60_000)`,
    { PUBLISHERS: publishers },
  )
  await client.output(({ stdout }) => (stdout === 'sent' ? stdout : undefined), 'that it was sent')
  await until(() =>
    ['orders', 'queue', 'db', 'hits'].every((name) => service.taken.some((each) => each['name'] === name)),
  )
  expect(await worker.stop()).toBe(0)
  await broker.stop()
  const figures = service.taken.map(({ name, source, value, count, sum }) => [name, source, value ?? [count, sum]])
  expect(new Set(figures.map((figure) => JSON.stringify(figure)))).toEqual(
    new Set(['["orders","shop",7]', '["queue","shop",0]', '["db","shop",[1,0.25]]', '["hits","web:1",2]']),
  )
  expect(figures).toHaveLength(4)
  expect(service.violations).toEqual([])
  expect(worker.stderr + worker.stdout).not.toContain(TOKEN)
})

test('windows wait for a service that is not there at the start', async () => {
  await using ground = new Playground()
  const service = await started()
  service.mood = 'broken'
  const { listening } = await ground.zibrato('broker', '--port', '0')
  const { publishers, subscribers } = listening.broker as { publishers: string; subscribers: string }
  const args = ['--port', /\d+$/.exec(subscribers)?.[0] ?? '', '--flush', '1s', '--username', USER]
  const env = { ZIBRATO_APITOKEN: TOKEN, ZIBRATO_ENDPOINT: `http://127.0.0.1:${service.port}` }
  const worker = start(ground, args, env, bin)
  await logged(worker, 'listening')
  ground.node(
    `import { Zibrato } from 'DIST/client/index.js'
     const z = new Zibrato({ url: process.env.PUBLISHERS, level: 'info' })
     z.counter('orders').inc(7)
     await z.flush()
     setTimeout(() => {}, 60_000)`,
    { PUBLISHERS: publishers },
  )
  expect(await logged(worker, 'flush failed, will retry')).toMatchObject({ error: 'librato: answered 503' })
  service.mood = 'well'
  await until(() => service.taken.length > 0, 'the window arrives')
  expect(service.taken).toMatchObject([{ name: 'orders', value: 7 }])
  expect(await worker.stop()).toBe(0)
})

test('a wrong token is told at the start, and not shown', async () => {
  await using ground = new Playground()
  const service = await started()
  const env = { ZIBRATO_APITOKEN: 'wrong-token-7', ZIBRATO_ENDPOINT: `http://127.0.0.1:${service.port}` }
  const { code, stderr } = await zibrato(ground, ['--username', USER], { bin, env })
  expect(code).toBe(2)
  expect(stderr).toContain('zibrato-librato: librato: answered 401; user or token are wrong: correct them')
  expect(stderr).not.toContain('wrong-token-7')
})

test.each([
  [[], '--username: is missing'],
  [['--username', 'me@example.com'], '--apitoken: is missing'],
  [['--username', 'me@example.com', '--apitoken', '$NOBODY_SET_THIS'], '--apitoken: the environment variable NOBODY'],
  [['--port', '1'], '--port: "1" is no port; give a number in 2..65535'],
  [['--flush', '500ms'], '--flush: "500ms" must lie between 1s and 24h'],
  [['--host', 'a b'], '--host: "a b" is no host'],
  [['--endpoint', 'https://me:secret@host'], '--endpoint: this is no URL of a service'],
  [['--api', 'v2'], '--api: "v2" is none of metrics, measurements'],
])('%j is wrong usage: %s', async (args, message) => {
  await using ground = new Playground()
  const { code, stderr } = await zibrato(ground, args, { bin })
  expect(code).toBe(2)
  expect(stderr).toContain(`zibrato-librato: ${message}`)
  expect(stderr.trim().split('\n')).toHaveLength(1)
})

test('flags become the URL of the backend, whatever characters are in them', () => {
  const url = libratoUrl({
    username: "o'neil+$HOME@example.com",
    apitoken: 'a$b:c/d@e?f',
    api: 'measurements',
    endpoint: 'http://proxy:8080/librato',
    source: 'shop & $co',
    percentiles: [0.95, 0.999],
  })
  expect([url.user, url.password]).toEqual(["o'neil+$HOME@example.com", 'a$b:c/d@e?f'])
  expect([url.host, url.port, url.path]).toEqual(['proxy', 8080, '/librato'])
  expect([...url.params]).toEqual([
    ['tls', 'no'],
    ['api', 'measurements'],
    ['source', 'shop & $co'],
    ['percentiles', '95,99.9'],
  ])
})
