import { sleep, startClients, startSystem } from '../tools/system.js'

/** Each with series of its own: 20,000 in all. A flush of all once a window, spread over it. */
const CLIENTS = 100
const SERIES = 200
const WINDOW_MS = 2_000
const REST_MS = 1_000

/** @param {import('../case.js').Context} context @param {{ journal?: boolean }} [options] */
async function measure({ size, seconds }, { journal = false } = {}) {
  const system = await startSystem({ workers: 1, journal, flush: `${WINDOW_MS}ms` })
  const { redis } = system
  const clients = await startClients(system, { clients: CLIENTS, series: SERIES, perMessage: size })
  // all shards are owned: what beats and looks for windows is left
  const idle = await redis.figures()
  await sleep(REST_MS)
  const rested = await redis.figures()
  await clients.pace(clients.frames, WINDOW_MS * 0.8)
  await untilWindow()
  const windows = Math.max(1, Math.round(seconds * 3))
  const cpus = async () => ({ worker: await system.workers[0].cpu(), broker: await system.broker.cpu() })
  const before = { ...(await redis.figures()), ...(await cpus()) }
  let atEnd = 0
  let committed = 0
  for (let window = 0; window < windows; window++) {
    await clients.pace(clients.frames, WINDOW_MS * 0.8)
    atEnd = Math.max(atEnd, (await redis.figures()).memory)
    await untilWindow()
    committed = Math.max(committed, (await redis.figures()).memory)
  }
  const after = { ...(await redis.figures()), ...(await cpus()) }
  const frames = clients.frames * windows
  const kiloSeries = (CLIENTS * SERIES * windows) / 1_000
  await clients.stop()
  await system.stop()
  const delta = (/** @type {keyof typeof before} */ figure) => after[figure] - before[figure]
  return {
    'commands per frame': delta('commands') / frames,
    'scripts per frame': delta('scripts') / frames,
    'commands per 1,000 series': delta('commands') / kiloSeries,
    'bytes in per frame': delta('received') / frames,
    'bytes in per series': delta('received') / kiloSeries / 1_000,
    'bytes out per series': delta('sent') / kiloSeries / 1_000,
    'commands per window': delta('commands') / windows,
    'commands per idle second': (rested.commands - idle.commands) / (REST_MS / 1_000),
    'memory per series, before a commit': (atEnd - idle.memory) / (CLIENTS * SERIES),
    'memory per series, after a commit': (committed - idle.memory) / (CLIENTS * SERIES),
    'frame bytes per series': clients.bytes / (CLIENTS * SERIES),
    'cpu per million series, redis-server': (delta('cpu') / kiloSeries) * 1_000,
    'cpu per million series, worker': (delta('worker') / kiloSeries) * 1_000,
    'cpu per million series, broker': (delta('broker') / kiloSeries) * 1_000,
  }
}

/** Just behind the end of a window, once it is committed and delivered. */
async function untilWindow() {
  await sleep(WINDOW_MS - (Date.now() % WINDOW_MS) + 300)
}

const FIGURES = [
  ['commands per frame', 'calls'],
  ['scripts per frame', 'calls'],
  ['commands per 1,000 series', 'calls'],
  ['commands per window', 'calls'],
  ['commands per idle second', 'calls'],
  ['bytes in per frame', 'B'],
  ['bytes in per series', 'B'],
  ['bytes out per series', 'B'],
  ['frame bytes per series', 'B'],
  ['memory per series, before a commit', 'B'],
  ['memory per series, after a commit', 'B'],
  ['cpu per million series, redis-server', 's'],
  ['cpu per million series, worker', 's'],
  ['cpu per million series, broker', 's'],
]

/** @type {import('../case.js').Case} */
export default {
  name: 'redis',
  title: 'What Redis is asked for',
  method: `A worker, a broker and the flushes of 100 clients with 200 counters each, once a window of 2 s and spread over it, 1,600 frames a
second: what 500 such clients with an interval of 10 s would send. Differences of INFO over some windows, with all that goes
with them: appends, commits, outbox, delivery and heartbeats. \`commands\` counts those in scripts too, as Redis does; \`scripts\`
are round trips. Bytes of the network in both directions, and of memory: the most before a commit, with the window's log, and
after one. Busier workers append more frames at once, and ask for less per frame. CPU seconds, all threads, of each process.`,
  sizes: [1, 16],
  sizeUnit: 'frames a message',
  rounds: () => 1,
  contenders: {
    default: (context) => measure(context),
    '--journal': (context) => measure(context, { journal: true }),
  },
  rows: FIGURES.flatMap(([figure, unit]) =>
    ['default', '--journal'].map((contender) => ({ measured: [contender, figure], unit })),
  ),
}
