import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Sum } from '../../client/sketch/aggregate.ts'
import { BUNDLE_TYPE, eachFrame } from '../../client/wire/bundle.ts'
import { decodeFrame } from '../../client/wire/frame.ts'

/** How often what goes wrong, as shares of all posts. */
export interface Faults {
  /** Answered 503, and not passed on. */
  readonly unavailable: number
  /** Passed on and taken, and then the connection is reset before the answer. */
  readonly reset: number
}

/** A gateway's door that fails now and then: what it lets through, a real gateway, or relay, behind it takes. */
export class FaultyGateway implements AsyncDisposable {
  /** Whether every connection is broken off at once. */
  isDown = false
  /** Posts by what became of them. */
  readonly posts = { answered: 0, unavailable: 0, reset: 0 }
  readonly #gateway: () => string
  readonly #faults: Faults
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  // what counters say in frames, by source and name
  readonly #acknowledged = new Map<string, Map<string, number>>()
  #draws = 0

  private constructor(gateway: () => string, faults: Faults) {
    this.#gateway = gateway
    this.#faults = faults
    this.#server = createServer((request, response) => {
      // a sender that is gone, or a gateway that is, hears or says nothing more
      this.#pass(request, response).catch(() => request.socket.destroy())
    })
    this.#server.on('connection', (socket) => {
      if (this.isDown) {
        socket.destroy()
        return
      }
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  /** @param gateway where it is, each time that something is passed on */
  static async before(gateway: () => string, faults: Faults): Promise<FaultyGateway> {
    const door = new FaultyGateway(gateway, faults)
    await new Promise<void>((resolve) => door.#server.listen(0, '127.0.0.1', resolve))
    return door
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Breaks every connection off, and each that comes, until `isDown` is false again. */
  goDown(): void {
    this.isDown = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Goes down for so long, and until what is done `meanwhile` is done. */
  async outage(ms: number, meanwhile?: () => Promise<void>): Promise<void> {
    this.goDown()
    await Promise.all([meanwhile?.(), new Promise((resolve) => setTimeout(resolve, ms))])
    this.isDown = false
  }

  /** What counters add up to in frames that were acknowledged, each taken once. */
  acknowledged(name: string, source: string): number {
    let sum = 0
    for (const counts of this.#acknowledged.values()) sum += counts.get(`${source} ${name}`) ?? 0
    return sum
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** Draws in a fixed order, evenly spread, so that each run has its faults. */
  #draw(): number {
    return (this.#draws++ * 0.618_033_988_749_895) % 1
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { unavailable, reset } = this.#faults
    const chance = this.#draw()
    if (chance < unavailable) {
      this.posts.unavailable++
      response.writeHead(503).end()
      return
    }
    const body = Buffer.concat(chunks)
    const headers: Record<string, string> = {}
    for (const name of ['content-type', 'content-encoding', 'authorization']) {
      const value = request.headers[name]
      if (typeof value === 'string') headers[name] = value
    }
    const answer = await fetch(new URL('/v1/metrics', this.#gateway()), { method: 'POST', headers, body })
    const text = await answer.text()
    const isBundle = headers['content-type'] === BUNDLE_TYPE && headers['content-encoding'] === undefined
    if (chance < unavailable + reset) {
      this.posts.reset++
      request.socket.destroy()
      return
    }
    // what the client did not get is not acknowledged
    if (answer.status === 202 && isBundle) response.on('finish', () => this.#acknowledge(body))
    this.posts.answered++
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text)
  }

  #acknowledge(bundle: Buffer): void {
    eachFrame(bundle, (start, end) => {
      const { publisher, level, shard, seq, entries } = decodeFrame(bundle, start, end)
      const counts = new Map<string, number>()
      for (const { series, aggregate } of entries) {
        if (!(aggregate instanceof Sum)) continue
        const counter = `${series.source} ${series.name}`
        counts.set(counter, (counts.get(counter) ?? 0) + aggregate.value)
      }
      this.#acknowledged.set(`${publisher} ${level} ${shard} ${seq}`, counts)
    })
  }
}
