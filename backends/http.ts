import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { Agent, type Dispatcher, request } from 'undici'
import { UsageError } from '../client/errors.ts'
import { PermanentError, RetryLaterError } from './backend.ts'
import type { BackendUrl } from './url.ts'

// one for all backends, so that those of one service share its connections
const agent = new Agent({ connect: { timeout: 10_000 } })

const deflate = promisify(gzip)

/** Of an answer, more than this is not read. */
const ANSWER_BYTES = 65_536
/** Of an answer, this much is shown. */
const EXCERPT = 200
const LONGEST_WAIT_MS = 3_600_000

/** What sending the same again cannot mend. */
const REFUSED = new Set([400, 406, 409, 411, 413, 414, 415, 422, 431])

/** What an operator can mend, and how; until then it is tried again. */
const MENDABLE: Readonly<Record<number, string>> = {
  401: 'check the user and token in its URL',
  403: 'check what the token in its URL is allowed to do',
  404: 'check host and path of its URL',
  405: 'check host and path of its URL',
  407: 'a proxy stands before it; name the service itself',
}

// the request had not gone out yet
const UNSENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
])

/** What a request came to when nobody knows whether it was taken: the connection broke, or no answer came in time. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError'
}

export interface HttpAnswer {
  readonly status: number
  /** The beginning of the body. */
  readonly text: string
  /** The same as bytes. */
  readonly bytes: Uint8Array
}

/**
 * What an answer comes to that is no 2xx, where the service has rules of its own; undefined leaves it to the common ones.
 * `message` says what was answered and shows no secret.
 */
export type Judge = (answer: HttpAnswer, message: string) => Error | undefined

export interface HttpRequest {
  readonly method?: 'POST' | 'HEAD' | 'GET'
  /** Added to the base; may hold a query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Whether to compress the body. */
  readonly gzip?: boolean
  readonly signal: AbortSignal
}

/** A service that is posted to. Its errors say whether to come again: they are what {@link Backend.flush} throws. */
export class HttpTarget {
  readonly #url: BackendUrl
  readonly #name: string
  readonly #base: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #judge: Judge | undefined

  /**
   * @param url whose secrets no error shows
   * @param name the backend's, begins every error
   * @param base scheme, host and port, and what comes before every path
   * @param headers of every request
   * @param judge asked first about what is no 2xx
   */
  constructor(
    url: BackendUrl,
    name: string,
    base: string,
    headers: Readonly<Record<string, string>> = {},
    judge?: Judge,
  ) {
    this.#url = url
    this.#name = name
    this.#base = base.replace(/\/+$/, '')
    this.#headers = headers
    this.#judge = judge
  }

  /**
   * Sends a request and answers what came back when its status is 2xx.
   *
   * @throws PermanentError when sending it again cannot help
   * @throws RetryLaterError when told how long to wait
   * @throws NoAnswerError when it may have been taken
   * @throws Error for whatever else may pass
   */
  async send(options: HttpRequest): Promise<HttpAnswer> {
    const { answer, headers } = await this.#request(options)
    if (answer.status >= 200 && answer.status < 300) return answer
    throw this.#failure(answer, headers)
  }

  async #request(options: HttpRequest): Promise<{ answer: HttpAnswer; headers: Dispatcher.ResponseData['headers'] }> {
    const { method = 'POST', path, headers, body, signal } = options
    signal.throwIfAborted()
    const compressed = options.gzip === true && body !== undefined
    const payload = compressed ? await deflate(body) : (body ?? null)
    try {
      const response = await request(this.#base + path, {
        dispatcher: agent,
        method,
        headers: { ...this.#headers, ...headers, ...(compressed ? { 'content-encoding': 'gzip' } : {}) },
        body: payload,
        signal,
      })
      const bytes = await beginningOf(response.body)
      const answer = { status: response.statusCode, text: bytes.toString('utf8'), bytes }
      return { answer, headers: response.headers }
    } catch (cause) {
      const { code = '' } = cause as { code?: string }
      const reason = signal.aborted ? 'no answer in time' : this.#url.redact((cause as Error).message) || code
      if (UNSENT.has(code)) throw new Error(`${this.#name}: cannot reach ${this.#url.label}: ${reason}`, { cause })
      throw new NoAnswerError(`${this.#name}: no answer of ${this.#url.label}: ${reason}`, { cause })
    }
  }

  #failure(answer: HttpAnswer, headers: Dispatcher.ResponseData['headers']): Error {
    const { status, text } = answer
    const excerpt = this.#url
      .redact(text)
      .replace(/[\s\p{Cc}]+/gu, ' ')
      .trim()
      .slice(0, EXCERPT)
    const message = `${this.#name}: answered ${status}${excerpt === '' ? '' : `: ${excerpt}`}`
    const judged = this.#judge?.(answer, message)
    if (judged !== undefined) return judged
    if (REFUSED.has(status)) return new PermanentError(message)
    const waitMs = retryAfterMs(headers['retry-after'])
    if (waitMs > 0) return new RetryLaterError(message, waitMs)
    if (status >= 300 && status < 400) return new Error(`${message}; name in its URL where it leads to`)
    const wayOut = MENDABLE[status]
    return new Error(wayOut === undefined ? message : `${message}; ${wayOut}`)
  }
}

/**
 * Scheme, host and port of a URL such as `influx+https://host:8086`, as HTTP has them.
 *
 * @param port of http where the URL names none; for https it is 443
 * @throws UsageError for another scheme and for a URL without a host
 */
export function originOf({ scheme, host, port, label }: BackendUrl, httpPort: number): string {
  const [name = '', protocol = ''] = scheme.split('+')
  if (protocol !== 'http' && protocol !== 'https') {
    throw new UsageError(`${label}: does not say how to connect; write ${name}+http://host or ${name}+https://host`)
  }
  if (host === '') throw new UsageError(`${scheme}: names no host; write ${scheme}://host`)
  const address = host.includes(':') ? `[${host}]` : host
  return `${protocol}://${address}:${port ?? (protocol === 'https' ? 443 : httpPort)}`
}

/** `Retry-After`, in seconds or as a date, as milliseconds from now; 0 when there is none. */
export function retryAfterMs(header: string | string[] | undefined, nowMs: number = Date.now()): number {
  const text = typeof header === 'string' ? header.trim() : ''
  if (text === '') return 0
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs
  return ms > 0 ? Math.min(ms, LONGEST_WAIT_MS) : 0
}

async function beginningOf(body: Dispatcher.ResponseData['body']): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  // leaving the loop lets go of the rest
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= ANSWER_BYTES) break
  }
  return Buffer.concat(chunks).subarray(0, ANSWER_BYTES)
}
