import { expect, it, onTestFinished } from 'vitest'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import type { Recorder } from './recorder.ts'
import { expectLaws } from './expect-laws.ts'
import { LONG, PATIENCE_MS, randomFor } from './settings.ts'
import { LEASE_MS, wait } from './storm.ts'
import { System } from './system.ts'

/** Whether another worker has flushed a series, after a window, that this one flushed up to it. */
function isTakenOver({ points }: Recorder, pid: number, end: number): boolean {
  return [...points.values()].some((windows) => {
    const byEnd = [...windows]
    const was = byEnd.some(([at, { pids }]) => at <= end && pids.includes(pid))
    return was && byEnd.some(([at, { pids }]) => at > end && !pids.includes(pid))
  })
}

const MOMENTS = [
  ['/ask', 'between the mark of an attempt and its flush'],
  ['/windows', 'while the backend has its flush'],
] as const
const BACKENDS = [
  ['overwrites', ''],
  ['adds up', '&additive'],
] as const

it.for(BACKENDS)('keeps the fence when a worker is paused, of a backend that %s', async ([, options], { task }) => {
  const random = randomFor(task.name)
  const redis = await RedisServer.start()
  onTestFinished(() => redis.stop())
  await using system = await System.start({
    random,
    state: `${redis.url}?lease=${LEASE_MS}ms`,
    backend: `&ask&timeout=60s${options}`,
  })
  await system.startWorker()
  await system.startWorker()
  for (const source of ['one', 'two']) {
    const seed = random.fork(source).seed
    const publisher = await system.startPublisher({ source, kind: 'frames', url: system.brokerUrl, seed })
    publisher.resume()
  }
  for (const [path, when] of Array.from({ length: LONG ? 5 : 1 }, () => MOMENTS).flat()) {
    await bothFlush(system)
    await wait(random.between(0, 1_000))
    const held = await system.recorder.holdNext(path)
    const paused = system.workers.find(({ pid }) => pid === held.pid)
    paused?.child.kill('SIGSTOP')
    system.tell(`${held.pid} is paused with window ${held.end}, ${when}`)
    await until(() => isTakenOver(system.recorder, held.pid, held.end), 'another worker has its shards', PATIENCE_MS)
    system.tell('another worker has its shards')
    held.release()
    await wait(random.between(0, 500))
    paused?.child.kill('SIGCONT')
    system.tell(`${held.pid} goes on`)
    await system.catchUp()
  }
  const accounts = await system.settle()
  await expectLaws(system, accounts, 'nothing')
  const twice = [...system.recorder.points].flatMap(([key, windows]) =>
    [...windows]
      .filter(([, { pids }]) => pids.length > 1)
      .map(([end, { pids }]) => `${key}, ${end}: ${pids.join(' ')}`),
  )
  const added = options === '' ? [] : twice
  expect(added.length, system.report(added)).toBe(0)
})

/** Resolves once each worker has flushed something anew. */
async function bothFlush({ recorder, workers }: System): Promise<void> {
  const before = recorder.posts.length
  const hasPosted = (pid: number): boolean => recorder.posts.slice(before).some((post) => post.pid === pid)
  await until(() => workers.every(({ pid }) => hasPosted(pid)), 'both workers flush', PATIENCE_MS)
}
