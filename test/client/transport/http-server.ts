import { once } from 'node:events'
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An HTTP server for those who take it for a broker: it tells them at length that they are wrong. */
export async function httpServer(
  port = 0,
): Promise<{ readonly port: number; readonly refused: number; stop(): Promise<void> }> {
  let refused = 0
  const server: Server = createServer((_, response) => response.end()).listen(port, '127.0.0.1')
  server.on('clientError', (_, socket) => {
    refused++
    // ZeroMQ takes the first byte for a length, and believes what is at least that long
    socket.end(`HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n${'this is no HTTP '.repeat(20)}`)
  })
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get refused() {
      return refused
    },
    async stop() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
