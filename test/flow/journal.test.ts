import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { type Redis as Client, Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SHARDS } from '../../client/wire/series.ts'
import { JournalKeys } from '../../gateway/journal/keys.ts'
import { freePort } from '../free-port.ts'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import { Playground, type Program } from './processes.ts'

let server: RedisServer
let redis: Client
let spaces = 0

beforeAll(async () => {
  server = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
  redis = new Redis(server.port, { maxRetriesPerRequest: null })
  redis.on('error', () => {})
})

afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

/** Keys of a test's own. */
class Space {
  readonly prefix = `t${spaces++}:`
  readonly flags: readonly string[] = ['--journal', '--state', `${server.url}?prefix=${this.prefix}&lease=1s`]
  readonly #keys = new JournalKeys(this.prefix)

  /** Entries of all shards. */
  async length(): Promise<number> {
    const lengths = await Promise.all(
      Array.from({ length: SHARDS }, (_, shard) => redis.xlen(this.#keys.stream(shard))),
    )
    return lengths.reduce((sum, length) => sum + length, 0)
  }

  worker(ground: Playground, file: string, ...more: string[]) {
    return ground.zibrato('worker', ...this.flags, '--flush', '1', '--to', `file:${file}`, ...more)
  }
}

/** Posts until told to stop; each post, which has a key, again and again until it is acknowledged. Resolves with their number. */
class Posting {
  readonly #done: Promise<number>
  #stopping = false
  acknowledged = 0
  retries = 0

  constructor(url: () => string, name: string) {
    this.#done = Promise.all(Array.from({ length: 4 }, (_, index) => this.#run(url, name, index))).then(
      () => this.acknowledged,
    )
  }

  stop(): Promise<number> {
    this.#stopping = true
    return this.#done
  }

  async #run(url: () => string, name: string, index: number): Promise<void> {
    for (let post = 0; !this.#stopping; post++) {
      const body = JSON.stringify([
        { type: 'counter', name, value: 1 },
        { type: 'timer', name: `${name}.timer`, value: 0.01 },
      ])
      while (!(await this.#post(url(), body, `${name}-${index}-${post}`))) {
        this.retries++
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      this.acknowledged++
    }
  }

  async #post(url: string, body: string, key: string): Promise<boolean> {
    try {
      const response = await fetch(`${url}/v1/metrics`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body,
        signal: AbortSignal.timeout(5_000),
      })
      await response.text()
      return response.status === 202
    } catch {
      return false
    }
  }
}

const CLIENT = `
  import { Zibrato } from 'DIST/client/index.js'
  const z = new Zibrato({ url: process.env.URL, source: process.env.SOURCE, flushInterval: 50, closeTimeout: '25s' })
  const counters = Array.from({ length: 10 }, (_, i) => z.counter('c' + i))
  let recorded = 0
  const ticking = setInterval(() => { counters[recorded++ % 10].inc() }, 1)
  process.once('SIGTERM', async () => {
    clearInterval(ticking)
    await z.close()
    console.log(JSON.stringify({ recorded, stats: z.stats() }))
    process.exit(0)
  })
  console.log('ready')
`

async function client(ground: Playground, url: string, source: string): Promise<Program> {
  const program = ground.node(CLIENT, { URL: url, SOURCE: source })
  await program.output(({ stdout }) => (stdout.includes('ready') ? true : undefined), 'ready')
  return program
}

async function recordedBy(program: Program): Promise<number> {
  program.child.kill('SIGTERM')
  expect(await program.ended, program.stderr).toBe(0)
  const { recorded, stats } = JSON.parse(program.stdout.trim().split('\n').at(-1) as string) as {
    recorded: number
    stats: object
  }
  expect(stats).toMatchObject({ waiting: 0, unknown: 0, dropped: {} })
  return recorded
}

function counted(ground: Playground, file: string): number {
  const sums = ground.sums(file)
  return Array.from({ length: 10 }, (_, index) => sums.get(`c${index}`) ?? 0).reduce((left, right) => left + right, 0)
}

async function freePair(): Promise<number> {
  for (;;) {
    const port = await freePort()
    if (port < 65_000 && (await isFree(port + 1))) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer()
  return new Promise((resolve) => {
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

it('loses and doubles nothing that was acknowledged while gateway, broker and worker are killed', async () => {
  await using ground = new Playground()
  const space = new Space()
  const brokerPort = await freePair()
  const httpPort = await freePort()
  const broker = () => ground.zibrato('broker', '--port', String(brokerPort), ...space.flags)
  const gateway = () =>
    ground.zibrato('gateway', '--http', String(httpPort), '--broker', `tcp://127.0.0.1:${brokerPort}`, ...space.flags)
  const worker = () => space.worker(ground, 'out.jsonl')
  let brokers = await broker()
  let gateways = await gateway()
  let workers = await worker()
  const posting = new Posting(() => `http://127.0.0.1:${httpPort}`, 'posted')
  const program = await client(ground, `tcp://127.0.0.1:${brokerPort}`, 'direct')
  for (let round = 0; round < 3; round++) {
    const before = { acknowledged: posting.acknowledged, counted: counted(ground, 'out.jsonl') }
    await until(() => posting.acknowledged > before.acknowledged + 20, 'posts are acknowledged')
    await until(() => counted(ground, 'out.jsonl') > before.counted, 'counts arrive')
    await gateways.program.stop('SIGKILL')
    gateways = await gateway()
    await brokers.program.stop('SIGKILL')
    brokers = await broker()
    await workers.program.stop('SIGKILL')
    workers = await worker()
  }
  const [posted, direct] = [await posting.stop(), await recordedBy(program)]
  await until(() => counted(ground, 'out.jsonl') >= direct, 'all direct counts arrive')
  await until(() => (ground.sums('out.jsonl').get('posted') ?? 0) >= posted, 'all posts arrive')
  await until(async () => (await space.length()) === 0, 'the journal is trimmed')
  expect(await workers.program.stop(), workers.program.stderr).toBe(0)
  const sums = ground.sums('out.jsonl')
  expect([sums.get('posted'), sums.get('posted.timer'), counted(ground, 'out.jsonl')]).toEqual([posted, posted, direct])
}, 60_000)

it('keeps what comes while Redis stands still, is killed and returns, and the broker is killed meanwhile', async () => {
  await using ground = new Playground()
  const space = new Space()
  const brokerPort = await freePair()
  const url = `tcp://127.0.0.1:${brokerPort}`
  const broker = () => ground.zibrato('broker', '--port', String(brokerPort), ...space.flags)
  const { program } = await broker()
  const { listening } = await ground.zibrato('gateway', '--http', '0', '--udp', '0', '--broker', url, ...space.flags)
  const worker = await space.worker(ground, 'out.jsonl')
  const posting = new Posting(() => listening.http as string, 'posted')
  const publisher = await client(ground, url, 'direct')
  await until(() => counted(ground, 'out.jsonl') > 0 && ground.sums('out.jsonl').has('posted'), 'counts arrive')
  const retries = posting.retries
  server.signal('SIGSTOP')
  // a datagram a while, so that none is dropped
  const lines = sending(listening.udp as string, 'lined')
  await program.output(
    ({ stderr }) => (stderr.includes('does not take what was received') ? true : undefined),
    'silence',
  )
  await until(() => posting.retries > retries, 'posts are refused')
  // what it held is with those who sent it
  await program.stop('SIGKILL')
  const second = await broker()
  server.signal('SIGCONT')
  const before = counted(ground, 'out.jsonl')
  await until(() => counted(ground, 'out.jsonl') > before, 'counts arrive again')
  const sent = await lines.stop()
  await server.kill()
  await server.start()
  const acknowledged = posting.acknowledged
  await until(() => posting.acknowledged > acknowledged, 'posts are acknowledged again')
  const [posted, direct] = [await posting.stop(), await recordedBy(publisher)]
  await until(() => counted(ground, 'out.jsonl') >= direct, 'all direct counts arrive')
  const sums = (): Map<string, number> => ground.sums('out.jsonl')
  await until(() => (sums().get('posted') ?? 0) >= posted && (sums().get('lined') ?? 0) >= sent, 'all others arrive')
  await until(async () => (await space.length()) === 0, 'the journal is trimmed')
  expect(await worker.program.stop(), worker.program.stderr).toBe(0)
  expect(await second.program.stop(), second.program.stderr).toBe(0)
  expect([sums().get('posted'), sums().get('lined'), counted(ground, 'out.jsonl')]).toEqual([posted, sent, direct])
}, 90_000)

it('serves groups with other windows and levels, one of them late, exactly', async () => {
  await using ground = new Playground()
  const space = new Space()
  const up = await ground.zibrato(
    ...'up --port 0 --http 0 --flush 1 --group first --to file:first.jsonl'.split(' '),
    ...space.flags,
  )
  const url = `${up.listening.http}/v1/metrics`
  const post = async (level: string, value: number): Promise<void> => {
    const body = JSON.stringify({ level, measurements: [{ type: 'counter', name: `${level}.orders`, value }] })
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    expect(response.status, await response.text()).toBe(202)
  }
  // registered, so that all of it is kept for it, and away
  const second = await space.worker(ground, 'second.jsonl', '--group', 'second', '--levels', 'info')
  await until(async () => (await redis.hlen(new JournalKeys(space.prefix).groups(31))) === 2, 'two groups')
  expect(await second.program.stop(), second.program.stderr).toBe(0)
  await post('info', 1)
  await until(() => ground.sums('first.jsonl').get('info.orders') === 1, 'the first window')
  await post('info', 10)
  await post('debug', 100)
  await until(() => ground.sums('first.jsonl').get('debug.orders') === 100, 'the second window')
  expect(await space.length()).toBeGreaterThan(0)
  const lateMs = Date.now()
  const late = await ground.zibrato(
    ...'worker --group second --levels info --flush 500ms --to file:second.jsonl'.split(' '),
    ...space.flags,
  )
  await post('info', 1_000)
  for (const [file, sum] of [['first.jsonl', 1_011] as const, ['second.jsonl', 1_011] as const]) {
    await until(() => ground.sums(file).get('info.orders') === sum, `all of ${file}`)
  }
  expect(ground.sums('second.jsonl').has('debug.orders')).toBe(false)
  // what was received before it came is in windows of that time
  const early = ground.rollups('second.jsonl').filter(({ time }) => time * 1_000 < lateMs)
  expect(early.map(({ value }) => value)).toEqual([1, 10])
  await until(async () => (await space.length()) === 0, 'the journal is trimmed')
  expect(await late.program.stop(), late.program.stderr).toBe(0)
  await post('info', 1)
  await until(() => ground.sums('first.jsonl').get('info.orders') === 1_012, 'the first group goes on')
  // the group that is away holds it, until it is forgotten
  expect(await space.length()).toBeGreaterThan(0)
  const forget = ground.cli('groups', 'forget', 'second', ...space.flags.slice(1))
  expect(await forget.ended, forget.stderr).toBe(0)
  expect(await space.length()).toBe(0)
}, 60_000)

it('refuses posts while Redis is nearly full or full, and takes them again', async () => {
  await using ground = new Playground()
  const space = new Space()
  const up = await ground.zibrato('up', '--port', '0', '--http', '0', '--flush', '1', ...space.flags)
  const post = async (): Promise<Response> =>
    fetch(`${up.listening.http}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([{ type: 'counter', name: 'orders', value: 1 }]),
    })
  expect((await post()).status).toBe(202)
  try {
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
    for (const maxmemory of [Math.round(used * 1.04), 1_000]) {
      await redis.config('SET', 'maxmemory', maxmemory)
      await until(async () => (await post()).status === 503, 'posts are refused')
      const refused = await post()
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
      expect(await refused.json()).toMatchObject({
        error: { code: 'unavailable', message: expect.stringMatching(/journal is full/) as unknown },
      })
      expect((await fetch(`${up.listening.http}/readyz`)).status).toBe(503)
      await redis.config('SET', 'maxmemory', 0)
      await until(async () => (await post()).status === 202, 'posts are taken again')
    }
  } finally {
    await redis.config('SET', 'maxmemory', 0)
  }
}, 30_000)

it('does not work with a broker that has no journal, and says so until it has one', async () => {
  await using ground = new Playground()
  const space = new Space()
  const port = await freePair()
  const plain = await ground.zibrato('broker', '--port', String(port))
  const { program, listening } = await ground.zibrato(
    ...`gateway --http 0 --broker tcp://127.0.0.1:${port}`.split(' '),
    ...space.flags,
  )
  const post = async (): Promise<Response> =>
    fetch(`${listening.http}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([{ type: 'counter', name: 'orders', value: 1 }]),
    })
  await until(async () => (await post()).status === 503, 'posts are refused')
  const refused = await post()
  expect(await refused.json()).toMatchObject({
    error: { code: 'unavailable', message: expect.stringMatching(/the broker has no journal/) as unknown },
  })
  expect(program.stderr).toMatch(/start it with --journal/)
  await plain.program.stop()
  await ground.zibrato('broker', '--port', String(port), ...space.flags)
  await until(async () => (await post()).status === 202, 'posts are taken')
}, 30_000)

/** Sends a StatsD line every few milliseconds. */
function sending(udp: string, name: string): { stop(): Promise<number> } {
  const port = Number(udp.split(':').pop())
  const socket = createSocket('udp4')
  let sent = 0
  const ticking = setInterval(() => {
    sent++
    socket.send(`${name}:1|c`, port, '127.0.0.1')
  }, 5)
  return {
    async stop() {
      clearInterval(ticking)
      await new Promise<void>((resolve) => socket.close(resolve))
      return sent
    },
  }
}
