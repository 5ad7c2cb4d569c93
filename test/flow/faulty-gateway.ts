import { type Server, createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Sum } from '../../client/sketch/aggregate.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { decodeFrame } from '../../client/wire/frame.ts'

/** How often what goes wrong, as shares of all posts. */
export interface Faults {
  /** Answered 503, and not passed on. */
  readonly unavailable: number
  /** Passed on and taken, and then the connection is reset before the answer. */
  readonly reset: number
}

/** A gateway's door that fails now and then: what it lets through, a real gateway behind it takes. */
export class FaultyGateway implements AsyncDisposable {
  /** Whether every connection is broken off at once. */
  isDown = false
  /** Whether nothing goes wrong any more. */
  isWell = false
  /** Posts by what became of them. */
  readonly posts = { answered: 0, unavailable: 0, reset: 0 }
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #acknowledged = new Map<string, Map<string, number>>()

  private constructor(gateway: string, { unavailable, reset }: Faults) {
    // draws in a fixed order, evenly spread, so that each run has its faults
    let draws = 0
    const draw = (): number => (draws++ * 0.618_033_988_749_895) % 1
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const chance = this.isWell ? 1 : draw()
        if (chance < unavailable) {
          this.posts.unavailable++
          response.writeHead(503).end()
          return
        }
        const body = Buffer.concat(chunks)
        const headers = { 'content-type': request.headers['content-type'] ?? '' }
        fetch(new URL('/v1/metrics', gateway), { method: 'POST', headers, body }).then(
          async (answer) => {
            const text = await answer.text()
            if (chance < unavailable + reset) {
              this.posts.reset++
              request.socket.destroy()
              return
            }
            // what the client did not get is not acknowledged
            response.on('finish', () => answer.status === 202 && this.#acknowledge(body))
            this.posts.answered++
            response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text)
          },
          () => request.socket.destroy(),
        )
      })
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

  static async before(gateway: string, faults: Faults): Promise<FaultyGateway> {
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

  /** What counters of a name add up to in frames that were acknowledged, each taken once. */
  acknowledged(name: string): number {
    let sum = 0
    for (const counts of this.#acknowledged.values()) sum += counts.get(name) ?? 0
    return sum
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #acknowledge(bundle: Buffer): void {
    eachFrame(bundle, (start, end) => {
      const { publisher, level, shard, seq, entries } = decodeFrame(bundle, start, end)
      const counts = new Map<string, number>()
      for (const { series, aggregate } of entries) {
        if (!(aggregate instanceof Sum)) continue
        counts.set(series.name, (counts.get(series.name) ?? 0) + aggregate.value)
      }
      this.#acknowledged.set(`${publisher} ${level} ${shard} ${seq}`, counts)
    })
  }
}
