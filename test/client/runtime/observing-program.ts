import { Zibrato } from '../../../client/index.ts'
import { observe } from '../../../client/runtime/index.ts'
import { MemoryMetrics } from '../../../client/testing.ts'

/** A program that observes all there is, and has nothing else to do; it is run as a process of its own. */
const metrics = new MemoryMetrics()
const z = new Zibrato({ transport: metrics, flushInterval: '20ms' })
observe(z, { interval: '20ms' })
process.on('exit', () => {
  const names = [...new Set(metrics.series().map(({ name }) => name))]
  process.stdout.write(JSON.stringify(names))
})
setTimeout(() => {}, 100)
