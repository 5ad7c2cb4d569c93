// Sends UDP packets to a port as fast as one process can.
//   node flood.js PORT SERIES LINES_PER_PACKET
import { createSocket } from 'node:dgram'

const [port, series, perPacket] = process.argv.slice(2).map(Number)
const TYPES = ['c', 'c', 'ms', 'c', 'g', 'c|@0.1']

let index = 0
const line = () => {
  const own = index++ % series
  return `app.requests.route${String(own).padStart(5, '0')}:${(own * 7) % 1_000}|${TYPES[own % TYPES.length]}`
}
// enough that no cache holds them all
const packets = Array.from({ length: 4_000 }, () => Buffer.from(Array.from({ length: perPacket }, line).join('\n')))

const socket = createSocket({ type: 'udp4', sendBufferSize: 4 << 20 })
let sent = 0
/** @param {number} under how many are under way */
function send(under) {
  for (let count = 0; count < under; count++) {
    socket.send(packets[sent++ % packets.length], () => send(1))
  }
}
socket.connect(port, '127.0.0.1', () => {
  process.send({})
  send(64)
})
