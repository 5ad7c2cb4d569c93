import { strict as assert } from 'node:assert'
import { connectRedis } from '../../backends/state/redis/connect.ts'
import type { Connection } from '../../backends/state/redis/connection.ts'
import { type GroupReport, inspectGroup } from '../../backends/state/redis/inspect.ts'
import { parseRedisUrl } from '../../backends/state/redis/url.ts'
import { Rates } from '../../client/sketch/rates.ts'
import { SHARDS } from '../../client/wire/series.ts'
import type { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import type { Playground, Program, Rollup } from './processes.ts'

const NAMES = 20

/** Every millisecond or so it adds to one of many counters, marks a meter and times something, until it gets a SIGTERM. */
const CLIENT = `
  import { Zibrato } from 'DIST/client/index.js'
  const z = new Zibrato({ url: process.env.URL, source: process.env.SOURCE, flushInterval: 50, closeTimeout: '20s' })
  const counters = Array.from({ length: ${NAMES} }, (_, i) => z.counter('c' + i))
  const meter = z.meter('m')
  const timer = z.timer('t')
  let recorded = 0
  const ticking = setInterval(() => { counters[recorded % ${NAMES}].inc(); meter.mark(); timer.record(0.001); recorded++ }, 1)
  process.once('SIGTERM', async () => {
    clearInterval(ticking)
    await z.close()
    console.log(JSON.stringify({ recorded, stats: z.stats() }))
    process.exit(0)
  })
  console.log('ready')
`

/** Makes a client that counts, and closes it, over and over, until it gets a SIGTERM. */
export const BRIEF_CLIENTS: string = `
  import { Zibrato } from 'DIST/client/index.js'
  let recorded = 0
  let stopped = false
  process.once('SIGTERM', () => (stopped = true))
  console.log('ready')
  while (!stopped) {
    const z = new Zibrato({ url: process.env.URL, source: process.env.SOURCE, closeTimeout: '20s', exitHooks: false })
    const [counter, meter, timer] = [z.counter('c' + (recorded % ${NAMES})), z.meter('m'), z.timer('t')]
    counter.inc(); meter.mark(); timer.record(0.001); recorded++
    await z.close()
    const { waiting, unknown, dropped } = z.stats()
    if (waiting + unknown > 0 || Object.keys(dropped).length > 0) throw new Error(JSON.stringify(z.stats()))
  }
  console.log(JSON.stringify({ recorded, stats: { waiting: 0, unknown: 0, dropped: {} } }))
`

/** A broker, clients, and workers of one group that each write to a file of their own. */
export class Fleet {
  readonly #server: RedisServer
  readonly #connection: Connection
  readonly ground: Playground
  readonly group: string
  readonly broker: string
  readonly #file = new Map<Program, string>()
  #files = 0
  readonly clients: Program[] = []

  private constructor(server: RedisServer, connection: Connection, ground: Playground, group: string, broker: string) {
    this.#server = server
    this.#connection = connection
    this.ground = ground
    this.group = group
    this.broker = broker
  }

  static async start(server: RedisServer, ground: Playground, group: string): Promise<Fleet> {
    const connection = await connectRedis(parseRedisUrl(server.url))
    await connection.ready(10_000)
    const { listening } = await ground.zibrato('broker', '--port', '0')
    return new Fleet(server, connection, ground, group, listening.broker?.publishers as string)
  }

  async worker(): Promise<Program> {
    const file = `out${this.#files++}.jsonl`
    const to = `file:${file}?known-as=out&in-doubt=resend`
    const state = `${this.#server.url}?lease=1s`
    const args = ['--broker', this.broker, '--state', state, '--group', this.group, '--flush', '1', '--to', to]
    const { program } = await this.ground.zibrato('worker', ...args)
    this.#file.set(program, file)
    return program
  }

  async client(source: string, script: string = CLIENT): Promise<void> {
    const program = this.ground.node(script, { URL: this.broker, SOURCE: source })
    await program.output(({ stdout }) => (stdout.includes('ready') ? true : undefined), 'ready')
    this.clients.push(program)
  }

  inspect(): Promise<GroupReport> {
    return inspectGroup(this.#connection, 'zibrato:', this.group)
  }

  /** Resolves when each of these workers has its share of the shards, and nobody else has any. */
  async shared(workers: readonly Program[]): Promise<void> {
    const share = SHARDS / workers.length
    await until(async () => {
      const { workers: live, shards } = await this.inspect()
      const loads = workers.map(({ pid }) => {
        const id = live.find((each) => each.pid === pid)?.id
        return id === undefined ? 0 : shards.filter(({ owner }) => owner === id).length
      })
      return loads.every((load) => load === share)
    }, `${workers.length} workers have ${share} shards each`)
  }

  /** Resolves when each of these workers has flushed something more. */
  async flushed(workers: readonly Program[]): Promise<void> {
    const counts = (): number[] => workers.map((worker) => this.ground.rollups(this.#file.get(worker) as string).length)
    const before = counts()
    await until(() => counts().every((count, index) => count > (before[index] as number)), 'workers flush')
  }

  /** Ends the clients, then the workers that are left, and answers what was recorded. */
  async finish(left: readonly Program[]): Promise<number> {
    let recorded = 0
    for (const { child } of this.clients) child.kill('SIGTERM')
    for (const program of this.clients) {
      assert.equal(await program.ended, 0, program.stderr)
      const said = JSON.parse(program.stdout.trim().split('\n').at(-1) as string) as {
        recorded: number
        stats: { waiting: number; unknown: number; dropped: Record<string, number> }
      }
      const { waiting, unknown, dropped } = said.stats
      assert.deepEqual({ waiting, unknown, dropped }, { waiting: 0, unknown: 0, dropped: {} })
      recorded += said.recorded
    }
    for (const worker of left) assert.equal(await worker.stop(), 0, worker.stderr)
    return recorded
  }

  /** What arrived, each series by time; what was delivered twice must have been the same. */
  arrived(): Map<string, Rollup[]> {
    const seen = new Map<string, Rollup>()
    for (const file of this.#file.values()) {
      for (const rollup of this.ground.rollups(file)) {
        const key = `${rollup.type} ${rollup.name} ${rollup.source} ${rollup.time}`
        assert.deepEqual(seen.get(key) ?? rollup, rollup, key)
        seen.set(key, rollup)
      }
    }
    const series = new Map<string, Rollup[]>()
    for (const rollup of seen.values()) {
      const key = `${rollup.type} ${rollup.name} ${rollup.source}`
      series.set(key, [...(series.get(key) ?? []), rollup])
    }
    for (const rollups of series.values()) rollups.sort((a, b) => a.time - b.time)
    return series
  }

  /** What arrived in all, once expected to have totals and rates that go on from owner to owner. */
  sums(): Record<string, number> {
    const sums = { counter: 0, meter: 0, timer: 0 }
    for (const [series, rollups] of this.arrived()) {
      let total = 0
      const rates = new Rates()
      for (const rollup of rollups) {
        const { type, time, interval } = rollup
        const count = rollup.value ?? rollup.count ?? 0
        sums[type as keyof typeof sums] += count
        total += count
        if (type === 'counter') assert.equal(rollup.total, total, `${series} at ${time}`)
        if (type !== 'meter') continue
        rates.advance(count, time, interval)
        const { m1 } = rollup as unknown as { m1: number }
        assert.ok(Math.abs(m1 - rates.m1) < 1e-6, `${series} at ${time}: m1 is ${m1}, not ${rates.m1}`)
      }
    }
    return sums
  }

  [Symbol.dispose](): void {
    this.#connection.close()
  }
}
