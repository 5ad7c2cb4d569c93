import { startClients, startSystem } from '../tools/system.js'

/** In all; each client has series of its own. */
const ALL_SERIES = 200_000

/**
 * @param {import('../case.js').Context} context
 * @param {{ workers: number, journal?: boolean, series?: number }} options
 */
async function measure({ size, seconds }, { workers, journal = false, series: perClient = 200 }) {
  const system = await startSystem({ workers, journal, flush: '2s' })
  const clients = await startClients(system, { clients: ALL_SERIES / perClient, series: perClient, perMessage: size })
  // every series is known then, and the shards have found their workers
  await clients.run(seconds * 2_000)
  while ((await system.sum('zibrato_worker_series')) < ALL_SERIES) await clients.run(100)
  const cpus = async () => ({
    worker: (await Promise.all(system.workers.map((worker) => worker.cpu()))).reduce((sum, cpu) => sum + cpu, 0),
    broker: await system.broker.cpu(),
    redis: (await system.redis.figures()).cpu,
  })
  const before = await cpus()
  const start = performance.now()
  const frames = await clients.run(seconds * 4_000)
  const ms = performance.now() - start
  const after = await cpus()
  const series = frames * clients.seriesPerFrame
  await clients.stop()
  await system.stop()
  return {
    frames: frames / ms,
    series: series / ms,
    'CPU of workers': ((after.worker - before.worker) / series) * 1e6,
    'CPU of the broker': ((after.broker - before.broker) / series) * 1e6,
    'CPU of redis-server': ((after.redis - before.redis) / series) * 1e6,
  }
}

/** @type {[name: string, options: { workers: number, journal?: boolean, series?: number }][]} */
const CONTENDERS = [
  ['1 worker', { workers: 1 }],
  ['2 workers', { workers: 2 }],
  ['4 workers', { workers: 4 }],
  ['1 worker, clients of 1,000 series', { workers: 1, series: 1_000 }],
  ['1 worker, --journal', { workers: 1, journal: true }],
  ['2 workers, --journal', { workers: 2, journal: true }],
]
const FIGURES = [
  ['frames', 'k/s'],
  ['series', 'k/s'],
  ['CPU of workers', 's'],
  ['CPU of the broker', 's'],
  ['CPU of redis-server', 's'],
]

/** @type {import('../case.js').Case} */
export default {
  name: 'workers',
  title: 'Workers that share a group',
  method: `1, 2 and 4 \`zibrato worker\` processes of one group, one redis-server, one broker, and a process that publishes the flushes of
1,000 clients with 200 counters each, as fast as the workers merge them: 32 frames of 6 series and 370 bytes per flush. With
one frame a message as clients publish by themselves, with 16 as a gateway sends on what many clients posted to it. Windows of
2 s, given to a backend that drops them. Series are counted as often as frames carry them. 200 clients with 1,000 counters have
31 in a frame, which tells what a frame costs and what a series does.

On a machine with fewer cores than processes rates cannot grow with the workers: with 2 cores, as here, one worker, the broker,
redis-server and the publisher fill it. What a rate needs is told by the CPU seconds (all threads, all workers) for a million
series: they grow with the workers only as far as each gets less at once.`,
  sizes: [1, 16],
  sizeUnit: 'frames a message',
  rounds: () => 1,
  contenders: Object.fromEntries(
    CONTENDERS.map(([name, options]) => [
      name,
      (/** @type {import('../case.js').Context} */ context) => measure(context, options),
    ]),
  ),
  rows: FIGURES.flatMap(([figure, unit]) => CONTENDERS.map(([name]) => ({ measured: [name, figure], unit }))),
}
