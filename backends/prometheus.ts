import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { UsageError } from '../client/errors.ts'
import { Backend, type Window } from './backend.ts'
import { CONTENT_TYPE, expose } from './prometheus/exposition.ts'
import { type Answered, type Asked, Listener, isSame } from '../client/listener.ts'
import { formatFor, takesGzip } from './prometheus/negotiate.ts'
import { EXPIRE_MS, registryOptions } from './prometheus/options.ts'
import { Registry } from './prometheus/registry.ts'
import type { BackendUrl } from './url.ts'

const PORT = 9464
const HINTS = {
  owner: 'prometheus',
  elsewhere: 'name another in its URL',
  allow: 'add ?token=$NAME, or say ?insecure=yes if that is meant',
}
const PLAIN = { 'content-type': 'text/plain; charset=utf-8' }

/**
 * `prometheus://127.0.0.1:9464`: keeps the newest numbers of all series and serves them to Prometheus at `/metrics`.
 * `prometheus:` listens nowhere: `zibrato up` serves it on its HTTP port, and {@link handle} does it anywhere else.
 *
 * Options: `timers=summary|histogram|both`, `buckets`, `histogram-buckets`, `prefix`, `expire`, `keep`, `token`, `insecure`;
 * see README.md.
 */
export class PrometheusBackend extends Backend {
  readonly name = 'prometheus'
  // a window overwrites what memory holds
  override readonly idempotent = true
  override readonly route: string | undefined
  readonly #registry: Registry
  readonly #now: () => number
  readonly #host: string
  readonly #port: number
  readonly #path: string
  readonly #isOpen: boolean
  /** What an `Authorization` header has to say. */
  readonly #authorization: string | undefined
  readonly #listener: Listener | undefined

  /** @param now a clock, ms */
  constructor(url: BackendUrl, now: () => number = () => performance.now()) {
    super()
    if (url.scheme !== 'prometheus') {
      throw new UsageError(
        `prometheus: there is no ${url.scheme}; write prometheus:, prometheus+http: or prometheus+https:`,
      )
    }
    const { params, host, path } = url
    if (host === '' && path !== '') {
      throw new UsageError('prometheus: names no host; write prometheus://127.0.0.1:9464, or prometheus: alone')
    }
    this.#now = now
    this.#registry = new Registry({
      ...registryOptions(url, { owner: this.name, keepsFormer: false, timers: ['summary', 'histogram', 'both'] }),
      expireMs: params.durationMs('expire') ?? EXPIRE_MS,
      now,
    })
    this.#authorization = expectedFrom(url)
    this.#isOpen = (params.flag('insecure') ?? false) || this.#authorization !== undefined
    this.#host = host
    this.#port = url.port ?? PORT
    this.#path = path === '' || path === '/' ? '/metrics' : path
    this.route = host === '' ? '/prometheus' : undefined
    this.#listener = host === '' ? undefined : new Listener((asked) => this.#answerAt(asked), HINTS)
  }

  /** Where it listens, once connected; undefined where it does not. */
  get address(): string | undefined {
    if (this.#listener === undefined) return undefined
    const host = this.#host.includes(':') ? `[${this.#host}]` : this.#host
    return `http://${host}:${this.#listener.port}${this.#path}`
  }

  /** @throws UsageError for a host that is none, or that is open to others; Error for a port that cannot be had */
  override async connect(): Promise<void> {
    await this.#listener?.listen(this.#host, this.#port, this.#isOpen)
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const refusal = await this.#registry.take(window, signal)
    if (refusal !== undefined) throw refusal
  }

  /** Answers a scrape, whatever its path. */
  override handle(request: Request): Response {
    const { status, headers, body } = this.#answer({
      method: request.method,
      path: '',
      header: (name) => request.headers.get(name) ?? '',
    })
    const stream = body instanceof Readable ? (Readable.toWeb(body) as ReadableStream<Uint8Array>) : body
    return new Response(stream ?? null, { status, headers })
  }

  override async close(): Promise<void> {
    await this.#listener?.close()
  }

  #answerAt(asked: Asked): Answered {
    if (asked.path === this.#path) return this.#answer(asked)
    return { status: 404, headers: PLAIN, body: `there is nothing here; metrics are at ${this.#path}\n` }
  }

  #answer({ method, header }: Asked): Answered {
    if (!this.#isAuthorized(header('authorization'))) {
      const headers = { ...PLAIN, 'www-authenticate': 'Bearer realm="zibrato", Basic realm="zibrato"' }
      return { status: 401, headers, body: 'no token, or a wrong one\n' }
    }
    if (method !== 'GET' && method !== 'HEAD') {
      return { status: 405, headers: { ...PLAIN, allow: 'GET, HEAD' }, body: 'only GET is answered here\n' }
    }
    const format = formatFor(header('accept'))
    const isCompressed = takesGzip(header('accept-encoding'))
    const headers = {
      'content-type': CONTENT_TYPE[format],
      vary: 'accept, accept-encoding',
      ...(isCompressed ? { 'content-encoding': 'gzip' } : {}),
    }
    if (method === 'HEAD') return { status: 200, headers, body: undefined }
    const text = Readable.from(expose(this.#registry, format, this.#now()), { objectMode: false })
    if (!isCompressed) return { status: 200, headers, body: text }
    // speed before size: this is asked for every few seconds
    const gzip = createGzip({ level: 1 })
    text.on('error', (error) => gzip.destroy(error))
    gzip.on('close', () => text.destroy())
    return { status: 200, headers, body: text.pipe(gzip) }
  }

  #isAuthorized(given: string): boolean {
    return this.#authorization === undefined || isSame(given, this.#authorization)
  }
}

function expectedFrom({ params, user, password }: BackendUrl): string | undefined {
  const token = params.text('token')
  if (token === '') throw new UsageError('prometheus: the option token is empty; give it a value, or leave it out')
  if (token !== undefined && user !== undefined) {
    throw new UsageError('prometheus: asks for a user and for a token; give one of them')
  }
  if (token !== undefined) return `Bearer ${token}`
  if (user === undefined) return undefined
  return `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}`
}
