import { Subscriber } from 'zeromq'
import { startPeer } from '../tools/peer.js'

/** Messages and bytes under way at the most, so that nobody's high-water mark is reached and nothing is dropped. */
const WINDOW = 10_000
const WINDOW_BYTES = 16 << 20

/** Sizes from here on are `[topic, bundle]`, below they are text lines of one part. */
const FRAMES_FROM = 100

/** @param {'zibrato' | 'proxy'} kind @param {import('../case.js').Context} context */
async function measure(kind, { size, seconds }) {
  const broker = await startPeer('broker.js', kind)
  const socket = new Subscriber({ receiveHighWaterMark: 20_000 })
  socket.connect(`tcp://127.0.0.1:${broker.ready.subscribersPort}`)
  const isLine = size < FRAMES_FROM
  socket.subscribe(isLine ? 'info|' : '#0a|')
  const publisher = await startPeer('publisher.js', broker.ready.port, isLine ? '' : '#0a|info|', size)
  const window = Math.min(WINDOW, Math.floor(WINDOW_BYTES / size))
  const step = Math.floor(window / 4)
  publisher.tell(window)
  let received = 0
  const receive = async (/** @type {number} */ count) => {
    for (let left = count; left > 0; left--) {
      await socket.receive()
      if (++received % step === 0) publisher.tell(step)
    }
  }
  const until = async (/** @type {number} */ end) => {
    while (performance.now() < end) await receive(step)
  }
  await until(performance.now() + seconds * 500)
  const start = performance.now()
  const from = received
  const before = await broker.ask('cpu')
  await until(start + seconds * 1000)
  const rate = (received - from) / (performance.now() - start)
  const after = await broker.ask('cpu')
  const cpu = (after.user + after.system - before.user - before.system) / (received - from)
  await publisher.stop()
  await broker.stop()
  return { rate, cpu }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'broker',
  title: "The broker's forwarding loop",
  method: `A publisher, a broker and a subscriber, each a process of its own, messages a second end to end, thousands. At 40 bytes
messages are text lines of one part, otherwise a topic and a bundle. The subscriber allows the publisher so many messages
under way that none is dropped. The peer is libzmq's own proxy between sockets of the same kind and limits. With fewer cores
than processes, publisher and subscriber take theirs from the broker; \`cpu\` is what the broker's process spent on a message.`,
  sizes: [40, 100, 1_400, 16_000],
  sizeUnit: 'bytes',
  contenders: {
    zibrato: (context) => measure('zibrato', context),
    'zmq.Proxy': (context) => measure('proxy', context),
  },
  rows: [
    {
      measured: ['zibrato', 'rate'],
      peer: ['zmq.Proxy', 'rate'],
      unit: 'k/s',
      target: { atLeast: 0.55, sizes: [40] },
      sizes: [40],
    },
    { measured: ['zibrato', 'rate'], peer: ['zmq.Proxy', 'rate'], unit: 'k/s', sizes: [100, 1_400] },
    {
      measured: ['zibrato', 'rate'],
      peer: ['zmq.Proxy', 'rate'],
      unit: 'k/s',
      target: { atLeast: 0.95 },
      sizes: [16_000],
    },
    { measured: ['zibrato', 'cpu'], peer: ['zmq.Proxy', 'cpu'], unit: 'µs' },
  ],
}
