import { afterEach, describe, expect, it } from 'vitest'
import { openState } from '../../../backends/state/open.ts'
import { connectRedis } from '../../../backends/state/redis/connect.ts'
import { parseRedisUrl } from '../../../backends/state/redis/url.ts'
import { Worker } from '../../../backends/worker/index.ts'
import { SHARDS } from '../../../client/wire/series.ts'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { JournalKeys } from '../../../gateway/journal/keys.ts'
import { RedisFailover } from '../../faults/redis-failover.ts'
import { RedisServer } from '../../redis-server.ts'
import { until } from '../../until.ts'
import { Collecting, KeptLog, target } from './collecting.ts'
import { counter, frame, keyIn } from './frames.ts'

const DAY_MS = 86_400_000

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** A worker that reads the journal of a Redis. */
async function work(url: string, backend: Collecting, flush: number) {
  const warnings: string[] = []
  const state = openState(url, { journal: true, onWarning: (message) => warnings.push(message) })
  const targets = [target(backend)]
  const worker = new Worker({ brokers: [], targets, state, group: 'g', flush, stopTimeout: 60_000, log: new KeptLog() })
  closing.push(() => worker.stop().catch(() => {}))
  await worker.start()
  await until(() => worker.figures().shards === SHARDS)
  return { worker, warnings }
}

/** Writes a frame of some seq to the journal, as a gateway does; one id was given by another server's clock. */
type Write = (shard: number, seq: number, id?: string) => Promise<unknown>

async function writer(url: string): Promise<Write> {
  const connection = await connectRedis(parseRedisUrl(url))
  closing.push(() => connection.close())
  await connection.ready(5_000)
  const streams = new JournalKeys()
  return (shard, seq, id = '*') => {
    const bundle = encodeBundle([frame({ shard, seq }, counter(keyIn(shard, 'c'), seq))])
    return connection.send('XADD', streams.stream(shard), id, 'b', Buffer.from(bundle))
  }
}

const sum = ({ taken }: Collecting): number =>
  taken.flatMap(({ rollups }) => rollups).reduce((all, each) => all + (each.type === 'counter' ? each.value : 0), 0)

const insist = (attempt: () => Promise<unknown>): Promise<unknown> =>
  until(() => attempt().then(Boolean, () => false), 'it is written', 30_000)

describe('a worker with a journal', () => {
  it('reads what a new master gives ids below what it has read, as its clock is behind', async () => {
    const servers = await RedisFailover.start()
    closing.push(() => servers.stop())
    const backend = new Collecting()
    const url = `${servers.url}?replicas=1&lease=1m`
    const { worker, warnings } = await work(url, backend, DAY_MS)
    const write = await writer(url)
    await write(3, 1)
    await until(() => worker.figures().merged === 1)
    // whoever wrote it has no answer, as no replica has it
    await servers.cutOff()
    await write(3, 10, `${Date.now() + 600_000}-0`)
    await until(() => worker.figures().merged === 2)
    await servers.failOver()
    // and so writes it again; what comes from then on has ids below that one, too
    await insist(() => write(3, 10))
    await insist(() => write(3, 100))
    await insist(() => write(4, 1_000))
    await until(() => warnings.some((warning) => warning.includes('read again')), undefined, 60_000)
    // two before, and all four since
    await until(() => worker.figures().merged >= 6, 'all is read again', 60_000)
    // what was read at another server is not committed, but left to the next worker unless it was read again by now
    await servers.failOver()
    await worker.stop()
    const { worker: next } = await work(url, backend, 100)
    await until(() => sum(backend) >= 1_111, 'all is delivered', 30_000)
    await next.stop()
    expect(sum(backend)).toBe(1_111)
  }, 180_000)

  it('reads on over restarts, with windows that a backend has in hand delivered once', async () => {
    const server = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    closing.push(() => server.stop())
    const backend = new Collecting()
    const url = `${server.url}?lease=1m`
    const { worker } = await work(url, backend, 100)
    const write = await writer(url)
    let answer = (): void => {}
    backend.script.push(() => new Promise<void>((resolve) => (answer = resolve)))
    await write(5, 1)
    await until(() => backend.attempts === 1)
    await server.kill()
    await server.start()
    // its shard is not read before it is known what became of the window
    await insist(() => write(6, 20))
    await until(() => sum(backend) === 0 && worker.figures().shards === SHARDS - 1)
    await insist(() => write(5, 300))
    answer()
    await until(() => sum(backend) === 321, undefined, 30_000)
    expect(backend.attempts).toBe(backend.taken.length)
    await worker.stop()
    expect(sum(backend)).toBe(321)
  })
})
