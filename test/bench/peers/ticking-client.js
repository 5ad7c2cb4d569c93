// A program with 1,000 counters, one in every shard at least, that flushes every few ms, to a broker.
//   node ticking-client.js PORT EVERY_MS
import { Zibrato } from 'zibrato'

const [port, everyMs] = process.argv.slice(2).map(Number)

const z = new Zibrato({ url: `tcp://127.0.0.1:${port}`, flushInterval: '1h', exitHooks: false })
const counters = Array.from({ length: 1_000 }, (_, index) => z.counter(`ticks.${index}`))
setInterval(() => {
  for (const counter of counters) counter.inc()
  // waits for nothing: what is not taken now is kept and sent again
  void z.flush()
}, everyMs)
process.send({})
