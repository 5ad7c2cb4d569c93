// The gateway on a free port, publishing to a broker.
//   node gateway.js BROKER_PORT
import { startGateway } from 'zibrato/gateway'
import { BrokerSink } from '../tools/internals.js'

const sink = new BrokerSink({
  broker: `tcp://127.0.0.1:${process.argv[2]}`,
  warn: ({ message }) => process.stderr.write(`gateway: ${message}\n`),
})
while (!sink.subscribed) await new Promise((resolve) => setTimeout(resolve, 5))
const gateway = await startGateway({ port: 0, sink })
process.on('message', () =>
  process.send({ cpu: process.cpuUsage(), sent: sink.stats().sent, waiting: sink.stats().waiting }),
)
process.send({ port: gateway.port })
