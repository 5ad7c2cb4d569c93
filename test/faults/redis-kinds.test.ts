import { it, onTestFinished } from 'vitest'
import { RedisCluster } from './redis-cluster.ts'
import { RedisFailover } from './redis-failover.ts'
import { expectLaws } from './expect-laws.ts'
import { LONG, randomFor } from './settings.ts'
import { type Fault, LEASE_MS, LIGHT_WORKER_FAULTS, WORKER_FAULTS, startPublishers, storm } from './storm.ts'
import { System } from './system.ts'

const FORMS = (
  [
    ['with a journal', true],
    ['without a journal', false],
  ] as const
).slice(0, LONG ? 2 : 1)

it.for(FORMS)('loses and doubles nothing while a Redis Cluster moves slots, %s', async ([, journal], { task }) => {
  const random = randomFor(task.name)
  const cluster = await RedisCluster.start('--appendonly', 'yes', '--appendfsync', 'always')
  onTestFinished(() => cluster.stop())
  await using system = await System.start({ random, state: `${cluster.url}?lease=${LEASE_MS}ms`, journal })
  const moves: Fault = {
    name: 'slots move',
    weight: 1,
    run: async (_, slots) => {
      for (let count = slots.between(1, 5); count > 0; count--) system.tell(await cluster.moveSlot(slots))
    },
  }
  await system.startWorker()
  await system.startWorker()
  await startPublishers(system, random)
  const durationMs = LONG ? 90_000 : 8_000
  const over = await Promise.allSettled([
    storm({ system, random: random.fork('slots'), durationMs, faults: [moves] }),
    storm({
      system,
      random: random.fork('workers'),
      durationMs,
      all: LONG,
      faults: LONG ? WORKER_FAULTS : LIGHT_WORKER_FAULTS,
    }),
  ])
  for (const each of over) if (each.status === 'rejected') throw each.reason
  const accounts = await system.settle()
  await expectLaws(system, accounts, 'nothing')
})

it.for(FORMS)(
  'loses and doubles nothing while a master with a replica fails over, %s',
  async ([, journal], { task }) => {
    const random = randomFor(task.name)
    const redis = await RedisFailover.start('--appendonly', 'yes', '--appendfsync', 'always')
    onTestFinished(() => redis.stop())
    // what only the master had would be gone with it
    const state = `${redis.url}?lease=${LEASE_MS}ms&replicas=1`
    await using system = await System.start({ random, state, journal })
    await system.startWorker()
    await system.startWorker()
    await startPublishers(system, random)
    for (let round = 0; round < (LONG ? 8 : 1); round++) {
      await system.catchUp()
      system.tell(await redis.failOver())
      await system.catchUp()
    }
    const accounts = await system.settle()
    await expectLaws(system, accounts, 'nothing')
  },
)
