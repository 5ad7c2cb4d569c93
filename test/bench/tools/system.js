import { fileURLToPath } from 'node:url'
import { SHARDS } from './internals.js'
import { startPeer } from './peer.js'
import { startZibrato } from './program.js'
import { startRedis } from './redis.js'

const BACKEND = fileURLToPath(new URL('../peers/taking-backend.js', import.meta.url))

/** How often the workers are asked how far they are. */
const ASK_MS = 100

/** Frames and bytes under way at the most, so that nobody's high-water mark is reached and nothing is dropped. */
const UNDER_WAY = 15_000
const UNDER_WAY_BYTES = 16 << 20

/**
 * A redis-server, a broker and workers that share a group, each a process of its own.
 *
 * @param {{ workers: number, flush: string, lease?: string, journal?: boolean, watch?: boolean }} options
 */
export async function startSystem({ workers: count, flush, lease = '5s', journal = false, watch = false }) {
  const redis = await startRedis()
  const state = ['--state', `${redis.url}?lease=${lease}`, ...(journal ? ['--journal'] : [])]
  const broker = await startZibrato(['broker', '--port', '0', ...(journal ? state : [])])
  const to = `module:${BACKEND}${watch ? '?watch=yes' : ''}`
  const startWorker = (/** @type {(message: unknown) => void} */ onMessage = () => {}) =>
    startZibrato(
      ['worker', '--broker', broker.said.broker.publishers, '--http', '0', '--flush', flush, '--to', to].concat(
        ['--group', 'bench'],
        state,
      ),
      onMessage,
    )
  /** @type {Awaited<ReturnType<typeof startZibrato>>[]} */
  const workers = []
  while (workers.length < count) workers.push(await startWorker())
  const sum = async (/** @type {string} */ name) => {
    const figures = await Promise.all(workers.map((worker) => worker.figures()))
    return figures.reduce((total, own) => total + (own[name] ?? 0), 0)
  }
  while (count > 0 && (await sum('zibrato_worker_shards')) < SHARDS) await sleep(5)
  return {
    redis,
    broker,
    workers,
    startWorker,
    port: Number(broker.said.broker.publishers.split(':').pop()),
    /** Of a figure, over the workers. */
    sum,
    stop: async () => {
      await Promise.all([broker, ...workers].map((program) => program.stop()))
      await redis.stop()
    },
  }
}

export const MERGED = 'zibrato_worker_frames_total{outcome="merged"}'

/**
 * The flushes of many clients, published as fast as the workers merge them, or at a pace.
 *
 * @param {Awaited<ReturnType<typeof startSystem>>} system
 * @param {{ clients: number, series: number, perMessage: number }} options
 */
export async function startClients(system, { clients, series, perMessage }) {
  const publisher = await startPeer('frames-publisher.js', system.port, clients, series, perMessage)
  /** Frames and bytes of one flush of all. */
  const { frames, bytes } = publisher.ready
  let allowed = 0
  const allow = (/** @type {number} */ count) => {
    allowed += count
    publisher.tell(count)
  }
  const underWay = Math.min(UNDER_WAY, Math.floor((UNDER_WAY_BYTES / bytes) * frames))
  return {
    frames,
    bytes,
    seriesPerFrame: (clients * series) / frames,
    /** Publishes for so long; answers the frames merged. @param {number} ms */
    run: async (ms) => {
      const end = performance.now() + ms
      let merged = await system.sum(MERGED)
      const before = merged
      while (performance.now() < end) {
        if (allowed - merged < underWay) allow(underWay - (allowed - merged))
        await sleep(ASK_MS)
        merged = await system.sum(MERGED)
      }
      return merged - before
    },
    /** Publishes so many frames, spread over a time, and waits until they are merged. @param {number} count @param {number} ms */
    pace: async (count, ms) => {
      const start = performance.now()
      const before = allowed
      while (allowed - before < count) {
        const due = Math.min(count, Math.ceil(((performance.now() - start) / ms) * count))
        if (due > allowed - before) allow(due - (allowed - before))
        await sleep(5)
      }
      // one that is at the end of a message sends it whole
      while ((await system.sum(MERGED)) < allowed) await sleep(ASK_MS)
    },
    stop: () => publisher.stop(),
  }
}

/** @param {number} ms @returns {Promise<void>} */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
