import { expect, it } from 'vitest'
import { freePair } from '../free-port.ts'
import { until } from '../until.ts'
import { Playground, type Program } from './processes.ts'

/**
 * Counts until it reads a line on stdin, then closes and says what it recorded. Every millisecond it adds 1 to one of
 * ten counters, and now and then a frame goes out.
 */
const CLIENT = `
  import { Zibrato } from 'DIST/client/index.js'
  const z = new Zibrato({ url: process.env.URL, source: process.env.SOURCE, flushInterval: 50, closeTimeout: '20s' })
  const counters = Array.from({ length: 10 }, (_, i) => z.counter('c' + i))
  const timer = z.timer('t')
  let recorded = 0
  const ticking = setInterval(() => { counters[recorded % 10].inc(); timer.record(0.001); recorded++ }, 1)
  const stop = async () => {
    clearInterval(ticking)
    await z.close()
    console.log(JSON.stringify({ recorded, stats: z.stats() }))
    process.exit(0)
  }
  process.once('SIGTERM', stop)
  console.log('ready')
`

interface Recorded {
  readonly recorded: number
  readonly stats: { readonly waiting: number; readonly unknown: number; readonly dropped: Record<string, number> }
}

async function client(ground: Playground, url: string, source: string): Promise<Program> {
  const program = ground.node(CLIENT, { URL: url, SOURCE: source })
  await program.output(({ stdout }) => (stdout.includes('ready') ? true : undefined), 'ready')
  return program
}

async function finish(program: Program): Promise<number> {
  program.child.kill('SIGTERM')
  return recordedBy(program)
}

/** What a client says at its end. */
async function recordedBy(program: Program): Promise<number> {
  expect(await program.ended, program.stderr).toBe(0)
  const { recorded, stats } = JSON.parse(program.stdout.trim().split('\n').at(-1) as string) as Recorded
  expect(stats).toMatchObject({ waiting: 0, unknown: 0, dropped: {} })
  expect(recorded).toBeGreaterThan(0)
  return recorded
}

/** What the counters c0 .. c9, and the timer, come to in a file. */
function counted(ground: Playground, file: string): { counters: number; timers: number } {
  const sums = ground.sums(file)
  return {
    counters: Array.from({ length: 10 }, (_, i) => sums.get(`c${i}`) ?? 0).reduce((left, right) => left + right, 0),
    timers: sums.get('t') ?? 0,
  }
}

it('loses and doubles nothing while the broker is killed five times under two clients', async () => {
  await using ground = new Playground()
  const port = await freePair()
  const url = `tcp://127.0.0.1:${port}`
  const broker = () => ground.zibrato('broker', '--port', String(port))
  let { program } = await broker()
  const worker = await ground.zibrato(
    'worker',
    '--broker',
    url,
    '--flush',
    '1',
    '--state',
    'file:state',
    '--to',
    'file:out.jsonl',
  )
  const clients = [await client(ground, url, 'one'), await client(ground, url, 'two')]
  for (let round = 0; round < 5; round++) {
    const before = counted(ground, 'out.jsonl').counters
    await until(() => counted(ground, 'out.jsonl').counters > before, 'counts arrive')
    await program.stop('SIGKILL')
    ;({ program } = await broker())
  }
  const recorded = await Promise.all(clients.map(finish))
  const expected = recorded.reduce((left, right) => left + right, 0)
  expect(await worker.program.stop(), worker.program.stderr).toBe(0)
  expect(counted(ground, 'out.jsonl')).toEqual({ counters: expected, timers: expected })
})

it('loses and doubles nothing while a worker on a directory is killed five times', async () => {
  await using ground = new Playground()
  const { listening } = await ground.zibrato('broker', '--port', '0')
  const url = listening.broker?.publishers as string
  const worker = () =>
    ground.zibrato(
      'worker',
      '--broker',
      url,
      '--flush',
      '1',
      '--state',
      'file:state',
      '--to',
      'file:out.jsonl?in-doubt=resend',
    )
  let { program } = await worker()
  const clients = [await client(ground, url, 'one'), await client(ground, url, 'two')]
  for (let round = 0; round < 5; round++) {
    const before = counted(ground, 'out.jsonl').counters
    await until(() => counted(ground, 'out.jsonl').counters > before, 'counts arrive')
    await program.stop('SIGKILL')
    ;({ program } = await worker())
  }
  const recorded = await Promise.all(clients.map(finish))
  const expected = recorded.reduce((left, right) => left + right, 0)
  expect(await program.stop(), program.stderr).toBe(0)
  expect(counted(ground, 'out.jsonl')).toEqual({ counters: expected, timers: expected })
  // running totals go on across restarts
  const totals = new Map(
    ground
      .rollups('out.jsonl')
      .filter(({ name }) => name.startsWith('c'))
      .map((each) => [each.source + each.name, each.total ?? 0]),
  )
  expect([...totals.values()].reduce((left, right) => left + right, 0)).toBe(expected)
})

it('gives two groups at one broker the same sums while one of them is restarted', async () => {
  await using ground = new Playground()
  const { program: broker, listening } = await ground.zibrato('broker', '--port', '0')
  const url = listening.broker?.publishers as string
  const worker = (group: string, flush: string) =>
    ground.zibrato(
      'worker',
      '--broker',
      url,
      '--group',
      group,
      '--flush',
      flush,
      '--state',
      `file:${group}`,
      '--to',
      `file:${group}.jsonl`,
    )
  const first = await worker('first', '1')
  let second = await worker('second', '500ms')
  const publisher = await client(ground, url, 'one')
  for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
    const before = counted(ground, 'second.jsonl').counters
    await until(() => counted(ground, 'second.jsonl').counters > before, 'counts arrive')
    await second.program.stop(signal)
    second = await worker('second', '500ms')
  }
  const recorded = await finish(publisher)
  expect(await first.program.stop(), first.program.stderr).toBe(0)
  expect(await second.program.stop(), second.program.stderr).toBe(0)
  expect(await broker.stop()).toBe(0)
  expect(counted(ground, 'first.jsonl')).toEqual({ counters: recorded, timers: recorded })
  expect(counted(ground, 'second.jsonl')).toEqual({ counters: recorded, timers: recorded })
})

it.each([
  ['client', 'gateway', 'broker', 'worker'],
  ['worker', 'broker', 'gateway', 'client'],
  ['broker', 'worker', 'client', 'gateway'],
  ['gateway', 'client', 'worker', 'broker'],
])('loses nothing when %s, %s, %s and %s get SIGTERM at once', async (...order) => {
  await using ground = new Playground()
  const { program: broker, listening } = await ground.zibrato('broker', '--port', '0')
  const url = listening.broker?.publishers as string
  const worker = await ground.zibrato(
    'worker',
    '--broker',
    url,
    '--flush',
    '1',
    '--state',
    'file:state',
    '--to',
    'file:out.jsonl',
  )
  const gateway = await ground.zibrato('gateway', '--broker', url, '--http', '0')
  const publisher = await client(ground, url, 'one')
  let posted = 0
  const posts = (async () => {
    for (;;) {
      const body = '{"measurements":[{"type":"counter","name":"posted","value":1}]}'
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(new URL('/v1/metrics', gateway.listening.http), {
        method: 'POST',
        headers,
        body,
      }).catch(() => undefined)
      if (answer?.status !== 202) return
      posted++
    }
  })()
  await until(() => counted(ground, 'out.jsonl').counters > 0 && posted > 0, 'counts arrive')

  const programs = { client: publisher, gateway: gateway.program, broker, worker: worker.program }
  for (const name of order as (keyof typeof programs)[]) programs[name].child.kill('SIGTERM')
  const recorded = await recordedBy(publisher)
  await posts
  for (const program of [gateway.program, broker, worker.program]) expect(await program.ended, program.stderr).toBe(0)
  expect(counted(ground, 'out.jsonl')).toEqual({ counters: recorded, timers: recorded })
  expect(ground.sums('out.jsonl').get('posted')).toBe(posted)
})
