import { openBackend } from 'zibrato/backends'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEFAULT_PERCENTILES, decodeWindow } from '../tools/internals.js'
import { Frames } from '../tools/frames.js'
import { mergeAll, openShards } from '../tools/shards.js'
import { pauseOf } from '../tools/pause.js'
import { startPeer } from '../tools/peer.js'

/**
 * A window as workers hand it over: four fifths counters, one fifth timers of 10 values.
 *
 * @param {number} series
 */
async function windowOf(series) {
  const now = Date.now()
  const shards = openShards(now)
  mergeAll(shards, new Frames({ series: series * 0.8, type: 'counter' }), now)
  mergeAll(shards, new Frames({ series: series * 0.2, type: 'timer' }), now)
  let [start, end] = [0, 0]
  const rollups = []
  for (const shard of shards) {
    const { outbox } = shard.close()
    const part = await decodeWindow(outbox, DEFAULT_PERCENTILES)
    start = part.start
    end = part.end
    rollups.push(...part.rollups)
  }
  return { start, end, rollups }
}

/** @param {(ports: { http: number, tcp: number, udp: number }, directory: string) => string} urlOf */
function flushing(urlOf) {
  /** @param {import('../case.js').Context} context */
  return async ({ size }) => {
    const sink = await startPeer('sink.js')
    const directory = await mkdtemp(join(tmpdir(), 'zibrato-bench-'))
    try {
      const url = urlOf(sink.ready, directory)
      const window = await windowOf(size)
      const backend = await openBackend(url)
      await backend.connect?.()
      // compiled, connected
      await backend.flush({ ...window, rollups: window.rollups.slice(0, 2_000) }, AbortSignal.timeout(60_000))
      globalThis.gc?.()
      const before = process.memoryUsage.rss()
      const { ms, pause } = await pauseOf(() =>
        backend.flush({ ...window, end: window.end + 10 }, AbortSignal.timeout(300_000)),
      )
      const peak = process.resourceUsage().maxRSS * 1024
      await backend.close?.()
      return { ms, pause, memory: Math.max(0, peak - before) / 2 ** 20 }
    } finally {
      await sink.stop()
      await rm(directory, { recursive: true })
    }
  }
}

const TARGETS = {
  'file:': (_ports, directory) => `file:${join(directory, 'metrics.jsonl')}`,
  'statsd:': ({ udp }) => `statsd://127.0.0.1:${udp}`,
  'statsd+tcp:': ({ tcp }) => `statsd+tcp://127.0.0.1:${tcp}`,
  'graphite:': ({ tcp }) => `graphite://127.0.0.1:${tcp}`,
  'prometheus:': () => 'prometheus://127.0.0.1:0',
  'prometheus+http:': ({ http }) => `prometheus+http://127.0.0.1:${http}/api/v1/write`,
  'otlp+http: protobuf': ({ http }) => `otlp+http://127.0.0.1:${http}`,
  'otlp+http: JSON': ({ http }) => `otlp+http://127.0.0.1:${http}?encoding=json`,
  'influx+http:': ({ http }) => `influx+http://127.0.0.1:${http}?org=o&bucket=b&token=t`,
  'datadog:': ({ http }) => `datadog://key@127.0.0.1:${http}?tls=no`,
  'librato:': ({ http }) => `librato://user:token@127.0.0.1:${http}?tls=no`,
}

/** @type {import('../case.js').Case} */
export default {
  name: 'flush',
  title: 'Handing a window to a backend',
  method: `Four fifths counters, one fifth timers of 10 values, as a worker decodes them, handed to \`flush\` of each backend, whose target is
a process that reads all and answers at once. A smaller window goes first. Memory is by how much the process grew at its
peak; the longest pause is what everything else in the process had to wait for.`,
  sizes: [100_000],
  rounds: () => 3,
  nodeArgs: ['--expose-gc'],
  contenders: Object.fromEntries(Object.entries(TARGETS).map(([name, urlOf]) => [name, flushing(urlOf)])),
  rows: Object.keys(TARGETS).flatMap((name) => [
    { measured: [name, 'ms'], unit: 'ms' },
    { measured: [name, 'pause'], unit: 'ms', target: { atMost: 50 } },
    { measured: [name, 'memory'], unit: 'MB' },
  ]),
}
