// A process that records on timers as fast as it can, and hands them to an aggregator every second.
//   node recorder.js ADDRESS SERIES
// Messages: { seconds } records for so long and answers how often and at which CPU time; 'flush' answers how long one took, ms.
import { DistributedRegistry } from 'zibrato/distributed'
import { record, timersOf } from '../tools/timers.js'

const [address, series] = process.argv.slice(2)
const registry = new DistributedRegistry({ address, flushInterval: '1s', maxSeries: Number(series), exitHooks: false })
const timers = timersOf(registry, Number(series))
await registry.flush()
/** @param {'flush' | { seconds: number }} message */
async function answer(message) {
  if (message !== 'flush') return record(timers, message.seconds)
  for (const timer of timers) timer.record(0.012)
  const start = performance.now()
  await registry.flush()
  return performance.now() - start
}
process.on('message', (message) => void answer(message).then((answered) => process.send(answered)))
process.send({})
