import { UsageError } from '../errors.ts'
import { sleep } from '../sleep.ts'
import { VERSION } from '../version.ts'
import type { WarningSink } from '../warning.ts'
import { BUNDLE_TYPE, encodeBundle } from '../wire/bundle.ts'
import type { PostAnswer, PostRequest, Target } from './post.ts'
import { RETRY_MS } from './ring.ts'
import type { SealedFrame, Transport, TransportStats } from './transport.ts'

/** Bytes of frames in one post, before compression. */
const POST_BYTES = 512_000
const POST_TIMEOUT_MS = 10_000
const FIRST_BACKOFF_MS = 200
const LONGEST_BACKOFF_MS = 30_000
/** How long a gateway is given to answer what is posted after a pause, at the least, where there is twice that time. */
const ENOUGH_MS = 1_000
/** How much longer than planned a request may take before it is taken for one that was cut off. */
const GRACE_MS = 5_000

export interface FetchTransportOptions {
  /** Bytes of frames waiting, the oldest dropped beyond. Default 16 MB. */
  readonly waitingBytes?: number | undefined
  readonly warn: WarningSink
}

interface Entry {
  readonly frame: SealedFrame
  attempts: number
}

/** Frames under way. */
interface Sending {
  readonly entries: readonly Entry[]
  /** When it is over in any case, ms by the clock for durations. */
  readonly untilMs: number
}

/**
 * Posts bundles to a gateway from whoever drains it, and only while it is drained: each request for itself, because none may
 * wait for what another one awaits. A frame leaves the spool when the gateway has answered for it; until then every retry
 * sends the same bytes, which is what lets a worker tell a repeat.
 */
export class FetchTransport implements Transport {
  protected readonly inFlight: Set<Sending> = new Set()
  protected waiting: Entry[] = []
  protected closed = false
  /** When the gateway may be asked again, ms by the clock for durations. */
  protected retryAtMs = 0
  readonly #warn: WarningSink
  readonly #limit: number
  #target: Target | undefined
  #endpoint = ''
  // without a query, which may hold a secret
  #shown = ''
  #waitingBytes = 0
  #postBytes = POST_BYTES
  #failures = 0
  // until when somebody else waits for the next attempt
  #awaitedUntilMs = 0
  #answered = false
  #isWarned = false
  readonly #stats = { sent: 0, replayed: 0, unknown: 0, dropped: {} as Record<string, number> }

  constructor({ waitingBytes, warn }: FetchTransportOptions) {
    this.#warn = warn
    this.#limit = waitingBytes ?? 16 << 20
  }

  /**
   * Says where to send from now on. Until somebody does, frames go nowhere, counted and with one warning.
   *
   * @throws UsageError for a url that makes no sense
   */
  connect(target: Target): void {
    if (this.#target === undefined || target.url !== this.#target.url) {
      const url = parse(target.url)
      if (url.pathname === '/') url.pathname = '/v1/metrics'
      this.#endpoint = url.href
      this.#shown = url.origin + url.pathname
    }
    this.#target = target
  }

  /** {@link connect} where `ask` says, unless it says nothing. Never throws: what is wrong is warned of, once. */
  connectTo(ask: () => Target | undefined): void {
    try {
      const target = ask()
      if (target !== undefined) this.connect(target)
    } catch (error) {
      this.#warnNowhere(reasonOf(error))
    }
  }

  send(frames: readonly SealedFrame[]): boolean {
    if (this.closed) {
      this.#drop('closed', frames.length)
      return false
    }
    for (const frame of frames) {
      this.waiting.push({ frame, attempts: 0 })
      this.#waitingBytes += frame.bytes.length
    }
    this.#bound()
    return true
  }

  /** Whether the gateway answered last. */
  connected(): boolean {
    return this.#answered
  }

  async drain(timeoutMs: number): Promise<void> {
    await this.pull(timeoutMs, () => {})
  }

  async pull(timeoutMs: number, seal: () => void): Promise<boolean> {
    const deadlineMs = performance.now() + timeoutMs
    let isSealed = false
    let accepted = false
    for (;;) {
      const nowMs = performance.now()
      const { retryAtMs } = this
      if (retryAtMs > nowMs) {
        // one waits for all, and sends what has come together by then
        if (isTooLate(retryAtMs, deadlineMs) || nowMs < this.#awaitedUntilMs) return false
        this.#awaitedUntilMs = retryAtMs
        isSealed = false
        await sleep(retryAtMs - nowMs)
        // a timer may be early by less than its unit
        this.#awaitedUntilMs = 0
        continue
      }
      // once for each attempt, as some gauges have something to say whenever they are asked
      if (!isSealed) seal()
      isSealed = true
      this.takeBack()
      if (this.waiting.length === 0 || nowMs >= deadlineMs) return accepted
      accepted = await this.post(deadlineMs - nowMs)
    }
  }

  async close(timeoutMs: number): Promise<void> {
    // the last chance, so it is not waited for a better one
    this.retryAtMs = 0
    await this.drain(timeoutMs)
    if (this.closed) return
    this.closed = true
    while (this.waiting.length > 0) this.#dropOldest('closed')
    for (const { entries } of this.inFlight) this.#stats.unknown += entries.length
    this.inFlight.clear()
  }

  stats(): TransportStats {
    const dropped = { ...this.#stats.dropped }
    return { ...this.#stats, dropped, waiting: this.waiting.length, waitingBytes: this.#waitingBytes }
  }

  /** Has posts sent again that were cut off with the request, or the machine, that made them. */
  protected takeBack(): void {
    for (const sending of this.inFlight) {
      if (performance.now() > sending.untilMs && this.inFlight.delete(sending)) this.#again(sending)
    }
  }

  /** Posts what waits the longest; answers whether it was taken, once that is known. Never rejects. */
  protected async post(timeoutMs: number): Promise<boolean> {
    const target = this.#target
    const entries = this.#takeBatch()
    if (entries.length === 0) return false
    if (target === undefined) {
      this.#drop('nowhere', entries.length)
      this.#warnNowhere('no url and no ZIBRATO_URL: measurements go nowhere')
      return false
    }
    const timeout = Math.min(timeoutMs, POST_TIMEOUT_MS)
    const sending = { entries, untilMs: performance.now() + timeout + GRACE_MS }
    this.inFlight.add(sending)
    for (const entry of entries) this.#stats[entry.attempts++ === 0 ? 'sent' : 'replayed']++
    let answer: PostAnswer | undefined
    let text = ''
    try {
      answer = await this.#request(target, entries, timeout)
      text = await answer.text()
    } catch (error) {
      // what was answered counts, even if the rest of it did not arrive
      text = reasonOf(error)
    }
    // taken back meanwhile, or closed
    if (!this.inFlight.delete(sending)) return false
    const status = answer?.status ?? 0
    this.#answered = status > 0
    if (status === 202) {
      this.#failures = this.retryAtMs = 0
      this.#readRejected(text)
      return true
    }
    if (status === 0 || status === 408 || status === 429 || status >= 500) {
      this.#backOff(answer?.headers.get('retry-after'))
      this.#complain(`${status === 0 ? `gave no answer (${text})` : `answered ${status}`}; will retry`)
    } else if (status === 413 && entries.length > 1) {
      this.#postBytes = Math.max(1, this.#postBytes >> 1)
    } else {
      this.#drop('refused', entries.length)
      this.#complain(`answered ${status}: ${this.#blank(text).slice(0, 200)}; the frames are dropped`)
      return false
    }
    this.#again(sending)
    return false
  }

  /** The signal that ends a post. */
  protected signal(timeoutMs: number): AbortSignal {
    return AbortSignal.timeout(Math.ceil(timeoutMs))
  }

  /** The body of a post; it may be another than the bundle, if the headers say so. */
  protected async pack(
    bundle: Uint8Array<ArrayBuffer>,
    _headers: Record<string, string>,
  ): Promise<PostRequest['body']> {
    return bundle
  }

  #again({ entries }: Sending): void {
    this.waiting = entries.concat(this.waiting)
    this.#waitingBytes += bytesOf(entries)
    this.#bound()
  }

  #bound(): void {
    while (this.#waitingBytes > this.#limit) this.#dropOldest('overflow')
  }

  #dropOldest(reason: string): void {
    const [oldest] = this.#take(1)
    // what went out may have arrived
    if ((oldest as Entry).attempts > 0) this.#stats.unknown++
    else this.#drop(reason, 1)
  }

  #take(count: number): Entry[] {
    const entries = this.waiting.splice(0, count)
    this.#waitingBytes -= bytesOf(entries)
    return entries
  }

  #takeBatch(): Entry[] {
    // retrying ends before any worker forgets what it has merged
    const expiredMs = Date.now() - RETRY_MS
    this.waiting = this.waiting.filter(({ frame, attempts }) => {
      if (attempts === 0 || frame.closedMs > expiredMs) return true
      this.#waitingBytes -= frame.bytes.length
      this.#stats.unknown++
      return false
    })
    let bytes = 0
    const end = this.waiting.findIndex(
      ({ frame }, index) => (bytes += frame.bytes.length) > this.#postBytes && index > 0,
    )
    return this.#take(end < 0 ? this.waiting.length : end)
  }

  async #request({ token, fetch }: Target, entries: readonly Entry[], timeoutMs: number): Promise<PostAnswer> {
    const headers: Record<string, string> = { 'content-type': BUNDLE_TYPE, 'user-agent': `zibrato/${VERSION}` }
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`
    const bundle = encodeBundle(entries.map(({ frame }) => frame.bytes)) as Uint8Array<ArrayBuffer>
    const body = await this.pack(bundle, headers)
    // called on the global object, which some runtimes insist on
    return (fetch ?? globalThis.fetch.bind(globalThis))(this.#endpoint, {
      method: 'POST',
      headers,
      body,
      signal: this.signal(timeoutMs),
    })
  }

  /** Counts what a gateway that took the rest did not take, as its answer says. */
  #readRejected(text: string): void {
    try {
      const { rejected } = JSON.parse(text) as { rejected: readonly { reason: string }[] }
      if (rejected.length === 0) return
      this.#drop('rejected', rejected.length)
      this.#complain(`${rejected.length} frames were rejected: ${rejected[0]?.reason ?? 'no reason given'}`)
    } catch {
      // the status alone says that they were taken
    }
  }

  #backOff(retryAfter: string | null | undefined): void {
    const nowMs = performance.now()
    const askedMs = Number(retryAfter ?? Number.NaN) * 1000
    // posts of several requests that fail together are one failure
    const isFirst = this.retryAtMs <= nowMs
    if (!isFirst && !(askedMs >= 0)) return
    // spread, so that many clients do not return together
    const doubledMs = FIRST_BACKOFF_MS * 2 ** this.#failures++ * (0.5 + Math.random() / 2)
    const retryAtMs = nowMs + Math.min(LONGEST_BACKOFF_MS, askedMs >= 0 ? askedMs : doubledMs)
    this.retryAtMs = isFirst ? retryAtMs : Math.max(this.retryAtMs, retryAtMs)
  }

  #drop(reason: string, count: number): void {
    const { dropped } = this.#stats
    dropped[reason] = (dropped[reason] ?? 0) + count
  }

  #warnNowhere(message: string): void {
    if (this.#isWarned) return
    this.#isWarned = true
    this.#warn({ code: 'ZIBRATO_NO_URL', message })
  }

  #complain(message: string): void {
    this.#warn({ code: 'ZIBRATO_TRANSPORT', message: `${this.#shown} ${message}` })
  }

  /** A text without the token, which a server may repeat. */
  #blank(text: string): string {
    const token = this.#target?.token
    return token === undefined || token === '' ? text : text.replaceAll(token, '***')
  }
}

/** Whether a post at `ms` would most likely be cut off at the deadline, and then be taken for one more failure. */
export function isTooLate(ms: number, deadlineMs: number): boolean {
  const leftMs = deadlineMs - performance.now()
  return ms > deadlineMs - Math.min(leftMs / 2, ENOUGH_MS)
}

function parse(text: string | undefined): URL {
  if (text?.startsWith('tcp:')) {
    throw new UsageError(
      `Zibrato: ${text} needs raw sockets, which there are none of here; use the gateway's https:// url`,
    )
  }
  if (text === undefined || !/^https?:/.test(text) || !URL.canParse(text)) {
    throw new UsageError(`Zibrato: url ${JSON.stringify(text)} is none; write https://host`)
  }
  const url = new URL(text)
  if (url.username === '' && url.password === '') return url
  throw new UsageError(`Zibrato: the url of ${url.host} must not hold a user or password; give the token as an option`)
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error && cause.message !== '' ? `${message}: ${cause.message}` : message
}

function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((bytes, { frame }) => bytes + frame.bytes.length, 0)
}
