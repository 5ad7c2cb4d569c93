import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { gzipSync } from 'node:zlib'
import type { PostAnswer, PostRequest } from './post.ts'

/** How long a connection may have been idle to be used again: what stands between may forget it without a word. */
const IDLE_MS = 30_000
/** Bodies below this are not worth compressing. */
const COMPRESS_BYTES = 1_024
/** How much of an answer is kept. */
const ANSWER_BYTES = 64_000

export interface ConnectionRequest {
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | ArrayBuffer | undefined
  readonly signal: AbortSignal
}

/** A request that failed, and whether a connection was used that had been used before. */
interface Failure {
  readonly error: Error
  readonly reused: boolean
}

/**
 * HTTP for a program that may be frozen at any time. A connection that is kept may have died meanwhile, which shows only when
 * it is used: then the same request goes out once more, on a new one. Node's own `http`, as it can tell which connections
 * were used before, and is loaded by then.
 */
export class Connection {
  /**
   * How long a connection that was used before may take to answer, ms, before it is taken for dead: one that died silently
   * gives no error.
   */
  patienceMs = 5_000
  /** Requests that went out again on a new connection. */
  renewed = 0
  #http = newAgents()
  #usedMs = 0

  /** Resolves with the answer once it is complete. @throws when there was none, on two connections if need be */
  async request(url: string, request: ConnectionRequest): Promise<PostAnswer> {
    // by the clock on the wall, as others need not go on while frozen; and it may have been set back
    const idleMs = Date.now() - this.#usedMs
    if (idleMs > IDLE_MS || idleMs < 0) this.#renew()
    const first = await this.#once(url, request)
    if (!('error' in first)) return first
    if (!first.reused || request.signal.aborted) throw first.error
    this.#renew()
    this.renewed++
    const second = await this.#once(url, request)
    if ('error' in second) throw second.error
    return second
  }

  /** The same, with a body that is compressed where it is worth it. */
  post(url: string, request: PostRequest): Promise<PostAnswer> {
    const { body, headers } = request
    if (body.byteLength < COMPRESS_BYTES) return this.request(url, request)
    const packed = gzipSync(body) as Uint8Array<ArrayBuffer>
    return this.request(url, { ...request, body: packed, headers: { ...headers, 'content-encoding': 'gzip' } })
  }

  close(): void {
    this.#http.http.destroy()
    this.#http.https.destroy()
  }

  #renew(): void {
    // a request that is under way on the old ones goes on: only its successors must not use them
    for (const agent of [this.#http.http, this.#http.https]) retire(agent)
    this.#http = newAgents()
    this.#usedMs = Date.now()
  }

  #once(url: string, { method, headers, body, signal }: ConnectionRequest): Promise<PostAnswer | Failure> {
    return new Promise((resolve) => {
      const secure = url.startsWith('https:')
      let patience: ReturnType<typeof setTimeout> | undefined
      const options = { method, headers, signal, agent: secure ? this.#http.https : this.#http.http }
      const request = secure ? requestHttps(url, options) : requestHttp(url, options)
      const fail = (error: Error): void => {
        clearTimeout(patience)
        resolve({ error, reused: request.reusedSocket })
      }
      request.on('socket', () => {
        if (!request.reusedSocket) return
        const impatient = (): unknown => request.destroy(new Error('a kept connection gave no answer'))
        patience = setTimeout(impatient, this.patienceMs)
      })
      request.on('error', fail)
      request.on('response', (response: IncomingMessage) => {
        clearTimeout(patience)
        read(response).then((text) => {
          this.#usedMs = Date.now()
          resolve(answerOf(response, text))
        }, fail)
      })
      request.end(body === undefined ? undefined : new Uint8Array(body))
    })
  }
}

function newAgents(): { readonly http: HttpAgent; readonly https: HttpsAgent } {
  return { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) }
}

/** Closes what is idle, and what is in use once it is not. */
function retire(agent: HttpAgent): void {
  agent.maxFreeSockets = 0
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}

async function read(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response) {
    // the rest is read too, so that the connection can be used again, but not kept
    if (bytes < ANSWER_BYTES) chunks.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
  }
  return Buffer.concat(chunks).toString('utf8')
}

function answerOf({ statusCode, headers }: IncomingMessage, text: string): PostAnswer {
  const header = (name: string): string | null => {
    const value = headers[name.toLowerCase()]
    return value === undefined ? null : String(value)
  }
  return {
    status: statusCode ?? 0,
    headers: { get: header },
    text: () => Promise.resolve(text),
  }
}
