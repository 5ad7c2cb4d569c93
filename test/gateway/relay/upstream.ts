import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { eachFrame } from '../../../client/wire/bundle.ts'
import { readHeader } from '../../../client/wire/frame.ts'
import { type AppOptions, createApp } from '../../../gateway/app.ts'
import { decompress } from '../../../gateway/decompress.ts'
import { gunzipSync } from 'node:zlib'
import { FakeSink } from '../fake-sink.ts'

/** What goes wrong with a request instead of an answer, or after it was taken. */
export type Fault =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly code?: string }
  /** The connection breaks before anything was taken. */
  | 'reset'
  /** It breaks after everything was taken. */
  | 'taken, then reset'
  /** There is no answer. */
  | 'silence'

export interface Posted {
  /** A post of nothing, or of frames. */
  readonly kind: 'probe' | 'frames'
  readonly headers: Readonly<Record<string, unknown>>
  readonly bytes: number
}

/** What a request that nothing goes wrong with is answered. */
type Answer = (headers: Record<string, string>, body: Buffer) => Response | Promise<Response>

/** A gateway on a port, the real app, to which posts may fail on the way. */
export class FaultyUpstream {
  /** Where the app in this process puts what it takes. */
  readonly sink: FakeSink
  readonly posts: Posted[] = []
  /** What goes wrong with the next requests, in turn; undefined: nothing. */
  readonly next: (Fault | undefined)[] = []
  /** What goes wrong with all others. */
  always: Fault | undefined
  /** What goes wrong with frames of these seqs. */
  judge: ((seqs: readonly number[]) => Fault | undefined) | undefined
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, sink: FakeSink) {
    this.#server = server
    this.sink = sink
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  /** The gateway's app in this process. */
  static start(options: Partial<AppOptions> = {}): Promise<FaultyUpstream> {
    const sink = new FakeSink()
    const app = createApp({ sink, decompress, ...options })
    return FaultyUpstream.#open(sink, (headers, body) =>
      app.request('/v1/metrics', { method: 'POST', headers, body: new Uint8Array(body) }),
    )
  }

  static async #open(sink: FakeSink, answering: Answer): Promise<FaultyUpstream> {
    const server = createServer()
    const upstream = new FaultyUpstream(server, sink)
    const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const body = Buffer.concat(chunks)
      const headers = request.headers as Record<string, string>
      const kind = headers['content-type'] === 'application/json' ? 'probe' : 'frames'
      upstream.posts.push({ kind, headers, bytes: body.length })
      const seqs = upstream.judge === undefined || kind === 'probe' ? [] : seqsOf(headers, body)
      const fault = upstream.next.length > 0 ? upstream.next.shift() : (upstream.judge?.(seqs) ?? upstream.always)
      if (fault === 'silence') return
      if (fault === 'reset') return void request.socket.destroy()
      if (typeof fault === 'object') {
        const error = fault.code === undefined ? {} : { error: { code: fault.code } }
        response.writeHead(fault.status, fault.headers).end(JSON.stringify(error))
        return
      }
      // no answer is what a sender sees of a gateway that is gone
      const answer = await Promise.resolve(answering(headers, body)).catch(() => undefined)
      if (answer === undefined) return void request.socket.destroy()
      if (fault === 'taken, then reset') return void request.socket.destroy()
      const { 'content-length': _, 'transfer-encoding': __, ...passed } = Object.fromEntries(answer.headers)
      response.writeHead(answer.status, passed).end(await answer.text())
    }
    server.on('request', (request, response) => {
      // a sender that is gone hears nothing more
      handle(request, response).catch(() => request.socket.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return upstream
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Seqs of the frames taken, in order. */
  get seqs(): number[] {
    return this.sink.frames.map(({ seq }) => seq)
  }

  /** Forgets everything, and goes well again. */
  reset(): void {
    this.posts.length = 0
    this.next.length = 0
    this.always = undefined
    this.judge = undefined
    this.sink.frames.length = 0
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function seqsOf(headers: Record<string, string>, body: Buffer): number[] {
  const bundle = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
  const seqs: number[] = []
  eachFrame(bundle, (start, end) => seqs.push(readHeader(bundle, start, end).seq))
  return seqs
}
