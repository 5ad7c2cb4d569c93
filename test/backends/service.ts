import { once } from 'node:events'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface Request {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  /** The same as bytes. */
  readonly bytes: Buffer
}

/** Answers a request; may also do nothing, or cut the connection. */
export type Answer = (response: ServerResponse, request: Request) => void

export const status =
  (code: number, body: string | Uint8Array = '', headers: Record<string, string> = {}): Answer =>
  (response) =>
    void response.writeHead(code, headers).end(body)

/** A connection that is cut after the request was read, and perhaps taken. */
export const reset: Answer = (response) => void response.socket?.resetAndDestroy()

/** An HTTP service that keeps each request and answers as told, otherwise 200. */
export class Service {
  readonly requests: Request[] = []
  /** How the next requests are answered; then as `answer` says. */
  readonly next: Answer[] = []
  answer: Answer = status(200)
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    server.on('request', (request: IncomingMessage, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const raw = Buffer.concat(chunks)
        const { method = '', url = '', headers } = request
        const bytes = headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
        const taken = { method, path: url, headers, body: bytes.toString('utf8'), bytes }
        this.requests.push(taken)
        ;(this.next.shift() ?? this.answer)(response, taken)
      })
    })
  }

  static async start(port = 0): Promise<Service> {
    const server = createServer()
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return new Service(server)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    if (this.#server.listening) await once(this.#server, 'close')
  }
}
