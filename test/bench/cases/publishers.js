import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Frames } from '../tools/frames.js'
import { SHARDS, Scratch, Shard, openState } from '../tools/internals.js'
import { turn } from '../tools/measure.js'
import { startRedis } from '../tools/redis.js'

/** One-shot publishers within the ten minutes for which the replay filter remembers them. */
const PUBLISHERS = 100_000
const SERIES = 10
const INTERVAL_MS = 10_000
const WINDOWS = 60
/** Windows beyond: as many publishers are forgotten as come. */
const STEADY = 10

/** Where a frame's publisher stands: behind magic, version and flags. */
const PUBLISHER_AT = 4

const REDIS = 'in Redis'

/** @param {string} url of the state */
async function measure(url) {
  const state = openState(url)
  await state.open({ group: 'bench', backends: [] })
  await state.beat?.()
  const flush = new Frames({ series: SERIES, seq: 1 }).bundles
  const touched = [...new Set(flush.map(({ shard }) => shard))]
  const scratch = new Scratch()
  const create = (/** @type {number} */ shard) =>
    new Shard({ shard, intervalMs: INTERVAL_MS, maxSeries: 1_000_000, idle: 'skip', scratch })
  let timeMs = Math.floor(Date.now() / INTERVAL_MS) * INTERVAL_MS
  const shards = Array.from({ length: SHARDS }, (_, shard) => create(shard))
  for (const shard of touched) {
    await state.acquire(shard)
    shards[shard].open(timeMs)
  }
  let publisher = 0
  /** Some publishers send what they counted, once. @param {number} count */
  const visit = (count) => {
    for (const last = publisher + count; publisher < last; publisher++) {
      for (const { shard, bundle } of flush) {
        stamp(bundle, publisher)
        shards[shard].merge(bundle, '0', timeMs)
      }
    }
  }
  const changes = []
  const slices = []
  const commits = []
  let fullBytes = 0
  const commit = async () => {
    let bytes = 0
    const start = performance.now()
    const closed = touched.map((shard) => {
      const { result, longest } = inSlices(shards[shard].closing())
      slices.push(longest)
      // the log is not what is measured
      return { ...result, position: undefined, outbox: undefined }
    })
    await state.commit(closed)
    commits.push(performance.now() - start)
    for (const { snapshot } of closed) {
      if (snapshot.kind === 'full') fullBytes = Math.max(fullBytes, snapshot.bytes.length)
      else bytes += snapshot.bytes.length
    }
    if (closed.every(({ snapshot }) => snapshot.kind === 'changes')) changes.push(bytes)
    timeMs += INTERVAL_MS
  }
  const perWindow = Math.ceil(PUBLISHERS / WINDOWS)
  const before = await memory()
  for (let window = 0; window < WINDOWS; window++) {
    visit(perWindow)
    await commit()
  }
  const held = (await memory()) - before
  const remembered = sum(touched.map((shard) => shards[shard].publishers))
  slices.length = commits.length = 0
  for (let window = 0; window < STEADY; window++) {
    visit(perWindow)
    await commit()
  }
  const steady = { slice: Math.max(...slices), commit: Math.max(...commits) }
  let restore = 0
  for (const shard of touched) {
    const start = performance.now()
    const { snapshots, end } = await state.acquire(shard)
    const { longest } = inSlices(create(shard).restoring(snapshots, end))
    restore = Math.max(restore, performance.now() - start)
    steady.slice = Math.max(steady.slice, longest)
  }
  // only one long-lived publisher is left
  for (let window = 0; window <= WINDOWS; window++) {
    publisher = 0
    visit(1)
    await commit()
  }
  const left = sum(touched.map((shard) => shards[shard].publishers)) - touched.length
  const released = (await memory()) - before
  await state.close()
  return {
    remembered: remembered / touched.length,
    memory: held / remembered,
    'changes in a window': median(changes) / (perWindow * touched.length),
    'full snapshot of a shard': fullBytes / 1e6,
    'longest slice': steady.slice,
    'longest commit of a window': steady.commit,
    'longest restore of a shard': restore,
    'left after 10 minutes': left,
    'memory after 10 minutes': released / 1e6,
  }
}

/** Does all slices of some work; answers how long the longest took, ms. @param {Generator<void, any>} work */
function inSlices(work) {
  for (let longest = 0; ;) {
    const start = performance.now()
    const { done, value: result } = work.next()
    longest = Math.max(longest, performance.now() - start)
    if (done) return { result, longest }
  }
}

/** Another publisher made the frame. @param {Uint8Array} bundle of one frame @param {number} publisher */
function stamp(bundle, publisher) {
  let start = 1
  while (bundle[start - 1] >= 0x80) start++
  // spread as random ids are
  new DataView(bundle.buffer, bundle.byteOffset).setUint32(start + PUBLISHER_AT, Math.imul(publisher, 0x9e3779b1) >>> 0)
}

async function memory() {
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await turn()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** @param {readonly number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0)
}

/** @param {readonly number[]} values */
function median(values) {
  return values.toSorted((left, right) => left - right)[values.length >> 1]
}

const FIGURES = [
  ['remembered', 'publishers a shard'],
  ['memory', 'B'],
  ['changes in a window', 'B'],
  ['full snapshot of a shard', 'MB'],
  ['longest slice', 'ms', { atMost: 50 }],
  ['longest commit of a window', 'ms'],
  ['longest restore of a shard', 'ms'],
  ['left after 10 minutes', 'publishers', { atMost: 0 }],
  ['memory after 10 minutes', 'MB'],
]

/** @type {import('../case.js').Case} */
export default {
  name: 'publishers',
  title: 'Publishers that live for one flush',
  method: `100,000 isolates within ten minutes, the time for which a worker remembers them, each of which sends one flush of the same
${SERIES} counters; windows of 10 s. Every shard that has any of these series meets every publisher. Then ten minutes of windows
pass with one publisher. Memory after garbage collection and bytes of changes in a snapshot are per publisher and shard; the
longest commit (of all these shards), restore and slice are of windows in which as many publishers are forgotten as come; between
slices others get their turn. Logs and outbox are left out.`,
  rounds: () => 1,
  nodeArgs: ['--expose-gc'],
  contenders: {
    [REDIS]: async () => measure((await startRedis()).url),
    'in a directory': async () => {
      const directory = mkdtempSync(join(tmpdir(), 'zibrato-bench-'))
      try {
        return await measure(`file:${directory}`)
      } finally {
        rmSync(directory, { recursive: true })
      }
    },
  },
  rows: [
    ...FIGURES.map(([figure, unit, target]) => ({ measured: [REDIS, figure], unit, ...(target && { target }) })),
    { measured: ['in a directory', 'longest commit of a window'], unit: 'ms' },
    { measured: ['in a directory', 'longest restore of a shard'], unit: 'ms' },
  ],
}
