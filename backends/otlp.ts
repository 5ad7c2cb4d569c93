import { UsageError } from '../client/errors.ts'
import { VERSION } from '../client/version.ts'
import { Backend, PermanentError, type Rollup, type Window } from './backend.ts'
import { type Batch, Batches, WINDOW_MS } from './batches.ts'
import { type HttpAnswer, HttpTarget, type Judge, originOf } from './http.ts'
import { JSON_ENCODING } from './otlp/json.ts'
import type { Attributes, Encoding, Payload, Sender } from './otlp/model.ts'
import { Points } from './otlp/points.ts'
import { PROTOBUF_ENCODING } from './otlp/protobuf.ts'
import type { BackendUrl, InDoubt } from './url.ts'

/** Of a request before it is compressed; one that has reached it takes nothing more. */
const REQUEST_BYTES = 1 << 20

/** What the protocol would have sent again, and what an operator can mend. */
const PASSING: ReadonlySet<number> = new Set([401, 403, 404, 405, 407, 429, 502, 503, 504])

/**
 * `otlp+http://host:4318` and `otlp+https://host`: an OpenTelemetry collector, or whatever else takes OTLP/HTTP. Timers and
 * histograms go out as exponential histograms with the sketch's own buckets.
 *
 * Cumulative points need memory: how long a counter's total has been growing, and running totals of meters, timers and
 * histograms. All but the counters' totals begin anew with the process, under a new start time.
 */
export class OtlpBackend extends Backend {
  readonly name = 'otlp'
  override readonly timeoutMs: number = WINDOW_MS
  /** A cumulative point that comes twice is the same point. */
  override readonly inDoubt: InDoubt
  readonly #points: Points
  readonly #batches: Batches<OtlpBatch>

  constructor(url: BackendUrl) {
    super()
    const { params } = url
    const origin = originOf(url, 4318)
    const path = url.path === '' || url.path === '/' ? '/v1/metrics' : encodeURI(url.path)
    const encoding = params.choice('encoding', ['protobuf', 'json']) === 'json' ? JSON_ENCODING : PROTOBUF_ENCODING
    const temporality = params.choice('temporality', ['cumulative', 'delta']) ?? 'cumulative'
    const gzip = params.flag('gzip') ?? true
    const headers = { ...headersOf(url), 'content-type': encoding.contentType }
    const sender: Sender = { resource: resourceOf(url), scope: { name: 'zibrato', version: VERSION }, temporality }
    this.inDoubt = temporality === 'cumulative' ? 'resend' : 'drop'
    this.#points = new Points({
      temporality,
      readings: params.flag('readings') ?? false,
      buckets: params.number('buckets', { min: 32, max: 65_536, whole: true }) ?? 4096,
      histograms: params.number('histograms', { min: 0, max: 10_000_000, whole: true }) ?? 20_000,
    })
    const target = new HttpTarget(url, this.name, origin, headers, judge)
    const post = async ({ payload }: OtlpBatch, signal: AbortSignal): Promise<void> => {
      const answer = await target.send({ path, body: payload.finish(), gzip, signal })
      this.#checkPartialSuccess(encoding, answer, url)
    }
    this.#batches = new Batches({
      timeoutMs: url.timeoutMs,
      name: this.name,
      begin: (window) => new OtlpBatch(this.#points, window, encoding.begin(sender)),
      limit: REQUEST_BYTES,
      post,
      dropUnanswered: url.inDoubt === 'drop',
    })
  }

  override async flush(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await this.#points.begin(window)
    await this.#batches.flush(window, signal)
  }

  #checkPartialSuccess(encoding: Encoding, answer: HttpAnswer, url: BackendUrl): void {
    const { rejected = 0, message = '' } = encoding.partialSuccess(answer) ?? {}
    // with none rejected, the message is only advice
    if (rejected <= 0) return
    const reason = url.redact(message).slice(0, 200) || 'it does not say why'
    throw new PermanentError(`${this.name}: ${rejected} data points were rejected: ${reason}`, { refused: rejected })
  }
}

class OtlpBatch implements Batch {
  readonly payload: Payload
  readonly #points: Points
  readonly #window: Window

  constructor(points: Points, window: Window, payload: Payload) {
    this.payload = payload
    this.#points = points
    this.#window = window
  }

  get size(): number {
    return this.payload.size
  }

  add(rollup: Rollup): void {
    this.#points.add(rollup, this.#window, this.payload)
  }
}

const judge: Judge = ({ status }, message) =>
  status >= 400 && !PASSING.has(status) ? new PermanentError(message) : undefined

function headersOf(url: BackendUrl): Record<string, string> {
  const headers: Record<string, string> = {}
  if (url.user !== undefined) {
    headers['authorization'] = `Basic ${Buffer.from(`${url.user}:${url.password ?? ''}`).toString('base64')}`
  }
  for (const header of url.params.list('header')) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+)=([\t\x20-\x7e\x80-\xff]*)$/.exec(header) ?? []
    // what is wrong may be a secret
    if (name === undefined || value === undefined) {
      throw new UsageError(`${url.label}: an option header is no header; write ?header=name=value`)
    }
    headers[name.toLowerCase()] = value.trim()
  }
  return headers
}

/** What all series share. No worker names itself: a series stays the same when its shard moves to another. */
function resourceOf(url: BackendUrl): Attributes {
  const resource = new Map([
    ['service.name', url.params.text('service') ?? 'zibrato'],
    ['telemetry.sdk.name', 'zibrato'],
    ['telemetry.sdk.language', 'nodejs'],
    ['telemetry.sdk.version', VERSION],
  ])
  for (const attribute of url.params.list('resource')) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(attribute) ?? []
    if (name === undefined || value === undefined) {
      throw new UsageError(`${url.label}: an option resource is no attribute; write ?resource=name=value`)
    }
    resource.set(name, value)
  }
  return [...resource]
}
