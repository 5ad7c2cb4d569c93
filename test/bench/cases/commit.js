import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Backend } from 'zibrato/backends'
import { Worker } from 'zibrato/worker'
import { Frames } from '../tools/frames.js'
import { DEFAULT_PERCENTILES, FileState, MemoryState, decodeWindow } from '../tools/internals.js'
import { pauseOf } from '../tools/pause.js'
import { mergeAll, openShards } from '../tools/shards.js'

const INTERVAL_MS = 10_000

/** Counts rollups and tells when all have come. */
class Count extends Backend {
  name = 'count'
  rollups = 0
  windows = 0
  /** @type {() => void} */
  #changed = () => {}

  /** @param {{ rollups: readonly unknown[] }} window */
  async flush(window) {
    this.rollups += window.rollups.length
    this.windows++
    this.#changed()
  }

  /** @param {number} rollups */
  async reached(rollups) {
    while (this.rollups < rollups) await new Promise((resolve) => (this.#changed = () => resolve(undefined)))
  }
}

/**
 * A worker whose window ends when the clock is turned.
 *
 * @param {number} size
 * @param {'counter' | 'timer'} type
 * @param {(now: () => number) => InstanceType<typeof MemoryState>} open
 */
async function ofWorker(size, type, open) {
  const opened = Math.floor(Date.now() / INTERVAL_MS) * INTERVAL_MS
  let time = opened
  let noticed = 0
  const state = open(() => {
    // a worker looks at the clock once a second, unless something arrives
    if (time > opened) noticed ||= performance.now()
    return time
  })
  const backend = new Count()
  const settings = { group: 'bench', backends: ['count'] }
  await state.open(settings)
  // what a worker finds when it starts: a window's frames in the log
  await state.append(new Frames({ series: size, type }).bundles)
  await state.close()
  const worker = new Worker({
    brokers: ['tcp://127.0.0.1:1'],
    state,
    group: 'bench',
    flush: INTERVAL_MS,
    targets: [{ backend, key: 'count', label: 'count', inDoubt: 'resend', timeoutMs: 60_000 }],
    log: { info() {}, warn() {} },
  })
  const { ms: restore } = await pauseOf(() => worker.start())
  let delivered = 0
  const { pause } = await pauseOf(async () => {
    time += INTERVAL_MS
    await backend.reached(size)
    delivered = performance.now()
  })
  await worker.stop()
  return { 'window end to backend': delivered - noticed, 'longest pause': pause, restore }
}

/** Encoding and decoding by themselves. @param {number} size @param {'counter' | 'timer'} type */
async function ofShards(size, type) {
  const now = Date.now()
  const shards = openShards(now)
  const frames = new Frames({ series: size, type })
  const figures = { close: 0, 'longest close': 0, decode: 0, outbox: 0, snapshot: 0 }
  for (let window = 0; window < 3; window++) {
    mergeAll(shards, frames, now)
    frames.advance()
    Object.assign(figures, { close: 0, 'longest close': 0, decode: 0, outbox: 0, snapshot: 0 })
    for (const shard of shards) {
      const start = performance.now()
      const { outbox, snapshot } = shard.close()
      const closed = performance.now()
      figures.close += closed - start
      figures['longest close'] = Math.max(figures['longest close'], closed - start)
      await decodeWindow(outbox, DEFAULT_PERCENTILES)
      figures.decode += performance.now() - closed
      figures.outbox += outbox.length / size
      figures.snapshot += snapshot.bytes.length / size
    }
  }
  return figures
}

/** @type {import('../case.js').Case} */
export default {
  name: 'commit',
  title: 'The end of a window in a worker',
  method: `All series in one window of all 32 shards. \`close\` and \`decode\` are \`Shard.close\` (rollups and snapshot encoded) and
\`decodeWindow\` by themselves, the third window in a row. The others are a whole worker whose clock is turned past the end of
its window: commit, outbox, decoding and a backend that counts rollups. The longest pause is what the worker's receiving had
to wait for.`,
  sizes: [10_000, 100_000, 1_000_000],
  rounds: (size) => (size < 1_000_000 ? 3 : 1),
  contenders: {
    'counters, shards': ({ size }) => ofShards(size, 'counter'),
    'counters, in memory': ({ size }) =>
      ofWorker(size, 'counter', (now) => new MemoryState({ now, maxOutboxBytes: 1 << 30 })),
    'counters, in a directory': async ({ size }) => {
      const directory = await mkdtemp(join(tmpdir(), 'zibrato-bench-'))
      try {
        return await ofWorker(size, 'counter', (now) => new FileState({ now, directory, maxOutboxBytes: 1 << 30 }))
      } finally {
        await rm(directory, { recursive: true })
      }
    },
    'timers, in memory': async ({ size }) =>
      size > 100_000 ? {} : ofWorker(size, 'timer', (now) => new MemoryState({ now, maxOutboxBytes: 1 << 30 })),
  },
  rows: [
    { measured: ['counters, shards', 'close'], unit: 'ms' },
    { measured: ['counters, shards', 'longest close'], unit: 'ms' },
    { measured: ['counters, shards', 'decode'], unit: 'ms' },
    { measured: ['counters, shards', 'outbox'], unit: 'B/series' },
    { measured: ['counters, in memory', 'window end to backend'], unit: 'ms' },
    { measured: ['counters, in memory', 'longest pause'], unit: 'ms' },
    { measured: ['counters, in a directory', 'window end to backend'], unit: 'ms' },
    { measured: ['counters, in a directory', 'longest pause'], unit: 'ms' },
    { measured: ['counters, in a directory', 'restore'], unit: 'ms' },
    { measured: ['timers, in memory', 'window end to backend'], unit: 'ms', sizes: [10_000, 100_000] },
    { measured: ['timers, in memory', 'longest pause'], unit: 'ms', sizes: [10_000, 100_000] },
  ],
}
