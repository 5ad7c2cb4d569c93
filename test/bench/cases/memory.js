import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FileState, MemoryState } from '../tools/internals.js'
import { Frames } from '../tools/frames.js'
import { turn } from '../tools/measure.js'
import { mergeAll, openShards } from '../tools/shards.js'

const INTERVAL_MS = 10_000

/** Bytes in use, of JavaScript's heap and of array buffers. */
async function settled() {
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await turn()
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { used: heapUsed + external, rss }
}

/**
 * @param {number} size
 * @param {FileState} [state] or a `MemoryState`; without one, commits are thrown away
 */
async function measure(size, state) {
  await state?.open({ group: 'bench', backends: ['none'] })
  // compiled code and the like: not what a series takes
  const small = new Frames({ series: 1_000 })
  const warm = openShards()
  mergeAll(warm, small, Date.now())
  for (const shard of warm) shard.close()
  const before = await settled()
  let now = Date.now()
  const shards = openShards(now)
  const figures = {}
  const take = async (/** @type {string} */ name) => {
    const { used, rss } = await settled()
    figures[name] = (used - before.used) / size
    figures[`${name}, resident`] = (rss - before.rss) / size
  }
  let frames = new Frames({ series: size })
  const flush = async () => {
    if (state === undefined) {
      mergeAll(shards, frames, now)
      return
    }
    for (const { shard, bundle } of frames.bundles) {
      const [{ position, timeMs }] = await state.append([{ shard, bundle }])
      shards[shard].merge(bundle, position, timeMs)
    }
  }
  const commit = async () => {
    for (const shard of shards) {
      const closed = shard.close()
      await state?.commit([closed])
    }
    for (const { id } of (await state?.outbox()) ?? []) await state?.settle('none', [id])
    now += INTERVAL_MS
  }
  await flush()
  frames = undefined
  await take('merged')
  await commit()
  await take('committed')
  frames = new Frames({ series: size })
  frames.advance()
  await flush()
  frames = undefined
  await commit()
  await take('committed twice')
  await state?.close()
  return figures
}

/** @type {import('../case.js').Case} */
export default {
  name: 'memory',
  title: 'Memory of counter series in a worker',
  method: `Heap and array buffers, after garbage collection, that a worker's 32 shards hold per counter series with keys of 40 bytes:
once merged, after the commit of a window, and after another window of the same series. With a state behind them their log,
snapshots and outbox are included, once every window is delivered. Bytes.`,
  sizes: [10_000, 100_000, 1_000_000],
  // it hardly varies
  rounds: () => 1,
  nodeArgs: ['--expose-gc'],
  contenders: {
    shards: ({ size }) => measure(size, undefined),
    'with state in a directory': async ({ size }) => {
      const directory = await mkdtemp(join(tmpdir(), 'zibrato-bench-'))
      try {
        return await measure(size, new FileState({ directory }))
      } finally {
        await rm(directory, { recursive: true })
      }
    },
    'with state in memory': ({ size }) => measure(size, new MemoryState({ maxOutboxBytes: 1 << 30 })),
  },
  rows: [
    { measured: ['shards', 'merged'], unit: 'B', target: { atMost: 200 } },
    { measured: ['shards', 'committed'], unit: 'B', target: { atMost: 200 } },
    { measured: ['shards', 'committed twice'], unit: 'B', target: { atMost: 200 } },
    { measured: ['with state in a directory', 'committed twice'], unit: 'B', target: { atMost: 200 } },
    { measured: ['with state in a directory', 'committed twice, resident'], unit: 'B', sizes: [1_000_000] },
    { measured: ['with state in memory', 'committed twice'], unit: 'B' },
  ],
}
