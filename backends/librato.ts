import { UsageError } from '../client/errors.ts'
import { VERSION } from '../client/version.ts'
import { DEFAULT_SOURCE } from '../client/wire/series.ts'
import { Backend, PermanentError, type Window } from './backend.ts'
import { Batches, WINDOW_MS } from './batches.ts'
import { HttpTarget } from './http.ts'
import { type BatchShape, LibratoBatch, MOST_SECONDS } from './librato/batch.ts'
import { LibratoNames } from './librato/names.ts'
import { Merger } from './merge.ts'
import { throwPartial } from './partial.ts'
import { percentilesOption } from './percentiles.ts'
import type { BackendUrl } from './url.ts'

const HOST = 'metrics-api.librato.com'

/** How long a start waits for an answer, ms. */
const CONNECT_MS = 5_000

/** Librato suggests about 300 measurements a post, and 1,000 at the most where they have tags. */
const BATCH = 300
const LARGEST_BATCH = 1000

/**
 * `librato://user:token@metrics-api.librato.com`: what Zibrato sent to Librato, in posts to `/v1/metrics`, or with
 * `?api=measurements` to `/v1/measurements` with tags. Options: `api`, `tags`, `source`, `prefix`, `percentiles`, `batch`,
 * `tls`; `backends/README.md` says what they mean and what each type becomes.
 *
 * It is not idempotent: metrics with service-side aggregation add up whatever is posted, and what Librato makes of a second
 * measurement of a time otherwise is not documented.
 */
export class LibratoBackend extends Backend {
  readonly name = 'librato'
  override readonly timeoutMs: number = WINDOW_MS
  /** Series that differ only in what Librato does not see have to come together. */
  override readonly wholeWindows: boolean = true
  readonly #url: BackendUrl
  readonly #target: HttpTarget
  readonly #path: string
  readonly #merger: Merger
  readonly #batches: Batches<LibratoBatch>

  /** @throws UsageError for missing credentials and options that make no sense */
  constructor(url: BackendUrl) {
    super()
    const { params } = url
    if (url.user === undefined || url.password === undefined) {
      throw new UsageError(
        `${url.label}: names no user and token; write librato://$LIBRATO_USER:$LIBRATO_TOKEN@${HOST}`,
      )
    }
    const api = params.choice('api', ['metrics', 'measurements']) ?? 'metrics'
    const tags = params.choice('tags', ['name', 'drop'])
    if (tags !== undefined && api === 'measurements') {
      throw new UsageError(`${url.label}: the option tags is for api=metrics; measurements have their tags as they are`)
    }
    const percentiles = percentilesOption(url, [])
    const batch = params.number('batch', { min: MOST_SECONDS, max: LARGEST_BATCH, whole: true }) ?? BATCH
    this.#url = url
    const scheme = (params.flag('tls') ?? true) ? 'https' : 'http'
    const credentials = Buffer.from(`${url.user}:${url.password}`).toString('base64')
    const host = url.host.includes(':') ? `[${url.host}]` : url.host || HOST
    this.#target = new HttpTarget(
      url,
      this.name,
      `${scheme}://${host}${url.port === undefined ? '' : `:${url.port}`}${url.path}`,
      { authorization: `Basic ${credentials}`, 'user-agent': `zibrato/${VERSION}` },
      ({ status }, message) => (status === 401 ? new CredentialsError(message) : undefined),
    )
    this.#path = `/v1/${api}`
    this.#merger = new Merger(
      new LibratoNames({
        prefix: params.text('prefix') ?? '',
        source: params.text('source') || DEFAULT_SOURCE,
        tags: api === 'measurements' ? 'tags' : (tags ?? 'name'),
        percentiles: percentiles.map(({ name }) => name),
      }),
    )
    const shape: BatchShape = { api, percentiles }
    this.#batches = new Batches({
      timeoutMs: url.timeoutMs,
      name: this.name,
      begin: (window) => new LibratoBatch(window, shape),
      // room for a gauge with all its readings
      limit: batch - MOST_SECONDS + 1,
      post: (posted, signal) => this.#post(posted, signal),
      dropUnanswered: url.inDoubt === 'drop',
    })
  }

  /**
   * Asks whether user and token are known. A service that does not answer, or answers anything else, is no reason not to
   * start: windows wait for it.
   *
   * @throws UsageError when they are not: with these nothing can ever be delivered
   */
  override async connect(): Promise<void> {
    try {
      await this.#target.send({ method: 'HEAD', path: this.#path, signal: AbortSignal.timeout(CONNECT_MS) })
    } catch (error) {
      if (error instanceof CredentialsError) throw new UsageError(error.message, { cause: error })
    }
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (window.end - window.start < 1) {
      throw new PermanentError('librato: tells no times within a second apart; make windows longer, --flush 10s')
    }
    await this.#batches.flush(await this.#merger.merge(window), signal)
  }

  async #post(batch: LibratoBatch, signal: AbortSignal): Promise<void> {
    const headers = { 'content-type': 'application/json' }
    const answer = await this.#target.send({ path: this.#path, headers, body: batch.body(), signal })
    throwPartial(this.#url, this.name, answer)
  }
}

/** User or token are wrong; until they are mended, windows wait. */
class CredentialsError extends Error {
  override readonly name = 'CredentialsError'
  constructor(message: string) {
    super(`${message}; user or token are wrong: correct them`)
  }
}
