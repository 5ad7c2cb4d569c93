import type { Program } from '../flow/processes.ts'
import type { RedisServer } from '../redis-server.ts'
import type { Random } from './random.ts'
import { LONG } from './settings.ts'
import type { System } from './system.ts'

/** The lease of workers in these tests. */
export const LEASE_MS = 1_000

export interface Storm {
  readonly system: System
  readonly random: Random
  /** How long at least. */
  readonly durationMs: number
  /** Whether it goes on until each fault was there, however long that takes. Default true. */
  readonly all?: boolean
  readonly faults: readonly Fault[]
}

/** How long a shard may be nobody's when the next fault comes. With what that takes, publishers still have what was in hand. */
const SLACK_MS = 4_000

/** Something bad that happens; it leaves everything running again. */
export interface Fault {
  readonly name: string
  readonly weight: number
  /** Whether what workers have in hand is handed on or stays with them, and is not torn from them. Default false. */
  readonly sparesWorkers?: boolean
  readonly run: (system: System, random: Random) => Promise<void>
}

/** Faults one after another: each once in any order, then each as often as its weight says, with pauses between them. */
export async function storm({ system, random, durationMs, all = true, faults }: Storm): Promise<void> {
  const end = performance.now() + durationMs
  const weights = Object.fromEntries(faults.map(({ name, weight }) => [name, weight]))
  system.recorder.calm = false
  const first = random.shuffled(faults.map(({ name }) => name))
  let count = 0
  while (performance.now() < end || (all && first.length > 0)) {
    const name = first.shift() ?? random.weighted(weights)
    try {
      if (!system.hasJournal) await system.covered(SLACK_MS)
      system.tell(name)
      const fault = faults.find((each) => each.name === name)
      await fault?.run(system, random.fork(`${name} ${count++}`))
      if (fault?.sparesWorkers !== true) system.unsettle()
    } catch (error) {
      throw new Error(system.report([`${name}: ${(error as Error).message}`]), { cause: error })
    }
    await wait(random.between(100, LONG ? 1_500 : 500))
  }
  system.tell('the storm is over')
}

/** Publishers of every kind, which begin to record. */
export async function startPublishers(system: System, random: Random): Promise<void> {
  const publishers = [
    { source: 'broker-1', kind: 'frames', url: system.brokerUrl },
    { source: 'broker-2', kind: 'frames', url: system.brokerUrl },
    { source: 'bundles', kind: 'frames', url: system.gatewayUrl },
    { source: 'posts', kind: 'json', url: system.gatewayUrl },
  ] as const
  for (const options of publishers) {
    const publisher = await system.startPublisher({ ...options, seed: random.fork(options.source).seed })
    publisher.resume()
  }
}

/** Faults of workers. */
export const WORKER_FAULTS: readonly Fault[] = [
  {
    name: 'a worker is killed',
    weight: 4,
    run: async (system, random) => {
      await system.take(random).stop('SIGKILL')
      await wait(random.between(0, 2 * LEASE_MS))
      await system.startWorker()
    },
  },
  {
    name: 'a worker is paused beyond its lease',
    weight: 3,
    run: (_, random) => pause(_.workers, random, LEASE_MS + random.between(200, 2_000)),
  },
  {
    name: 'a worker is paused',
    weight: 1,
    run: (system, random) => pause(system.workers, random, random.between(50, LEASE_MS - 200)),
  },
  {
    name: 'a worker is stopped and started',
    weight: 3,
    sparesWorkers: true,
    run: async (system, random) => {
      await stopped(system, system.take(random))
      await system.startWorker()
    },
  },
  {
    name: 'workers are 1, 4, 2',
    weight: 2,
    sparesWorkers: true,
    run: async (system, random) => {
      for (const count of [1, 4, 2]) {
        while (system.workers.length > count) await stopped(system, system.take(random))
        while (system.workers.length < count) await system.startWorker()
        await wait(random.between(200, LONG ? 1_500 : 700))
      }
    },
  },
  {
    name: 'all workers are killed',
    weight: 1,
    run: async (system, random) => {
      const victims = system.workers.splice(0)
      await Promise.all(victims.map((worker) => worker.stop('SIGKILL')))
      await wait(random.between(0, 1_000))
      await Promise.all(victims.map(() => system.startWorker()))
    },
  },
]

/** Those of workers that take little time. */
export const LIGHT_WORKER_FAULTS: readonly Fault[] = WORKER_FAULTS.filter(({ name }) => name !== 'workers are 1, 4, 2')

export const BROKER_FAULTS: readonly Fault[] = [
  {
    name: 'the broker is killed',
    weight: 3,
    sparesWorkers: true,
    run: async (system, random) => {
      await system.broker?.stop('SIGKILL')
      await wait(random.between(0, 1_000))
      await system.startBroker()
    },
  },
  {
    name: 'the broker is stopped and started',
    weight: 1,
    sparesWorkers: true,
    run: async (system) => {
      if (system.broker !== undefined) await stopped(system, system.broker)
      await system.startBroker()
    },
  },
]

/** What it has acknowledged is out before it ends, as nobody else has it. */
export const GATEWAY_STOPS: Fault = {
  name: 'the gateway is stopped and started',
  weight: 1,
  sparesWorkers: true,
  run: (system) => system.restartGateway((gateway) => stopped(system, gateway)),
}

export const GATEWAY_KILLS: Fault = {
  name: 'the gateway is killed',
  weight: 3,
  sparesWorkers: true,
  run: async (system, random) => {
    await system.gateway?.stop('SIGKILL')
    await wait(random.between(0, 1_000))
    await system.startGateway()
  },
}

export function redisFaults(redis: RedisServer): readonly Fault[] {
  return [
    {
      name: 'Redis is killed and started',
      weight: 2,
      run: async (_, random) => {
        await redis.kill()
        await wait(random.between(0, 1_500))
        await redis.start()
      },
    },
    {
      name: 'Redis stands still',
      weight: 1,
      run: async (_, random) => {
        redis.signal('SIGSTOP')
        await wait(random.between(100, 2 * LEASE_MS))
        redis.signal('SIGCONT')
      },
    },
  ]
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function pause(workers: readonly Program[], random: Random, ms: number): Promise<void> {
  const { child } = random.pick(workers)
  child.kill('SIGSTOP')
  await wait(ms)
  child.kill('SIGCONT')
}

/** When Redis is away at the same time, what could not be written there is told by a 1. */
async function stopped(system: System, program: Program): Promise<void> {
  const ended = await program.stop()
  if (ended !== 0 && !(ended === 1 && system.isRedisStormy)) {
    throw new Error(`pid ${program.pid} ended with ${ended} on SIGTERM`)
  }
}
