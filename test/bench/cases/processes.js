import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RegistryAggregator } from 'zibrato/distributed'
import { Registry } from 'zibrato/registry'
import { startPeer } from '../tools/peer.js'
import { record, timersOf } from '../tools/timers.js'

const PROCESSES = 4
const TOGETHER = 'four processes'
const ALONE = 'one process'

/** @param {Registry} registry how long reading all of it takes, ms */
function reading(registry) {
  const start = performance.now()
  registry.getStats()
  return performance.now() - start
}

/** @param {readonly number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0)
}

/** @param {import('../case.js').Context} context */
async function alone({ size, seconds }) {
  const registry = new Registry({ maxSeries: size })
  const timers = timersOf(registry, size)
  await record(timers, seconds * 0.4)
  const { calls, cpuSeconds } = await record(timers, seconds)
  return { record: (cpuSeconds * 1e9) / calls, read: reading(registry) }
}

/** @param {import('../case.js').Context} context */
async function together({ size, seconds }) {
  const folder = mkdtempSync(join(tmpdir(), 'zb-'))
  const address = `ipc://${join(folder, 'm')}`
  const aggregator = await new RegistryAggregator({ address, maxSeries: size }).start()
  const recorders = await Promise.all(Array.from({ length: PROCESSES }, () => startPeer('recorder.js', address, size)))
  try {
    await Promise.all(recorders.map(({ ask }) => ask({ seconds: seconds * 0.4 })))
    const before = process.cpuUsage()
    const start = performance.now()
    const answers = await Promise.all(recorders.map(({ ask }) => ask({ seconds })))
    const { user, system } = process.cpuUsage(before)
    const passed = (performance.now() - start) / 1000
    const flushes = []
    for (const { ask } of recorders) flushes.push(await ask('flush'))
    const counted = Object.values(aggregator.getStats().bench).reduce((total, { count }) => total + count, 0)
    const recorded = sum(answers.map(({ calls }) => calls))
    if (counted < recorded) throw new Error(`bench: ${recorded - counted} of ${recorded} values did not arrive`)
    return {
      record: (sum(answers.map(({ cpuSeconds }) => cpuSeconds)) * 1e9) / recorded,
      read: reading(aggregator),
      flush: sum(flushes) / flushes.length,
      aggregator: (user + system) / 1e4 / passed,
    }
  } finally {
    await Promise.all(recorders.map(({ stop }) => stop()))
    await aggregator.close()
    rmSync(folder, { recursive: true })
  }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'processes',
  title: 'A registry of four processes',
  method: `Each of ${PROCESSES} processes records on the same timers as fast as it can and hands them to an aggregator every second, over
ZeroMQ in a file; the peer does so alone, and hands them to nobody. \`record\` is the CPU time of all threads a value, handing
on included; \`read\` is one \`getStats()\`; \`flush\` is the time from asking until the aggregator has confirmed every series, with the
others at rest; \`aggregator\` is its share of a core, with four times so many series a second. What was recorded has to arrive.`,
  sizes: [100, 1_000, 10_000],
  contenders: { [TOGETHER]: together, [ALONE]: alone },
  rows: [
    { measured: [TOGETHER, 'record'], peer: [ALONE, 'record'], unit: 'ns' },
    { measured: [TOGETHER, 'read'], peer: [ALONE, 'read'], unit: 'ms' },
    { measured: [TOGETHER, 'flush'], unit: 'ms' },
    { measured: [TOGETHER, 'aggregator'], unit: '% of a core' },
  ],
}
