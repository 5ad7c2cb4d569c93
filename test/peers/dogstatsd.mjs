// Increments a counter by dd-trace's DogStatsD client, for each line of standard input so many times, and answers "ok".
import { createInterface } from 'node:readline'
import tracer from 'dd-trace'

// there is no agent, and nothing is traced
tracer.init({ dogstatsd: { hostname: '127.0.0.1', port: Number(process.argv[2]) }, plugins: false, startupLogs: false })
for await (const line of createInterface({ input: process.stdin })) {
  for (let count = Number(line); count > 0; count--) tracer.dogstatsd.increment('orders', 3, { client: 'dd-trace' })
  tracer.dogstatsd.flush()
  console.log('ok')
}
