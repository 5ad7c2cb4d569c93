// Publishes to a broker: as many messages as its parent has room for.
//   node publisher.js PORT TOPIC BYTES
// Without a topic messages have one part, as text lines do. Each message from the parent allows so many more.
import { XPublisher } from 'zeromq'

const [port, topic, bytes] = process.argv.slice(2)

/** Messages sent before the parent's allowance is looked at again. */
const BURST = 100

const socket = new XPublisher({ sendHighWaterMark: 20_000, noDrop: true, linger: 0 })
socket.connect(`tcp://127.0.0.1:${port}`)
// the subscriber's subscription has come all the way, behind the broker's own: nothing is dropped from here on
const wanted = `\u0001${topic === '' ? 'info|' : '#0a|'}`
for (let heard = ''; heard !== wanted;) heard = String(await socket.receive())

const message =
  topic === ''
    ? Buffer.from('info|Counter|orders|1|1700000000|'.padEnd(Number(bytes), 's'))
    : [topic, bundle(Number(bytes))]
let allowed = 0
let wake = () => {}
process.on('message', (more) => {
  allowed += more
  wake()
})
process.send('subscribed')
for (;;) {
  while (allowed === 0) await new Promise((resolve) => (wake = () => resolve(undefined)))
  for (let sent = Math.min(allowed, BURST); sent > 0; sent--) {
    await socket.send(message)
    allowed--
  }
  // lets messages of the parent in
  await new Promise((resolve) => setImmediate(resolve))
}

/** A bundle of one frame, as far as a broker looks. @param {number} size */
function bundle(size) {
  const data = Buffer.alloc(size, 1)
  if (size < 130) data[0] = size - 1
  else {
    const length = size - (size < 16_386 ? 2 : 3)
    data[0] = (length & 0x7f) | 0x80
    data[1] = size < 16_386 ? length >>> 7 : ((length >>> 7) & 0x7f) | 0x80
    if (size >= 16_386) data[2] = length >>> 14
  }
  return data
}
