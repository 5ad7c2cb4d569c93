import { expect, it, onTestFinished } from 'vitest'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import type { Publisher } from './publishers.ts'
import type { Recorder } from './recorder.ts'
import { expectLaws } from './expect-laws.ts'
import { reported } from './reported.ts'
import { LONG, PATIENCE_MS, randomFor } from './settings.ts'
import { LEASE_MS } from './storm.ts'
import { System } from './system.ts'

async function attempted(publisher: Publisher): Promise<number> {
  return [...(await publisher.ledger()).attempted.values()].reduce((sum, { count }) => sum + count, 0)
}

function out(recorder: Recorder): number {
  return [...recorder.points.keys()].reduce((sum, key) => sum + recorder.sum(key).count, 0)
}

it('loses what it reports, and no more, when a worker is killed and rings do not reach back', async ({ task }) => {
  const random = randomFor(task.name)
  const redis = await RedisServer.start()
  onTestFinished(() => redis.stop())
  await using system = await System.start({ random, state: `${redis.url}?lease=${LEASE_MS}ms` })
  // each value goes out at once, in a frame of its own, and is not kept
  const publisher = await system.startPublisher({
    source: 'forgetful',
    kind: 'frames',
    url: system.brokerUrl,
    seed: 0,
    tickMs: 2,
    flushMs: 0,
    sentBytes: 1,
    single: true,
  })
  let worker = await system.startWorker()
  publisher.resume()
  // what lies below the first frame seen of a shard counts as never meant for it
  await until(() => system.recorder.points.size === 32, 'every series has come out', PATIENCE_MS)
  for (let round = 0; round < (LONG ? 10 : 2); round++) {
    const before = out(system.recorder)
    await until(() => out(system.recorder) > before, 'values arrive', PATIENCE_MS)
    redis.signal('SIGSTOP')
    const recorded = await attempted(publisher)
    const more = random.between(100, 500)
    await until(async () => (await attempted(publisher)) > recorded + more, 'more is recorded', PATIENCE_MS)
    await system.workers.pop()?.stop('SIGKILL')
    redis.signal('SIGCONT')
    system.tell('the worker was killed with what Redis had not taken')
    worker = await system.startWorker()
  }
  // later frames of every shard tell that earlier ones are missing
  const before = out(system.recorder)
  await until(() => out(system.recorder) > before + 500, 'values arrive', PATIENCE_MS)
  const [account] = await system.quieten()
  const all = [...(account?.attempted.values() ?? [])].reduce((sum, { count }) => sum + count, 0)
  // what is only late counts as missing until it is there
  let lost = Number.NaN
  const isAll = async (): Promise<boolean> => all - out(system.recorder) === (lost = await reported(worker.http))
  await until(isAll, 'what is lost is reported', PATIENCE_MS).catch((error: Error) => system.tell(error.message))
  system.tell(`${lost} frames lost of ${all}`)
  await expectLaws(system, account === undefined ? [] : [account], 'perhaps')
  expect(all - out(system.recorder), system.report([])).toBe(lost)
  expect(lost).toBeGreaterThan(0)
})
