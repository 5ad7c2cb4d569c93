import { it, onTestFinished } from 'vitest'
import { RedisServer } from '../redis-server.ts'
import { expectLaws } from './expect-laws.ts'
import { LONG, randomFor } from './settings.ts'
import {
  BROKER_FAULTS,
  GATEWAY_KILLS,
  GATEWAY_STOPS,
  LEASE_MS,
  WORKER_FAULTS,
  redisFaults,
  startPublishers,
  storm,
} from './storm.ts'
import { System } from './system.ts'

it('doubles nothing that comes in bundles while the gateway is killed', async ({ task }) => {
  const random = randomFor(task.name)
  const redis = await RedisServer.start()
  onTestFinished(() => redis.stop())
  await using system = await System.start({ random, state: `${redis.url}?lease=${LEASE_MS}ms`, longestDelayMs: 4_000 })
  await system.startWorker()
  await system.startWorker()
  const seed = random.fork('publisher').seed
  const publisher = await system.startPublisher({ source: 'bundles', kind: 'frames', url: system.gatewayUrl, seed })
  publisher.resume()
  await storm({
    system,
    random: random.fork('faults'),
    durationMs: LONG ? 30_000 : 4_000,
    faults: [GATEWAY_KILLS],
  })
  const accounts = await system.quieten()
  await expectLaws(system, accounts, 'perhaps')
})

it('loses and doubles nothing while workers, broker, gateway and Redis fail one after another', async ({ task }) => {
  const random = randomFor(task.name)
  const redis = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
  onTestFinished(() => redis.stop())
  await using system = await System.start({
    random,
    state: `${redis.url}?lease=${LEASE_MS}ms`,
    backend: `&timeout=${LONG ? random.pick(['2s', '25s']) : '2s'}`,
    longestDelayMs: LONG ? 20_000 : 4_000,
  })
  await system.startWorker()
  await system.startWorker()
  await startPublishers(system, random)
  await storm({
    system,
    random: random.fork('faults'),
    durationMs: LONG ? 420_000 : 0,
    faults: [...WORKER_FAULTS, ...BROKER_FAULTS, GATEWAY_STOPS, ...redisFaults(redis)],
  })
  const accounts = await system.settle()
  await expectLaws(system, accounts, 'nothing')
})
