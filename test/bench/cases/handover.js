import { startPeer } from '../tools/peer.js'
import { sleep, startSystem } from '../tools/system.js'

const SHARDS = 32
/** How often every shard gets a frame: no stop shorter than that is seen. */
const TICK_MS = 20
const PATIENCE_MS = 30_000

/** When frames of each shard were merged, by which worker. */
class Merges {
  /** The longest time without a merge in any shard, ms. */
  longest = 0
  /** @type {Map<number, { worker: number, sinceMs: number, lastMs: number }>} */
  #shards = new Map()

  /** Takes what a worker says: `[shard, ms, ...]`. @param {number} worker @param {readonly number[]} said */
  note(worker, said) {
    for (let at = 0; at < said.length; at += 2) {
      const [shard, ms] = said.slice(at, at + 2)
      const known = this.#shards.get(shard)
      if (known !== undefined) this.longest = Math.max(this.longest, ms - known.lastMs)
      // the last words of one that hands over may come late
      if (known !== undefined && ms < known.lastMs) continue
      const sinceMs = known?.worker === worker ? known.sinceMs : ms
      this.#shards.set(shard, { worker, sinceMs, lastMs: ms })
    }
  }

  /** Resolves with the time, ms, when each worker had as many shards as wanted, and all of them were merged since `fromMs`. */
  async until(/** @type {Record<number, number>} */ wanted, /** @type {number} */ fromMs) {
    for (const deadline = Date.now() + PATIENCE_MS; ; await sleep(2)) {
      const fresh = [...this.#shards.values()].filter(({ lastMs }) => lastMs >= fromMs)
      const isDone = Object.entries(wanted).every(
        ([worker, count]) => fresh.filter((shard) => shard.worker === Number(worker)).length === count,
      )
      if (isDone) return Math.max(fromMs, ...fresh.map(({ sinceMs }) => sinceMs))
      if (Date.now() > deadline) throw new Error('bench: the shards have not found their workers')
    }
  }
}

/** @param {import('../case.js').Context} context */
async function measure({ size: leaseMs }) {
  const system = await startSystem({ workers: 0, flush: '10s', lease: `${leaseMs}ms`, watch: true })
  const merges = new Merges()
  let count = 0
  const start = async () => {
    const number = count++
    return system.startWorker((said) => Array.isArray(said) && merges.note(number, said))
  }
  const living = () => system.redis.client.zcard('zibrato:{bench}:workers')
  const first = await start()
  await startPeer('ticking-client.js', system.port, TICK_MS)
  await merges.until({ 0: SHARDS }, 0)
  const figures = {}
  const measured = async (/** @type {string} */ name, /** @type {number} */ fromMs, /** @type {object} */ wanted) => {
    figures[name] = (await merges.until(wanted, fromMs)) - fromMs
    figures[`${name}, longest stop of a shard`] = merges.longest
  }
  const join = async () => {
    merges.longest = 0
    const started = start()
    // it counts from its first heartbeat on: what Node takes to start is no part of it
    while ((await living()) < 2) await sleep(1)
    return { joined: Date.now(), started }
  }
  const { joined, started } = await join()
  await measured('a worker joins', joined, { 0: SHARDS / 2, 1: SHARDS / 2 })
  const second = await started
  merges.longest = 0
  const asked = Date.now()
  const stopped = second.stop('SIGTERM')
  await measured('SIGTERM', asked, { 0: SHARDS })
  await stopped
  figures['SIGTERM, until it has ended'] = Date.now() - asked
  const again = await join()
  await merges.until({ 0: SHARDS / 2, 2: SHARDS / 2 }, again.joined)
  await again.started
  merges.longest = 0
  const killed = Date.now()
  await first.stop('SIGKILL')
  await measured('SIGKILL', killed, { 2: SHARDS })
  return figures
}

/** @type {import('../case.js').Case} */
export default {
  name: 'handover',
  title: 'Shards that go to another worker',
  method: `Two workers and a client that flushes 1,000 counters every ${TICK_MS} ms, so that every shard always has something to merge; its
flushes wait in the ring while nobody takes them. A worker joins one that has all shards (from its first heartbeat on), is told to
stop with SIGTERM, and the one that has half of them is killed: until all shards are owned and have merged again. The longest
stop is the longest time in which any shard merged nothing, from end to end, ${TICK_MS} ms being none. After SIGKILL nobody may take the
shards before the lease is over; it was last renewed up to a tenth of it before. Milliseconds.`,
  sizes: [1_000, 5_000],
  sizeUnit: 'ms lease',
  rounds: (size) => (size > 1_000 ? 2 : 3),
  contenders: { 'two workers': measure },
  rows: [
    { measured: ['two workers', 'a worker joins'], unit: 'ms', target: { atMost: 1_000 } },
    { measured: ['two workers', 'a worker joins, longest stop of a shard'], unit: 'ms', target: { atMost: 1_000 } },
    { measured: ['two workers', 'SIGTERM'], unit: 'ms', target: { atMost: 1_000 } },
    { measured: ['two workers', 'SIGTERM, longest stop of a shard'], unit: 'ms', target: { atMost: 1_000 } },
    { measured: ['two workers', 'SIGTERM, until it has ended'], unit: 'ms' },
    { measured: ['two workers', 'SIGKILL'], unit: 'ms', target: { atMost: 1_500 }, sizes: [1_000] },
    { measured: ['two workers', 'SIGKILL'], unit: 'ms', target: { atMost: 5_500 }, sizes: [5_000] },
    { measured: ['two workers', 'SIGKILL, longest stop of a shard'], unit: 'ms' },
  ],
}
