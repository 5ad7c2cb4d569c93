import { compress } from 'snappyjs'
import { UsageError } from '../client/errors.ts'
import { Backend, PermanentError, type Window } from './backend.ts'
import { Batches, WINDOW_MS } from './batches.ts'
import { HttpTarget } from './http.ts'
import { EXPIRE_MS, registryOptions } from './prometheus/options.ts'
import { Registry } from './prometheus/registry.ts'
import { WriteRequest } from './prometheus/write-request.ts'
import type { BackendUrl } from './url.ts'
import { VERSION } from '../client/version.ts'

const SAMPLES = 2000
// Prometheus refuses a request whole for one sample; who refuses everything must not be asked over and over
const SPLITS = 50

/**
 * `prometheus+http://host:9090/api/v1/write`, `prometheus+https://...`: sends windows to Prometheus, or what speaks its
 * protocol, by remote write 1.0. The time of a sample is the window's end.
 *
 * Options: `timers=summary|histogram|both|native`, `buckets`, `histogram-buckets`, `prefix`, `keep`, `batch`, `token`,
 * `tenant`; see README.md.
 */
export class RemoteWriteBackend extends Backend {
  readonly name: string
  override readonly timeoutMs: number = WINDOW_MS
  // a sample that is there already is the same to the last bit
  override readonly idempotent = true
  readonly #registry: Registry
  readonly #batches: Batches<WriteRequest>

  /** @param now a clock, ms */
  constructor(url: BackendUrl, now: () => number = () => performance.now()) {
    super()
    this.name = url.scheme
    if (url.host === '')
      throw new UsageError(`${url.scheme}: names no host; write ${url.scheme}://host:9090/api/v1/write`)
    const target = new HttpTarget(url, this.name, baseOf(url), headersOf(url))
    const registry = new Registry({
      ...registryOptions(url, {
        owner: this.name,
        keepsFormer: true,
        timers: ['summary', 'histogram', 'both', 'native'],
      }),
      // of gauges only the names have to be known
      expireMs: EXPIRE_MS,
      now,
    })
    this.#registry = registry
    this.#batches = new Batches({
      timeoutMs: url.timeoutMs,
      name: this.name,
      begin: (window) => new WriteRequest(registry, window),
      limit: url.params.number('batch', { min: 1, max: 100_000, whole: true }) ?? SAMPLES,
      splits: SPLITS,
      post: (batch, signal) => post(target, batch, signal),
    })
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const refusals: PermanentError[] = []
    const left = await this.#registry.take(window, signal)
    if (left !== undefined) refusals.push(left)
    try {
      await this.#batches.flush(window, signal)
    } catch (error) {
      if (!(error instanceof PermanentError)) throw error
      refusals.push(error)
    }
    const [first, second] = refusals
    if (first === undefined) return
    if (second === undefined) throw first
    const refused = (first.refused ?? 0) + (second.refused ?? 0)
    throw new PermanentError(`${first.message}; ${second.message}`, { cause: second, refused })
  }
}

async function post(target: HttpTarget, request: WriteRequest, signal: AbortSignal): Promise<void> {
  try {
    await target.send({ path: '', body: compress(request.finish()), signal })
  } catch (error) {
    // of what is there already, after an answer that was lost, the newest sample alone may come again
    if (!(error instanceof PermanentError) || !request.hasFormer) throw error
    await target.send({ path: '', body: compress(request.withoutFormer().finish()), signal })
  }
}

function baseOf({ scheme, host, port, path }: BackendUrl): string {
  const place = (host.includes(':') ? `[${host}]` : host) + (port === undefined ? '' : `:${port}`)
  return `${scheme.replace('prometheus+', '')}://${place}${path === '' || path === '/' ? '/api/v1/write' : path}`
}

function headersOf({ params, user, password }: BackendUrl): Record<string, string> {
  const token = params.text('token')
  const tenant = params.text('tenant')
  if (token !== undefined && user !== undefined) {
    throw new UsageError('prometheus: its URL has a user and a token; give one of them')
  }
  const headers: Record<string, string> = {
    'content-type': 'application/x-protobuf',
    'content-encoding': 'snappy',
    'user-agent': `zibrato/${VERSION}`,
    'x-prometheus-remote-write-version': '0.1.0',
  }
  if (token !== undefined) headers['authorization'] = `Bearer ${token}`
  if (user !== undefined) {
    headers['authorization'] = `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}`
  }
  if (tenant !== undefined) headers['x-scope-orgid'] = tenant
  return headers
}
