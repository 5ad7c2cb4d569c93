import { turn } from './measure.js'

const BATCH = 10_000
const VALUES = Float64Array.from({ length: 1_024 }, (_, index) => 0.001 * 1.01 ** ((index * 617) % 1_024))

/** @param {import('zibrato/registry').Registry} registry @param {number} count */
export function timersOf(registry, count) {
  return Array.from({ length: count }, (_, index) => registry.timer(`bench.timer${index}`))
}

/**
 * Records for some time, with a turn of the event loop now and then; answers how often, and the CPU time of all threads.
 *
 * @param {readonly import('zibrato').Timer[]} timers
 * @param {number} seconds
 */
export async function record(timers, seconds) {
  const end = performance.now() + seconds * 1000
  const cpu = process.cpuUsage()
  let calls = 0
  while (performance.now() < end) {
    for (const last = calls + BATCH; calls < last; calls++) timers[calls % timers.length].record(VALUES[calls & 1_023])
    await turn()
  }
  const { user, system } = process.cpuUsage(cpu)
  return { calls, cpuSeconds: (user + system) / 1e6 }
}
