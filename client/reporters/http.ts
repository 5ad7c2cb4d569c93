import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Answered, type Asked, Listener, isSame, respond } from '../listener.ts'
import { defaultRegistry } from '../registry/default.ts'
import type { Registry } from '../registry/registry.ts'
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from './exposition.ts'
import { jsonText } from './json.ts'
import type { Reporter } from './reporter.ts'

export interface HttpReporterOptions {
  /** Whose numbers. Default: the default registry. */
  readonly registry?: Registry | undefined
  /** Where to listen. Default 127.0.0.1; elsewhere only with a `token`, or with `insecure`. */
  readonly host?: string | undefined
  /** What a request has to show as a bearer token. */
  readonly token?: string | undefined
  /** Whether anybody who can reach it may ask. Default false. */
  readonly insecure?: boolean | undefined
}

const PLAIN = { 'content-type': 'text/plain; charset=utf-8' }
const HINTS = {
  owner: 'HttpReporter',
  elsewhere: 'give another, or 0 for any that is free',
  allow: 'give a token, or insecure: true if that is meant',
}

/**
 * Answers with the numbers of a registry: JSON at `/`, as `getStats()` has it, and Prometheus' text at `/metrics`. It listens
 * on a port of its own between `start` and `stop`; {@link fetch} and {@link handler} answer in your own server instead.
 */
export class HttpReporter implements Reporter {
  registry: Registry
  readonly #port: number
  readonly #host: string
  readonly #authorization: string | undefined
  readonly #isOpen: boolean
  #listener: Listener | undefined
  #starting: Promise<void> | undefined

  /** @param port 0 takes one that is free; what it is says {@link url} */
  constructor(port = 0, options: HttpReporterOptions = {}) {
    this.registry = options.registry ?? defaultRegistry
    this.#port = port
    this.#host = options.host ?? '127.0.0.1'
    this.#authorization = options.token === undefined ? undefined : `Bearer ${options.token}`
    this.#isOpen = options.token !== undefined || options.insecure === true
  }

  /** Where it listens: `http://127.0.0.1:8889/`; undefined while it does not. */
  get url(): string | undefined {
    if (this.#listener === undefined || this.#listener.port === 0) return undefined
    const host = this.#host.includes(':') ? `[${this.#host}]` : this.#host
    return `http://${host}:${this.#listener.port}/`
  }

  /** @throws UsageError for a host that is none, or that is open to others; Error for a port that cannot be had */
  start(): Promise<void> {
    this.#starting ??= this.#listen()
    return this.#starting
  }

  async stop(): Promise<void> {
    await this.#starting?.catch(() => {})
    const listener = this.#listener
    this.#listener = undefined
    this.#starting = undefined
    await listener?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** Answers a request, in any server that speaks in those: `app.mount('/stats', reporter.fetch)` in Hono. Paths count from there. */
  readonly fetch = async (request: Request): Promise<Response> => {
    const { status, headers, body } = await this.#answer({
      method: request.method,
      path: new URL(request.url).pathname,
      header: (name) => request.headers.get(name) ?? '',
    })
    return new Response((body as string | undefined) ?? null, { status, headers })
  }

  /** Answers a request of `node:http`, and so of Express: `app.use('/stats', reporter.handler)`. Paths count from there. */
  readonly handler = (request: IncomingMessage, response: ServerResponse): void => {
    void respond(request, response, (asked) => this.#answer(asked))
  }

  async #listen(): Promise<void> {
    const listener = new Listener((asked) => this.#answer(asked), HINTS)
    try {
      await listener.listen(this.#host, this.#port, this.#isOpen)
      listener.unref()
      this.#listener = listener
    } catch (error) {
      this.#starting = undefined
      throw error
    }
  }

  async #answer({ method, path, header }: Asked): Promise<Answered> {
    if (this.#authorization !== undefined && !isSame(header('authorization'), this.#authorization)) {
      const headers = { ...PLAIN, 'www-authenticate': 'Bearer realm="zibrato"' }
      return { status: 401, headers, body: 'no token, or a wrong one\n' }
    }
    const isText = path.endsWith('/metrics')
    if (!isText && path !== '/' && path !== '') {
      return { status: 404, headers: PLAIN, body: 'there is nothing here; JSON is at /, Prometheus text at /metrics\n' }
    }
    if (method !== 'GET' && method !== 'HEAD') {
      return { status: 405, headers: { ...PLAIN, allow: 'GET, HEAD' }, body: 'only GET is answered here\n' }
    }
    const headers = {
      'content-type': isText ? PROMETHEUS_CONTENT_TYPE : 'application/json',
      'cache-control': 'no-store',
    }
    if (method === 'HEAD') return { status: 200, headers, body: undefined }
    const body = isText ? await prometheusText(this.registry) : await jsonText(this.registry)
    return { status: 200, headers, body }
  }
}
