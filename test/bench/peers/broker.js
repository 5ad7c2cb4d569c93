// A broker on two free ports: `zibrato`, or the native proxy of libzmq.
//   node broker.js zibrato|proxy [drain]
// With `drain` it also has a subscriber that takes everything and drops it.
import { Broker } from 'zibrato/broker'
import { Proxy, Subscriber, XPublisher, XSubscriber } from 'zeromq'

const [kind, drain] = process.argv.slice(2)

if (kind === 'zibrato') {
  const broker = new Broker({ port: 0 })
  await broker.start()
  if (drain === 'drain') void takeAll(broker.subscribersPort)
  process.on('message', () => process.send(process.cpuUsage()))
  process.send({ port: broker.port, subscribersPort: broker.subscribersPort })
} else {
  // as the broker's own
  const xsub = new XSubscriber({ receiveHighWaterMark: 20_000, sendHighWaterMark: 0 })
  const xpub = new XPublisher({ sendHighWaterMark: 20_000, verbosity: 'allSubs' })
  await xsub.bind('tcp://127.0.0.1:*')
  await xpub.bind('tcp://127.0.0.1:*')
  void new Proxy(xsub, xpub).run()
  process.on('message', () => process.send(process.cpuUsage()))
  process.send({ port: portOf(xsub), subscribersPort: portOf(xpub) })
}

/** @param {XSubscriber | XPublisher} socket */
function portOf(socket) {
  return Number(socket.lastEndpoint?.split(':').pop())
}

/** @param {number} port */
async function takeAll(port) {
  const socket = new Subscriber({ receiveHighWaterMark: 20_000 })
  socket.connect(`tcp://127.0.0.1:${port}`)
  socket.subscribe('#')
  for await (const _ of socket);
}
