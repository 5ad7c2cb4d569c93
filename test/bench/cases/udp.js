import { setTimeout as wait } from 'node:timers/promises'
import { startPeer } from '../tools/peer.js'

const SERIES = 1_000

/** @param {'bare' | 'statsd' | 'zibrato'} kind */
function receiving(kind) {
  /** @param {import('../case.js').Context} context */
  return async ({ size, seconds }) => {
    const sink = await startPeer('statsd-sink.js', kind)
    const flood = await startPeer('flood.js', sink.ready.port, SERIES, size)
    // compiled, and for statsd past its first flush
    await wait(2_000)
    const from = await sink.ask('figures')
    const started = performance.now()
    // whole seconds: statsd counts at its flushes
    await wait(Math.max(2, Math.round(seconds)) * 1_000)
    const to = await sink.ask('figures')
    const elapsed = (performance.now() - started) / 1_000
    await flood.stop()
    await sink.stop()
    const packets = to.packets - from.packets
    return {
      'packets/s': packets / elapsed,
      'lines/s': (packets * size) / elapsed / 1e6,
      'lines/CPU s': (packets * size) / (to.cpu - from.cpu) / 1e6,
      busy: (to.cpu - from.cpu) / elapsed,
    }
  }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'udp',
  title: 'StatsD lines over UDP',
  method: `Counters, sampled counters, timers and gauges of ${SERIES.toLocaleString('en')} series, sent over loopback by one process as fast as it
can, to statsd 0.9, to the gateway's listener and intake (which makes frames of them), and to a handler that only counts
packets. The sender can be slower than who receives, so what counts is lines a second of the receiver's CPU time, system
calls included; lines that came a second are shown beside it. statsd's own count of packets is read at its flushes.`,
  sizes: [1, 30],
  sizeUnit: 'lines a packet',
  rounds: () => 3,
  contenders: { zibrato: receiving('zibrato'), 'statsd 0.9': receiving('statsd'), 'bare dgram': receiving('bare') },
  rows: [
    {
      measured: ['zibrato', 'lines/CPU s'],
      peer: ['statsd 0.9', 'lines/CPU s'],
      unit: 'M/s',
      target: { atLeast: 8, sizes: [30] },
    },
    {
      measured: ['zibrato', 'lines/CPU s'],
      peer: ['bare dgram', 'lines/CPU s'],
      unit: 'M/s',
      target: { atLeast: 0.85, sizes: [1] },
    },
    { measured: ['zibrato', 'lines/s'], peer: ['statsd 0.9', 'lines/s'], unit: 'M/s' },
    { measured: ['zibrato', 'packets/s'], peer: ['bare dgram', 'packets/s'], unit: '/s' },
  ],
}
