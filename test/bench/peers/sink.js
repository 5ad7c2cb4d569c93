// Takes whatever backends send, over HTTP, TCP and UDP, reads it to its end and answers that all is well.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'

const http = createHttpServer((request, response) => {
  request.resume().on('end', () => {
    // Datadog and others check what they are answered
    const json = request.headers['content-type']?.includes('json')
    response.writeHead(202, json ? { 'content-type': 'application/json' } : {}).end(json ? '{"errors":[]}' : '')
  })
})
const tcp = createServer((socket) => void socket.on('error', () => {}).resume())
const udp = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })
udp.on('message', () => {})
http.listen(0, '127.0.0.1')
tcp.listen(0, '127.0.0.1')
udp.bind(0, '127.0.0.1')
await Promise.all([once(http, 'listening'), once(tcp, 'listening'), once(udp, 'listening')])
process.send({ http: http.address().port, tcp: tcp.address().port, udp: udp.address().port })
