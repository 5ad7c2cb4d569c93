import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostAndPort, listenError, resolveListenHost } from '../../gateway/listen/address.ts'

export interface StatusOptions {
  /** Whose status it is: errors start with it. */
  readonly component: string
  readonly host: string
  readonly port: number
  /** Why it cannot do its work now; undefined when it can. */
  readonly obstacle: () => string | undefined
  /** Prometheus' text. */
  readonly metrics: () => string
}

const TEXT = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }
const JSON_TYPE = { 'content-type': 'application/json' }

/** `/healthz`, `/readyz` and `/metrics` of what otherwise speaks no HTTP. */
export class StatusServer {
  readonly #options: StatusOptions
  readonly #server: Server

  constructor(options: StatusOptions) {
    this.#options = options
    this.#server = createServer({ requestTimeout: 10_000 }, ({ method, url = '' }, response) => {
      const [status, headers, body] = this.#answer(method === 'GET' || method === 'HEAD', url.split('?')[0] as string)
      response.writeHead(status, headers).end(method === 'HEAD' ? undefined : body)
    })
    this.#server.maxConnections = 64
  }

  /** `http://127.0.0.1:9100` */
  get url(): string {
    return `http://${hostAndPort(this.#options.host, (this.#server.address() as AddressInfo).port)}`
  }

  /** @throws ZibratoError with code `ERR_LISTEN` when the port is taken or cannot be bound */
  async start(): Promise<void> {
    const { component, host, port } = this.#options
    const { address } = await resolveListenHost(component, host)
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) => reject(listenError(component, host, port, cause, '--http')))
      this.#server.listen({ host: address, port }, resolve)
    })
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  #answer(reads: boolean, path: string): [status: number, headers: Record<string, string>, body: string] {
    const { obstacle, metrics } = this.#options
    if (!['/healthz', '/readyz', '/metrics'].includes(path)) {
      return [404, JSON_TYPE, error('not_found', 'there is nothing here; see /healthz, /readyz and /metrics')]
    }
    if (!reads)
      return [405, { ...JSON_TYPE, allow: 'GET, HEAD' }, error('method_not_allowed', 'only GET is answered here')]
    if (path === '/healthz') return [200, JSON_TYPE, '{"status":"ok"}']
    if (path === '/metrics') return [200, TEXT, metrics()]
    const reason = obstacle()
    return reason === undefined ? [200, JSON_TYPE, '{"status":"ready"}'] : [503, JSON_TYPE, error('not_ready', reason)]
  }
}

function error(code: string, message: string): string {
  return JSON.stringify({ error: { code, message } })
}
