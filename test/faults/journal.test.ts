import { expect, it, onTestFinished } from 'vitest'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import { judge } from './laws.ts'
import { Recorder } from './recorder.ts'
import { expectLaws } from './expect-laws.ts'
import { LONG, PATIENCE_MS, randomFor } from './settings.ts'
import {
  BROKER_FAULTS,
  GATEWAY_KILLS,
  LEASE_MS,
  LIGHT_WORKER_FAULTS,
  WORKER_FAULTS,
  redisFaults,
  startPublishers,
  storm,
} from './storm.ts'
import { System } from './system.ts'

it('with a journal, loses and doubles nothing while everything fails at once', async ({ task }) => {
  const random = randomFor(task.name)
  const redis = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
  onTestFinished(() => redis.stop())
  await using system = await System.start({
    random,
    state: `${redis.url}?lease=${LEASE_MS}ms`,
    journal: true,
    backend: `&timeout=${LONG ? random.pick(['2s', '25s']) : '2s'}`,
    longestDelayMs: LONG ? 20_000 : 4_000,
  })
  await system.startWorker()
  await system.startWorker()
  await startPublishers(system, random)
  const durationMs = LONG ? 400_000 : 0
  const storms = { workers: WORKER_FAULTS, entrances: [...BROKER_FAULTS, GATEWAY_KILLS], redis: redisFaults(redis) }
  system.isRedisStormy = true
  const over = await Promise.allSettled(
    Object.entries(storms).map(([what, faults]) => storm({ system, random: random.fork(what), durationMs, faults })),
  )
  for (const each of over) if (each.status === 'rejected') throw each.reason
  system.isRedisStormy = false
  const accounts = await system.settle()
  await expectLaws(system, accounts, 'nothing')
})

it('two groups of different intervals read one journal, and each is exact from its start on', async ({ task }) => {
  const random = randomFor(task.name)
  const redis = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
  onTestFinished(() => redis.stop())
  await using system = await System.start({ random, state: `${redis.url}?lease=${LEASE_MS}ms`, journal: true })
  await using slow = await Recorder.start(random.fork('slow recorder'))
  await system.startWorker()
  await system.startWorker()
  const early = await system.startPublisher({ source: 'early', kind: 'frames', url: system.brokerUrl, seed: 1 })
  early.resume()
  await system.catchUp()
  const late = [
    await system.startWorker({ group: 'slow', flush: '3s', recorder: slow }),
    await system.startWorker({ group: 'slow', flush: '3s', recorder: slow }),
  ]
  // they are the next victims of a storm only where the test says so
  system.workers.splice(-late.length)
  await until(() => slow.points.size > 0, 'the late group flushes', PATIENCE_MS)
  await startPublishers(system, random)
  await storm({
    system,
    random: random.fork('faults'),
    durationMs: LONG ? 100_000 : 4_000,
    all: LONG,
    faults: [...(LONG ? WORKER_FAULTS : LIGHT_WORKER_FAULTS), ...BROKER_FAULTS, GATEWAY_KILLS],
  })
  await late[0]?.program.stop('SIGKILL')
  const accounts = await system.settle()
  const after = accounts.filter(({ source }) => source !== early.source)
  await system
    .flushed(after, PATIENCE_MS, slow)
    .catch((error: Error) => system.tell(`late group: ${error.message.split('\n', 2).join(' ')}`))
  const before = accounts.filter(({ source }) => source === early.source)
  const broken = judge(slow, after, 'nothing', before)
  expect(broken.length, system.report(broken)).toBe(0)
  await expectLaws(system, accounts, 'nothing')
})
