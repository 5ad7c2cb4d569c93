import { type IncomingHttpHeaders, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { freePort } from '../../free-port.ts'
import { Sum } from '../../../client/sketch/aggregate.ts'
import { eachFrame } from '../../../client/wire/bundle.ts'
import { type Frame, decodeFrame } from '../../../client/wire/frame.ts'

export interface Post {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly bundle: Buffer
  readonly frames: readonly Frame[]
}

/** Answers a post; a socket it destroys is a connection that was reset. */
export type Answer = (post: Post, response: ServerResponse) => void

export function accept(post: Post, response: ServerResponse): void {
  respond(response, 202, { accepted: post.frames.length, rejected: [] })
}

export function respond(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

/** A gateway that answers as it is told to, and keeps every post. */
export class GatewayDouble {
  readonly posts: Post[] = []
  /** How the next posts are answered, then as `answer` says. */
  readonly next: Answer[] = []
  answer: Answer = accept
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  /** @param port where; default one that is free again after {@link stop} */
  static async start(port?: number): Promise<GatewayDouble> {
    const server = createServer()
    const double = new GatewayDouble(server)
    server.on('request', (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        const bundle = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
        const frames: Frame[] = []
        eachFrame(bundle, (start, end) => frames.push(decodeFrame(bundle, start, end)))
        const post = { headers: request.headers, body, bundle, frames }
        double.posts.push(post)
        ;(double.next.shift() ?? double.answer)(post, response)
      })
    })
    const own = port ?? (await freePort())
    await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve))
    return double
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** What counters of a name add up to in some posts, each frame taken once. */
  sum(name: string, posts: readonly Post[] = this.posts): number {
    const seen = new Set<string>()
    let sum = 0
    for (const { publisher, level, shard, seq, entries } of posts.flatMap(({ frames }) => frames)) {
      const id = `${publisher} ${level} ${shard} ${seq}`
      if (seen.has(id)) continue
      seen.add(id)
      for (const { series, aggregate } of entries) {
        if (series.name === name && aggregate instanceof Sum) sum += aggregate.value
      }
    }
    return sum
  }

  /** Ends every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
