import { promisify } from 'node:util'
import { deflate } from 'node:zlib'
import { UsageError } from '../client/errors.ts'
import { VERSION } from '../client/version.ts'
import { Backend, PermanentError, type Window } from './backend.ts'
import { Batches, WINDOW_MS } from './batches.ts'
import { MetricBatch, PointBatch } from './datadog/batch.ts'
import { DatadogNames } from './datadog/names.ts'
import { apiHost, HOST } from './datadog/site.ts'
import { HttpTarget } from './http.ts'
import { Merger } from './merge.ts'
import { throwPartial } from './partial.ts'
import { percentilesOption } from './percentiles.ts'
import type { BackendUrl, InDoubt } from './url.ts'

const compress = promisify(deflate)

/** How long a start waits for an answer, ms. */
const CONNECT_MS = 5_000

/** What Datadog takes of a post once it is compressed; before, it is ten times that. */
const MOST_COMPRESSED = 512_000

/** Characters of JSON in a post: they compress to far less than the limit, and fit uncompressed whatever bytes they are. */
const BATCH = 1_000_000

/** Older points are not taken, and Datadog does not say so. */
const OLDEST_S = 3600

const PERCENTILES = [0.5, 0.95, 0.99]
const FIGURES = ['count', 'sum', 'min', 'max', 'avg'] as const

/** Values that a distribution is sent as, unless `max-values` says otherwise, and what that may say. */
const VALUES = 10_000
const LEAST_VALUES = 10
const MOST_VALUES = 50_000

export interface DatadogOptions {
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/**
 * `datadog://$DD_API_KEY@api.datadoghq.com`: series to `/api/v2/series`, and with `?distributions=points` timers and
 * histograms to `/api/v1/distribution_points`. Options: `distributions`, `percentiles`, `max-values`, `source`, `prefix`,
 * `historical`, `tls`; `backends/README.md` says what they mean and what each type becomes.
 *
 * Of counts, rates and gauges Datadog keeps the last that was sent for a time, so it is idempotent; distributions add up.
 */
export class DatadogBackend extends Backend {
  readonly name = 'datadog'
  override readonly timeoutMs: number = WINDOW_MS
  override readonly idempotent: boolean
  /** With distributions: a window in doubt is rather sent again, as all but them is overwritten. */
  override readonly inDoubt: InDoubt = 'resend'
  /** Series that differ only in what Datadog does not see have to come together: the last would overwrite the others. */
  override readonly wholeWindows: boolean = true
  readonly #url: BackendUrl
  readonly #target: HttpTarget
  readonly #merger: Merger
  readonly #metrics: Batches<MetricBatch>
  readonly #points: Batches<PointBatch> | undefined
  readonly #historical: boolean
  readonly #now: () => number

  /** @throws UsageError for a missing key and options that make no sense */
  constructor(url: BackendUrl, { now = Date.now }: DatadogOptions = {}) {
    super()
    const { params } = url
    if (url.user === undefined || url.password !== undefined) {
      throw new UsageError(`${url.label}: needs an API key and nothing else; write datadog://$DD_API_KEY@${HOST}`)
    }
    const asPoints = params.choice('distributions', ['gauges', 'points']) === 'points'
    const percentiles = asPoints ? [] : percentilesOption(url, PERCENTILES)
    const mostValues = asPoints
      ? params.number('max-values', { min: LEAST_VALUES, max: MOST_VALUES, whole: true })
      : undefined
    const scheme = (params.flag('tls') ?? true) ? 'https' : 'http'
    this.idempotent = !asPoints
    this.#historical = params.flag('historical') ?? false
    this.#now = now
    this.#url = url
    this.#target = new HttpTarget(
      url,
      this.name,
      `${scheme}://${apiHost(url.host)}${url.port === undefined ? '' : `:${url.port}`}${url.path}`,
      { 'dd-api-key': url.user, 'user-agent': `zibrato/${VERSION}` },
      ({ status }, message) => (status === 403 ? new KeyError(message) : undefined),
    )
    this.#merger = new Merger(
      new DatadogNames({
        prefix: params.text('prefix') ?? '',
        source: params.choice('source', ['tag', 'host', 'none']) ?? 'tag',
        distribution: asPoints ? [''] : [...FIGURES, ...percentiles.map(({ name }) => name)].map((name) => `.${name}`),
      }),
    )
    this.#metrics = new Batches({
      timeoutMs: url.timeoutMs,
      name: this.name,
      begin: (window) => new MetricBatch(window, percentiles),
      limit: BATCH,
      post: (batch, signal) => this.#post('/api/v2/series', 'application/json', batch.body(), signal),
    })
    this.#points = asPoints
      ? new Batches({
          timeoutMs: url.timeoutMs,
          name: this.name,
          begin: (window) => new PointBatch(window, mostValues ?? VALUES),
          limit: BATCH,
          post: (batch, signal) => this.#post('/api/v1/distribution_points', 'text/json', batch.body(), signal),
          dropUnanswered: url.inDoubt === 'drop',
        })
      : undefined
  }

  /**
   * Asks whether the key is valid. A service that does not answer, or answers anything else, is no reason not to start:
   * windows wait for it.
   *
   * @throws UsageError when it is not: with it nothing can ever be delivered
   */
  override async connect(): Promise<void> {
    try {
      await this.#target.send({ method: 'GET', path: '/api/v1/validate', signal: AbortSignal.timeout(CONNECT_MS) })
    } catch (error) {
      if (error instanceof KeyError) throw new UsageError(error.message, { cause: error })
    }
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (window.end - window.start < 1) {
      throw new PermanentError('datadog: tells no times within a second apart; make windows longer, --flush 10s')
    }
    if (!this.#historical && this.#now() / 1000 - window.end > OLDEST_S) {
      throw new PermanentError(
        'datadog: the window waited for more than an hour, and Datadog drops such points unless historical metrics are enabled for them; then add ?historical=yes',
      )
    }
    const merged = await this.#merger.merge(window)
    if (this.#points === undefined) {
      await this.#metrics.flush(merged, signal)
      return
    }
    const isDistribution = ({ type }: { type: string }): boolean => type === 'timer' || type === 'histogram'
    const metrics = { ...merged, rollups: merged.rollups.filter((rollup) => !isDistribution(rollup)) }
    const points = { ...merged, rollups: merged.rollups.filter(isDistribution) }
    const refusals = [
      // after a failure of the points these are sent again, which changes nothing
      await refusalOf(this.#metrics.flush(metrics, signal)),
      await refusalOf(this.#points.flush(points, signal)),
    ].filter((refusal) => refusal !== undefined)
    const [first] = refusals
    if (first === undefined) return
    const refused = refusals.reduce((sum, refusal) => sum + (refusal.refused ?? 0), 0)
    throw new PermanentError(first.message, { cause: first, refused })
  }

  async #post(path: string, type: string, text: string, signal: AbortSignal): Promise<void> {
    const body = await compress(text)
    if (body.length > MOST_COMPRESSED) throw new PermanentError(`datadog: ${body.length} bytes are too many for a post`)
    const headers = { 'content-type': type, 'content-encoding': 'deflate' }
    throwPartial(this.#url, this.name, await this.#target.send({ path, headers, body, signal }))
  }
}

/** What of a window was refused for good, while all else was taken. */
async function refusalOf(flush: Promise<void>): Promise<PermanentError | undefined> {
  try {
    await flush
    return undefined
  } catch (error) {
    if (error instanceof PermanentError) return error
    throw error
  }
}

/** The key is wrong; until it is mended, windows wait. */
class KeyError extends Error {
  override readonly name = 'KeyError'
  constructor(message: string) {
    super(`${message}; the API key is wrong: correct it`)
  }
}
