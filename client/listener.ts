import { createHash, timingSafeEqual } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import { type AddressInfo, BlockList } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { UsageError } from './errors.ts'

/** What is asked, whoever took the request. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly header: (name: string) => string
}

export interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Undefined where there is none to send. */
  readonly body: Readable | string | undefined
}

/** What its errors say. */
export interface Hints {
  /** Who listens: the first word. */
  readonly owner: string
  /** What to do about a port that cannot be had. */
  readonly elsewhere: string
  /** What to do to be open to others. */
  readonly allow: string
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** A reader that takes nothing more for this long is cut off. */
const STALLED_MS = 30_000

/** Answers HTTP on a port of this machine. */
export class Listener {
  readonly #hints: Hints
  readonly #server: Server

  constructor(answer: (asked: Asked) => Answered | Promise<Answered>, hints: Hints) {
    this.#hints = hints
    this.#server = createServer({ requestTimeout: 10_000 }, (request, response) => {
      void respond(request, response, answer)
    })
    this.#server.maxConnections = 64
    this.#server.setTimeout(STALLED_MS)
  }

  /** The port it is bound to; 0 before {@link listen}. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /**
   * @param isOpen whether others than this machine may ask
   * @throws UsageError when the host has no address, or others could reach it and may not; else Error
   */
  async listen(host: string, port: number, isOpen: boolean): Promise<void> {
    const { owner, elsewhere, allow } = this.#hints
    const place = `${host.includes(':') ? `[${host}]` : host}:${port}`
    // "localhost" is looked for at 127.0.0.1 first
    const found = await lookup(host, { verbatim: false }).catch((cause: unknown) => {
      throw new UsageError(`${owner}: host ${host} has no address; give one of this machine, such as 127.0.0.1`, {
        cause,
      })
    })
    if (!isOpen && !loopback.check(found.address, found.family === 6 ? 'ipv6' : 'ipv4')) {
      throw new UsageError(`${owner}: ${place} would be open to others; ${allow}`)
    }
    await new Promise<void>((resolve, reject) => {
      const fail = (cause: Error & { code?: string }): void => {
        const reason = cause.code === 'EADDRINUSE' ? `port ${port} is taken` : cause.message
        reject(new Error(`${owner}: cannot listen on ${place}: ${reason}; ${elsewhere}`, { cause }))
      }
      this.#server.once('error', fail)
      this.#server.listen({ host: found.address, port }, () => {
        this.#server.off('error', fail)
        resolve()
      })
    })
  }

  /** Lets the program end while it listens. */
  unref(): void {
    this.#server.unref()
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }
}

/** Compares what was given with a secret, in the same time whatever they are. */
export function isSame(given: string, secret: string): boolean {
  return timingSafeEqual(hashOf(given), hashOf(secret))
}

/** Of one length, as comparing in constant time asks. */
function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Answers a request that somebody's server took. Never rejects. */
export async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (asked: Asked) => Answered | Promise<Answered>,
): Promise<void> {
  const { method = '', url = '' } = request
  const header = (name: string): string => String(request.headers[name] ?? '')
  let answered: Answered
  try {
    answered = await answer({ method, path: url.split('?')[0] as string, header })
  } catch {
    answered = { status: 500, headers: {}, body: undefined }
  }
  const { status, headers, body } = answered
  response.writeHead(status, headers)
  if (body === undefined || typeof body === 'string') {
    response.end(body)
    return
  }
  // who has gone needs no answer
  await pipeline(body, response).catch(() => response.destroy())
}
