import { once } from 'node:events'
import { type IncomingHttpHeaders, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Posted {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** As it came over the wire. */
  readonly raw: Buffer
}

export interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** What a request breaks of the documentation; it is answered with `status`. */
export class Violation extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function demand(holds: boolean, message: string, status = 400): asserts holds {
  if (!holds) throw new Violation(status, message)
}

/**
 * A service that takes only what its documentation allows. `next` says what becomes of the next requests: an answer
 * instead, `take` (nothing else), `reset` (the connection breaks before anything is taken) or `reset-after` (once it is).
 */
export abstract class StrictService {
  mood: 'well' | 'broken' | 'hanging' = 'well'
  readonly next: (Reply | 'take' | 'reset' | 'reset-after')[] = []
  /** All that came. */
  readonly requests: Posted[] = []
  /** What was refused, and why. */
  readonly violations: string[] = []
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { method = '', url = '', headers } = request
        this.#take({ method, path: url, headers, raw: Buffer.concat(chunks) }, response)
      })
    })
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  /** Takes what a request holds, whole or not at all. @throws Violation */
  protected abstract accept(request: Posted): Reply

  protected abstract refusal(violation: Violation): unknown

  #take(request: Posted, response: ServerResponse): void {
    if (this.mood === 'hanging') return
    if (this.mood === 'broken') {
      response.writeHead(503).end()
      return
    }
    this.requests.push(request)
    const instead = this.next.shift()
    if (instead === 'reset') {
      response.socket?.resetAndDestroy()
      return
    }
    const reply = typeof instead === 'object' ? instead : this.#judge(request)
    if (instead === 'reset-after') {
      response.socket?.resetAndDestroy()
      return
    }
    const { status, body, headers = {} } = reply
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(body === undefined || request.method === 'HEAD' ? undefined : JSON.stringify(body))
  }

  #judge(request: Posted): Reply {
    try {
      return this.accept(request)
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      this.violations.push(error.message)
      return { status: error.status, body: this.refusal(error) }
    }
  }
}

/** An object with no other keys than these. */
export function shaped(value: unknown, keys: readonly string[], what: string): Record<string, unknown> {
  demand(typeof value === 'object' && value !== null && !Array.isArray(value), `${what} is no object`)
  const strange = Object.keys(value).find((key) => !keys.includes(key))
  demand(strange === undefined, `${what} has an unknown key ${strange ?? ''}`)
  return value as Record<string, unknown>
}

export function listed(value: unknown, what: string): unknown[] {
  demand(Array.isArray(value), `${what} is no list`)
  return value
}

export function isFinite(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new Violation(400, 'the body is no JSON')
  }
}
