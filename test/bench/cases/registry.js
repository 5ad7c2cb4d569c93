import * as prom from 'prom-client'
import { Registry } from 'zibrato/registry'
import { jsonText, prometheusText } from 'zibrato/reporters'
import { median } from '../report.js'
import { checkCount } from '../tools/client.js'
import { pauseOf } from '../tools/pause.js'
import { usePromClient, useZibrato } from '../tools/warm.js'

const LOOKS = 7
/** Values that each timer takes before each look. */
const VALUES = 20
const values = Array.from({ length: 4_096 }, (_, index) => ((index * 2_654_435_761) % 4_096) / 4_096)

/** @param {number} index */
const routeOf = (index) => ({ route: `/item/${String(index).padStart(6, '0')}` })

/** @param {(index: number, value: number) => void} count @param {(index: number, value: number) => void} set @param {(index: number, value: number) => void} time */
function recorder(size, count, set, time) {
  let next = 0
  return () => {
    for (let index = 0; index < size; index++) {
      if (index % 3 === 0) count(index, 1)
      else if (index % 3 === 1) set(index, index + 0.5)
      else for (let value = 0; value < VALUES; value++) time(index, values[next++ & 4_095])
    }
  }
}

/** @param {() => void} record @param {() => unknown} look */
async function measure(record, look) {
  const spent = []
  const paused = []
  for (let round = 0; round < LOOKS; round++) {
    record()
    const { ms, pause } = await pauseOf(async () => void (await look()))
    // the first ones compile
    if (round < 2) continue
    spent.push(ms)
    paused.push(pause)
  }
  return { ms: median(spent), pause: median(paused) }
}

/** @param {number} size @param {(registry: Registry) => unknown} look */
async function ofZibrato(size, look) {
  useZibrato()
  const registry = new Registry({ maxSeries: size + 3 })
  const counter = registry.counter('requests')
  const gauge = registry.gauge('queue')
  const timer = registry.timer('latency')
  const handles = Array.from({ length: size }, (_, index) => [counter, gauge, timer][index % 3].with(routeOf(index)))
  const figures = await measure(
    recorder(
      size,
      (index, value) => handles[index].inc(value),
      (index, value) => handles[index].set(value),
      (index, value) => handles[index].record(value),
    ),
    () => look(registry),
  )
  checkCount('zibrato', registry.statsOf(handles[0]).value, LOOKS)
  checkCount('zibrato', registry.statsOf(handles[2]).count, LOOKS * VALUES)
  return figures
}

/** @param {number} size @param {(options: object) => prom.Histogram | prom.Summary} timerOf */
async function ofProm(size, timerOf) {
  usePromClient()
  const registers = [new prom.Registry()]
  const options = { help: 'help', labelNames: ['route'], registers }
  const counter = new prom.Counter({ name: 'requests', ...options })
  const gauge = new prom.Gauge({ name: 'queue', ...options })
  const timer = timerOf({ name: 'latency', ...options })
  const handles = Array.from({ length: size }, (_, index) => [counter, gauge, timer][index % 3].labels(routeOf(index)))
  const figures = await measure(
    recorder(
      size,
      (index, value) => handles[index].inc(value),
      (index, value) => handles[index].set(value),
      (index, value) => handles[index].observe(value),
    ),
    () => registers[0].metrics(),
  )
  checkCount('prom-client', (await counter.get()).values[0].value, LOOKS)
  return figures
}

const SUMMARY = { percentiles: [0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999], maxAgeSeconds: 300, ageBuckets: 5 }
const HISTOGRAMS = 'prom-client metrics(), histograms'
const SUMMARIES = 'prom-client metrics(), summaries'

/** @type {import('../case.js').Case} */
export default {
  name: 'registry',
  title: 'Reading a registry',
  method: `A third each of counters, gauges and timers, all touched before each look, timers with ${VALUES} values; the median of ${LOOKS - 2} looks.
prom-client has no timers: it keeps histograms (11 buckets and no percentiles) or summaries (the same percentiles over the same five minutes).
The pause is what other code of the process had to wait for, by \`monitorEventLoopDelay\`. \`getStats()\` answers at once, so it stops the
rest for as long as it takes; \`getStatsAsync()\` and the texts come in slices.`,
  sizes: [1_000, 10_000],
  rounds: () => 3,
  contenders: {
    'getStats()': ({ size }) => ofZibrato(size, (registry) => registry.getStats()),
    'getStatsAsync()': ({ size }) => ofZibrato(size, (registry) => registry.getStatsAsync()),
    'JSON text': ({ size }) => ofZibrato(size, jsonText),
    'Prometheus text': ({ size }) => ofZibrato(size, prometheusText),
    [HISTOGRAMS]: ({ size }) => ofProm(size, (options) => new prom.Histogram(options)),
    [SUMMARIES]: ({ size }) => ofProm(size, (options) => new prom.Summary({ ...options, ...SUMMARY })),
  },
  rows: [
    {
      measured: ['getStats()', 'ms'],
      peer: [HISTOGRAMS, 'ms'],
      unit: 'ms',
      target: { atMost: 1 / 3, sizes: [10_000] },
    },
    { measured: ['getStats()', 'ms'], peer: [SUMMARIES, 'ms'], unit: 'ms', target: { atMost: 1 / 3, sizes: [10_000] } },
    {
      measured: ['Prometheus text', 'ms'],
      peer: [HISTOGRAMS, 'ms'],
      unit: 'ms',
      target: { atMost: 1 / 3, sizes: [10_000] },
    },
    {
      measured: ['Prometheus text', 'ms'],
      peer: [SUMMARIES, 'ms'],
      unit: 'ms',
      target: { atMost: 1 / 3, sizes: [10_000] },
    },
    { measured: ['getStats()', 'pause'], peer: [HISTOGRAMS, 'pause'], unit: 'ms' },
    { measured: ['getStatsAsync()', 'pause'], unit: 'ms', target: { atMost: 20, sizes: [10_000] } },
    { measured: ['JSON text', 'pause'], unit: 'ms', target: { atMost: 20, sizes: [10_000] } },
    { measured: ['Prometheus text', 'pause'], unit: 'ms', target: { atMost: 20, sizes: [10_000] } },
  ],
}
