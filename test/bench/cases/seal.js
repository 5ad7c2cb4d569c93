import { Zibrato } from 'zibrato'
import { DiscardTransport } from '../tools/discard.js'
import { pauseOf } from '../tools/pause.js'
import { median } from '../report.js'

const FLUSHES = 5

/** @param {'counter' | 'timer'} type @param {number} size */
async function measure(type, size) {
  const transport = new DiscardTransport()
  const z = new Zibrato({ transport, flushInterval: '1h', exitHooks: false, maxSeries: size + 1 })
  const handles = Array.from({ length: size }, (_, index) =>
    z[type]('http.requests').with({ route: `/item/${String(index).padStart(6, '0')}` }),
  )
  const touch = (/** @type {any} */ handle) => (type === 'timer' ? handle.record(0.012) : handle.inc())
  const spent = []
  const paused = []
  for (let flush = 0; flush <= FLUSHES; flush++) {
    for (const handle of handles) touch(handle)
    const { ms, pause } = await pauseOf(() => z.flush())
    // the first one compiles
    if (flush === 0) continue
    spent.push(ms)
    paused.push(pause)
  }
  return {
    flush: median(spent),
    'longest pause': Math.max(...paused),
    bytes: transport.bytes / (FLUSHES + 1) / size,
    frames: transport.frames / (FLUSHES + 1),
  }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'seal',
  title: 'A flush in the client',
  method: `Every series was touched once; \`flush()\` makes frames of them, for a transport that drops them. The longest pause is what
other code of the process had to wait for, by \`monitorEventLoopDelay\`, in the worst of ${FLUSHES} flushes.`,
  sizes: [1_000, 10_000, 100_000, 1_000_000],
  rounds: (size) => (size < 1_000_000 ? 3 : 1),
  contenders: {
    counters: ({ size }) => measure('counter', size),
    timers: async ({ size }) => (size > 100_000 ? {} : measure('timer', size)),
  },
  rows: [
    { measured: ['counters', 'flush'], unit: 'ms' },
    { measured: ['counters', 'longest pause'], unit: 'ms' },
    { measured: ['counters', 'bytes'], unit: 'B/series' },
    { measured: ['counters', 'frames'], unit: 'frames' },
    { measured: ['timers', 'flush'], unit: 'ms', sizes: [1_000, 10_000, 100_000] },
  ],
}
