import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { Sum } from '../../client/sketch/aggregate.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { decodeFrame } from '../../client/wire/frame.ts'

/** What goes wrong between a client and a gateway, each with a chance of 0 to 1. */
export interface Faults {
  /** Refused with 503; the gateway never sees it. */
  readonly refused: number
  /** Reset after the gateway has accepted it. */
  readonly reset: number
}

export const NO_FAULTS: Faults = { refused: 0, reset: 0 }

/** Stands before a gateway and fails now and then; knows what was answered for. */
export class FaultyProxy implements AsyncDisposable {
  faults: Faults = NO_FAULTS
  refused = 0
  reset = 0
  readonly #upstream: string
  readonly #random: () => number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  // frames by identity, with what their counter `attempts` says: all that came, and those that were answered for
  readonly #seen = new Map<string, number>()
  readonly #acknowledged = new Map<string, number>()

  private constructor(upstream: string, random: () => number) {
    this.#upstream = upstream
    this.#random = random
    this.#server = createServer((request, response) => void this.#pass(request, response))
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(upstream: string, random: () => number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(upstream, random)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Attempts for which a 202 was sent, each frame taken once. */
  get acknowledged(): number {
    return [...this.#acknowledged.values()].reduce((sum, value) => sum + value, 0)
  }

  /** Frames, and the attempts in them, that came and were never answered for. */
  get missing(): { readonly frames: number; readonly attempts: number } {
    const missing = [...this.#seen].filter(([id]) => !this.#acknowledged.has(id))
    return { frames: missing.length, attempts: missing.reduce((sum, [, attempts]) => sum + attempts, 0) }
  }

  /** Cuts every connection, as happens to those of a frozen function. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      return
    }
    const body = Buffer.concat(chunks)
    const { 'content-type': type, 'content-encoding': encoding, authorization } = request.headers
    const bundle = encoding === 'gzip' ? gunzipSync(body) : body
    note(bundle, this.#seen)
    if (this.#random() < this.faults.refused) {
      this.refused++
      response.writeHead(503, { 'content-type': 'application/json' }).end('{"error":{"code":"overloaded"}}')
      return
    }
    const headers = Object.entries({ 'content-type': type, 'content-encoding': encoding, authorization })
    const answer = await fetch(new URL(request.url ?? '/', this.#upstream), {
      method: 'POST',
      headers: headers.filter((header): header is [string, string] => header[1] !== undefined),
      body,
    })
    const text = await answer.text()
    if (this.#random() < this.faults.reset) {
      this.reset++
      request.socket.resetAndDestroy()
      return
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(text, () => {
      if (answer.status === 202) note(bundle, this.#acknowledged)
    })
  }
}

function note(bundle: Uint8Array, frames: Map<string, number>): void {
  eachFrame(bundle, (start, end) => {
    const { publisher, level, shard, seq, entries } = decodeFrame(bundle, start, end)
    let attempts = 0
    for (const { series, aggregate } of entries) {
      if (series.name === 'attempts' && aggregate instanceof Sum) attempts += aggregate.value
    }
    frames.set(`${publisher} ${level} ${shard} ${seq}`, attempts)
  })
}
