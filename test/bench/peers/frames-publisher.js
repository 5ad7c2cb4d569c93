// Publishes the flushes of many clients over one connection: as many frames as its parent has room for.
//   node frames-publisher.js PORT CLIENTS SERIES PER_MESSAGE
// Every client has SERIES series of its own and so a frame in most shards. PER_MESSAGE frames of as many clients go out
// together, as from a gateway; 1 is how clients publish by themselves. Each message from the parent allows so many more frames.
import { XPublisher } from 'zeromq'
import { Frames } from '../tools/frames.js'
import { SHARDS } from '../tools/internals.js'

const [port, clients, series, perMessage] = process.argv.slice(2).map(Number)

/** Frames sent before the parent's allowance is looked at again. */
const BURST = 500

const frames = new Frames({ series, publishers: clients, own: true, seq: 1 })
const messages = groups()

const socket = new XPublisher({ sendHighWaterMark: 20_000, noDrop: true, linger: 0 })
socket.connect(`tcp://127.0.0.1:${port}`)
// until somebody has subscribed to every shard: workers each to theirs, or a broker with a journal to all
const missing = new Set(Array.from({ length: SHARDS }, (_, shard) => shardTopic(shard)))
while (missing.size > 0) {
  const heard = String((await socket.receive())[0])
  for (const topic of missing) if (heard[0] === '\u0001' && topic.startsWith(heard.slice(1))) missing.delete(topic)
}

let allowed = 0
let wake = () => {}
process.on('message', (more) => {
  allowed += more
  wake()
})
process.send({
  frames: frames.bundles.length,
  bytes: frames.bundles.reduce((sum, { bundle }) => sum + bundle.length, 0),
})
for (let next = 0; ; next++) {
  if (next === messages.length) {
    next = 0
    frames.advance()
  }
  while (allowed <= 0) await new Promise((resolve) => (wake = () => resolve(undefined)))
  const { topic, bundles } = messages[next]
  // copied: what waits in the socket must not change with the next pass
  await socket.send([topic, Buffer.concat(bundles)])
  allowed -= bundles.length
  // lets messages of the parent in
  if (next % BURST === 0) await new Promise((resolve) => setImmediate(resolve))
}

/** Client after client, each shard after shard; or some clients at once. */
function groups() {
  const made = []
  /** @type {Map<number, Uint8Array[]>} */
  let open = new Map()
  let before = -1
  for (const { shard, bundle } of frames.bundles) {
    // a client's frames come in the order of shards
    if (shard <= before && [...open.values()].some(({ length }) => length === perMessage)) open = new Map()
    before = shard
    const own = open.get(shard)
    if (own !== undefined) {
      own.push(bundle)
      continue
    }
    const bundles = [bundle]
    open.set(shard, bundles)
    made.push({ topic: `${shardTopic(shard)}info|`, bundles })
  }
  return made
}

/** @param {number} shard */
function shardTopic(shard) {
  return `#${shard.toString(16).padStart(2, '0')}|`
}
