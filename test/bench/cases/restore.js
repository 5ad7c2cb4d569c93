import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'zibrato/worker'
import { keyOf } from '../tools/frames.js'
import { FRAME_BYTES, FrameEncoder, SHARDS, TYPE_CODE, encodeBundle, openState } from '../tools/internals.js'
import { pauseOf } from '../tools/pause.js'
import { startRedis } from '../tools/redis.js'
import { sleep } from '../tools/system.js'

/** Shards that have series; the others are empty. */
const FILLED = 4
const INTERVAL_MS = 3_600_000
const APPEND_BYTES = 4 << 20
const SETTINGS = { group: 'bench', backends: ['count'] }

/** @param {import('../case.js').Context} context @param {string} url of the state */
async function measure({ size }, url) {
  await fill(url, size)
  const fromLog = await start(url, size)
  const { state, backend } = fromLog
  const commit = state.commit.bind(state)
  let noticed = 0
  let committed = 0
  state.commit = async (/** @type {unknown} */ commits) => {
    await commit(commits)
    committed ||= performance.now()
  }
  const now = state.now.bind(state)
  state.now = async () => {
    // a worker looks at the clock once a second, unless something arrives
    noticed ||= performance.now()
    return (await now()) + INTERVAL_MS
  }
  const delivered = backend.reached(FILLED * size)
  const { pause: commitPause } = await pauseOf(() => delivered)
  const commitMs = committed - noticed
  await fromLog.worker.stop()
  const restored = await start(url, size)
  await restored.worker.stop()
  return {
    commit: commitMs / FILLED,
    'commit, longest pause': commitPause,
    restore: restored.ms / FILLED,
    'restore, longest pause': restored.pause,
    'from the log': fromLog.ms / FILLED,
    'from the log, longest pause': fromLog.pause,
  }
}

/** A worker, once it has all shards with all their series. @param {string} url @param {number} size */
async function start(url, size) {
  const state = openState(url)
  const backend = new Count()
  const worker = new Worker({
    brokers: ['tcp://127.0.0.1:1'],
    state,
    group: SETTINGS.group,
    flush: INTERVAL_MS,
    targets: [{ backend, key: 'count', label: 'count', inDoubt: 'resend', timeoutMs: 60_000 }],
    log: { info() {}, warn: (/** @type {unknown} */ ...what) => process.stderr.write(`${JSON.stringify(what)}\n`) },
  })
  const { ms, pause } = await pauseOf(async () => {
    await worker.start()
    while (worker.figures().shards < SHARDS) await sleep(1)
  })
  const { series } = worker.figures()
  if (series !== FILLED * size) throw new Error(`bench: ${series} of ${FILLED * size} series were restored`)
  return { worker, state, backend, ms, pause }
}

/** Writes a window's frames to the logs, as a worker that was killed leaves them. @param {string} url @param {number} size */
async function fill(url, size) {
  const state = openState(url)
  await state.open(SETTINGS)
  await state.beat?.()
  for (let shard = 0; shard < FILLED; shard++) await state.acquire(shard)
  let batch = []
  let bytes = 0
  for (const entry of framesOf(size)) {
    batch.push(entry)
    bytes += entry.bundle.length
    if (bytes < APPEND_BYTES) continue
    await state.append(batch)
    batch = []
    bytes = 0
  }
  await state.append(batch)
  await state.leave?.()
  await state.close()
}

/** @param {number} size series in each shard that is filled */
function* framesOf(size) {
  const filled = Array.from({ length: FILLED }, (_, shard) => ({
    shard,
    encoder: new FrameEncoder(),
    count: 0,
    part: 0,
  }))
  const sealed = (/** @type {typeof filled[0]} */ own) => {
    const frame = own.encoder.seal({ high: 1, low: own.part++ }, 'info', own.shard, 1, Date.now(), 5_000)
    return { shard: own.shard, bundle: encodeBundle([frame]) }
  }
  for (let index = 0; filled.some(({ count }) => count < size); index++) {
    const key = keyOf(index)
    const own = filled[key.shard]
    if (own === undefined || own.count === size) continue
    own.encoder.entry(TYPE_CODE.counter, key).f64(1)
    if (++own.count === size || own.encoder.size >= FRAME_BYTES) yield sealed(own)
  }
}

/** Counts rollups and tells when all have come. */
class Count {
  name = 'count'
  rollups = 0
  /** @type {() => void} */
  #changed = () => {}

  /** @param {{ rollups: readonly unknown[] }} window */
  async flush({ rollups }) {
    this.rollups += rollups.length
    this.#changed()
  }

  /** @param {number} rollups */
  async reached(rollups) {
    while (this.rollups < rollups) await new Promise((resolve) => (this.#changed = () => resolve(undefined)))
  }
}

const PAUSE = { unit: 'ms', target: { atMost: 50 } }
const CONTENDERS = ['in Redis', 'in a directory']

/** @type {import('../case.js').Case} */
export default {
  name: 'restore',
  title: 'Commit and restore of large shards',
  method: `A whole worker, in this process, with ${FILLED} shards of so many counters each; its other shards are empty. It starts with a window's
frames in the log, its clock is turned past the end of the window, it stops, and another starts from the snapshots. Times are per
shard with series: \`commit\` from the end of the window until the state has everything, \`restore\` until a new worker has all
shards, from the snapshot or from a log of one window. Pauses are the longest time in which nothing else got a turn, in all of
it: for the commit, that is until a backend has the window.`,
  sizes: [10_000, 100_000],
  sizeUnit: 'series per shard',
  rounds: () => 1,
  contenders: {
    'in Redis': async (context) => {
      const redis = await startRedis()
      return measure(context, redis.url)
    },
    'in a directory': async (context) => {
      const directory = mkdtempSync(join(tmpdir(), 'zibrato-bench-'))
      try {
        return await measure(context, `file:${directory}`)
      } finally {
        rmSync(directory, { recursive: true })
      }
    },
  },
  rows: CONTENDERS.flatMap((contender) => [
    { measured: [contender, 'commit'], unit: 'ms' },
    { measured: [contender, 'commit, longest pause'], ...PAUSE },
    { measured: [contender, 'restore'], unit: 'ms' },
    { measured: [contender, 'restore, longest pause'], ...PAUSE },
    { measured: [contender, 'from the log'], unit: 'ms' },
    { measured: [contender, 'from the log, longest pause'], ...PAUSE },
  ]),
}
