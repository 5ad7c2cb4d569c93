// Reads UDP packets and drops them.
import { createSocket } from 'node:dgram'

const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })
socket.on('message', () => {})
socket.bind(0, '127.0.0.1', () => process.send({ port: socket.address().port }))
