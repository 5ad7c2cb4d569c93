import { Frames } from '../tools/frames.js'
import { checkMerged, mergeAll, openShards } from '../tools/shards.js'

/** Series in the frames of all publishers together, so that what is read comes from memory as it would from a socket. */
const ENTRIES = 100_000

/** @param {'counter' | 'timer'} type @param {import('../case.js').Context} context */
async function measure(type, { size, seconds }) {
  const publishers = Math.max(2, Math.min(64, Math.round(ENTRIES / size)))
  const frames = new Frames({ series: size, type, publishers })
  const now = Date.now()
  const shards = openShards(now)
  const started = performance.now()
  mergeAll(shards, frames, now)
  const first = performance.now() - started
  let passes = 1
  const pass = () => {
    frames.advance()
    const start = performance.now()
    mergeAll(shards, frames, now)
    passes++
    return performance.now() - start
  }
  const warm = performance.now() + seconds * 500
  while (performance.now() < warm) pass()
  let spent = 0
  let merged = 0
  while (spent < seconds * 1000 || merged === 0) {
    spent += pass()
    merged += size * publishers
  }
  checkMerged(shards, passes * frames.bundles.length)
  return { rate: merged / spent / 1000, 'first flush': (size * publishers) / first / 1000 }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'merge',
  title: "Decoding and merging frames in a worker's shards",
  method: `Frames as brokers deliver them, one bundle per shard and publisher, keys of 40 bytes, through \`Shard.merge\`: reading, checking,
the replay filter, looking up every series by its key bytes, adding. 32 shards on one core; 2 to 64 publishers send the
same series, each in an order of its own, and their frames' seqs advance with every pass. The first flush, before anything is compiled or known, is shown too.
Timers carry 10 values each. Millions of series a second.`,
  sizes: [1_000, 10_000, 100_000, 1_000_000],
  rounds: (size) => (size < 1_000_000 ? 3 : 1),
  contenders: {
    counters: (context) => measure('counter', context),
    timers: async (context) => (context.size > 100_000 ? {} : measure('timer', context)),
  },
  rows: [
    { measured: ['counters', 'rate'], unit: 'M/s', target: { atLeast: 3, sizes: [10_000] } },
    { measured: ['counters', 'first flush'], unit: 'M/s' },
    { measured: ['timers', 'rate'], unit: 'M/s', sizes: [1_000, 10_000, 100_000] },
  ],
}
