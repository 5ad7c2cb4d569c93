import { UsageError } from '../errors.ts'
import type { Platform } from '../options.ts'
import { VERSION } from '../version.ts'
import type { WarningSink } from '../warning.ts'
import { BUNDLE_TYPE, encodeBundle } from '../wire/bundle.ts'
import { RETRY_MS } from './ring.ts'
import type { SealedFrame, Transport, TransportStats } from './transport.ts'

/** Bytes of frames in one post, before compression. */
const POST_BYTES = 512_000
/** Bodies below this are not worth compressing. */
const COMPRESS_BYTES = 1_024
const POST_TIMEOUT_MS = 10_000
const FIRST_BACKOFF_MS = 200
const LONGEST_BACKOFF_MS = 30_000
/** How much longer than its timeout a post may take before it is taken for one that was cut off. */
const GRACE_MS = 5_000

export interface HttpTransportOptions {
  /** The gateway: `https://host` or a full path; `/v1/metrics` is added to a bare host. */
  readonly url: string
  readonly token?: string | undefined
  /** Bytes of frames waiting, the oldest dropped beyond. Default 16 MB. */
  readonly waitingBytes?: number | undefined
  /** Default: the runtime's. */
  readonly fetch?: typeof fetch | undefined
  /** Where it exists, failed posts are retried in the background, else by the next drain. */
  readonly every?: Platform['every']
  readonly warn: WarningSink
}

interface Entry {
  readonly frame: SealedFrame
  attempts: number
}

interface Post {
  readonly entries: readonly Entry[]
  /** When it is over in any case. */
  readonly untilMs: number
  readonly abort: AbortController
  done: Promise<void>
}

type Verdict = 'accepted' | 'again' | 'smaller' | 'refused'

/**
 * Posts bundles to a gateway. A frame leaves the spool when the gateway has answered for it; until then every retry sends
 * the same bytes, which is what lets a worker tell a repeat.
 */
export class HttpTransport implements Transport {
  readonly #options: HttpTransportOptions
  readonly #endpoint: string
  // without a query, which may hold a secret
  readonly #shown: string
  readonly #limit: number
  #waiting: Entry[] = []
  readonly #inFlight = new Set<Post>()
  #waitingBytes = 0
  #postBytes = POST_BYTES
  #retryAtMs = 0
  #failures = 0
  #sent = 0
  #replayed = 0
  #unknown = 0
  #closed = false
  #lastAnswered = false
  readonly #dropped: Record<string, number> = {}
  readonly #stopTimer: (() => void) | undefined

  constructor(options: HttpTransportOptions) {
    this.#options = options
    const url = parse(options.url)
    if (url.pathname === '/') url.pathname = '/v1/metrics'
    this.#endpoint = url.href
    this.#shown = url.origin + url.pathname
    this.#limit = options.waitingBytes ?? 16 << 20
    this.#stopTimer = options.every?.(FIRST_BACKOFF_MS, () => this.#kick())
  }

  send(frames: readonly SealedFrame[]): boolean {
    if (this.#closed) {
      this.#drop('closed', frames.length)
      return false
    }
    for (const frame of frames) {
      this.#waiting.push({ frame, attempts: 0 })
      this.#waitingBytes += frame.bytes.length
    }
    this.#bound()
    // without a timer there is no request in the background either: the next drain posts
    if (this.#options.every !== undefined) this.#kick()
    return true
  }

  /** Whether the gateway answered last. */
  connected(): boolean {
    return this.#lastAnswered
  }

  async drain(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    // on the edge each request posts for itself: it must not wait for another one's promise, which may never settle
    const alone = this.#options.every === undefined
    this.#takeBack()
    while (this.#waiting.length > 0 || (!alone && this.#inFlight.size > 0)) {
      const left = deadline - performance.now()
      if (left <= 0) return
      const pause = this.#retryAtMs - performance.now()
      if (pause > left) return
      if (pause > 0) await sleep(pause)
      else if (this.#waiting.length > 0 && (alone || this.#inFlight.size === 0)) await this.#post(left)
      else await atMost(left, Promise.all(Array.from(this.#inFlight, ({ done }) => done)))
    }
  }

  async close(timeoutMs: number): Promise<void> {
    await this.drain(timeoutMs)
    if (this.#closed) return
    this.#closed = true
    this.#stopTimer?.()
    for (const { attempts } of this.#waiting.splice(0)) {
      if (attempts > 0) this.#unknown++
      else this.#drop('closed', 1)
    }
    this.#waitingBytes = 0
    for (const { entries, abort } of this.#inFlight) {
      this.#unknown += entries.length
      // a request of the edge's may only be touched by itself
      if (this.#options.every !== undefined) abort.abort()
    }
    this.#inFlight.clear()
  }

  stats(): TransportStats {
    return {
      sent: this.#sent,
      replayed: this.#replayed,
      waiting: this.#waiting.length,
      waitingBytes: this.#waitingBytes,
      unknown: this.#unknown,
      dropped: { ...this.#dropped },
    }
  }

  #kick(): void {
    if (this.#inFlight.size > 0) this.#takeBack()
    if (this.#closed || this.#inFlight.size > 0 || this.#waiting.length === 0) return
    if (performance.now() >= this.#retryAtMs) void this.#postAll()
  }

  async #postAll(): Promise<void> {
    while (!this.#closed && this.#waiting.length > 0 && performance.now() >= this.#retryAtMs) {
      await this.#post(POST_TIMEOUT_MS)
    }
  }

  #post(timeoutMs: number): Promise<void> {
    const entries = this.#takeBatch()
    if (entries.length === 0) return Promise.resolve()
    const timeout = Math.min(timeoutMs, POST_TIMEOUT_MS)
    const post: Post = {
      entries,
      untilMs: performance.now() + timeout + GRACE_MS,
      abort: new AbortController(),
      done: Promise.resolve(),
    }
    this.#inFlight.add(post)
    post.done = this.#deliver(post, timeout)
    return post.done
  }

  /** Has posts sent again that were cut off with the request, or the machine, that made them. */
  #takeBack(): void {
    const now = performance.now()
    for (const post of this.#inFlight) if (now > post.untilMs && this.#inFlight.delete(post)) this.#again(post.entries)
  }

  #again(entries: readonly Entry[]): void {
    this.#waiting = entries.concat(this.#waiting)
    this.#waitingBytes += entries.reduce((bytes, { frame }) => bytes + frame.bytes.length, 0)
    this.#bound()
  }

  #bound(): void {
    while (this.#waitingBytes > this.#limit) {
      const oldest = this.#waiting.shift()
      if (oldest === undefined) break
      this.#waitingBytes -= oldest.frame.bytes.length
      if (oldest.attempts > 0) this.#unknown++
      else this.#drop('overflow', 1)
    }
  }

  #takeBatch(): Entry[] {
    const now = Date.now()
    // retrying ends before any worker forgets what it has merged
    this.#waiting = this.#waiting.filter(({ frame, attempts }) => {
      if (attempts === 0 || now - frame.closedMs < RETRY_MS) return true
      this.#waitingBytes -= frame.bytes.length
      this.#unknown++
      return false
    })
    let bytes = 0
    let count = 0
    for (const { frame } of this.#waiting) {
      if (count > 0 && bytes + frame.bytes.length > this.#postBytes) break
      bytes += frame.bytes.length
      count++
    }
    const entries = this.#waiting.splice(0, count)
    this.#waitingBytes -= bytes
    return entries
  }

  async #deliver(post: Post, timeoutMs: number): Promise<void> {
    const { entries } = post
    for (const entry of entries) {
      if (entry.attempts++ === 0) this.#sent++
      else this.#replayed++
    }
    let verdict: Verdict
    try {
      verdict = await this.#request(
        entries.map(({ frame }) => frame.bytes),
        AbortSignal.any([post.abort.signal, AbortSignal.timeout(Math.ceil(timeoutMs))]),
      )
      this.#lastAnswered = true
    } catch (error) {
      if (this.#closed) return
      verdict = 'again'
      this.#lastAnswered = false
      this.#backOff(undefined)
      this.#complain(`gave no answer (${reasonOf(error)}); will retry`)
    }
    // taken back meanwhile
    if (!this.#inFlight.delete(post)) return
    if (verdict === 'accepted') {
      this.#failures = 0
      this.#retryAtMs = 0
      return
    }
    if (verdict === 'refused' || (verdict === 'smaller' && entries.length === 1)) {
      this.#drop('refused', entries.length)
      return
    }
    if (verdict === 'smaller') this.#postBytes = Math.max(1, this.#postBytes >> 1)
    this.#again(entries)
  }

  async #request(frames: readonly Uint8Array[], signal: AbortSignal): Promise<Verdict> {
    const bundle = encodeBundle(frames) as Uint8Array<ArrayBuffer>
    const compress = bundle.length >= COMPRESS_BYTES && typeof CompressionStream === 'function'
    const headers: Record<string, string> = { 'content-type': BUNDLE_TYPE, 'user-agent': `zibrato/${VERSION}` }
    if (compress) headers['content-encoding'] = 'gzip'
    if (this.#options.token !== undefined) headers['authorization'] = `Bearer ${this.#options.token}`
    const body = compress ? await gzip(bundle) : bundle
    // called on the global object, which some runtimes insist on
    const response = await (this.#options.fetch ?? globalThis.fetch.bind(globalThis))(this.#endpoint, {
      method: 'POST',
      headers,
      body,
      signal,
    })
    return this.#judge(response)
  }

  async #judge(response: Response): Promise<Verdict> {
    const { status } = response
    if (status === 202) {
      // the status alone says that they were taken
      const answer = (await response.json().catch(() => undefined)) as {
        rejected?: readonly { reason: string }[]
      } | null
      const rejected = answer?.rejected
      if (rejected !== undefined && rejected.length > 0) {
        this.#drop('rejected', rejected.length)
        this.#complain(`${rejected.length} frames were rejected: ${rejected[0]?.reason ?? 'no reason given'}`)
      }
      return 'accepted'
    }
    const text = await response.text()
    if (status === 413) return 'smaller'
    if (status === 408 || status === 429 || status >= 500) {
      this.#backOff(response.headers.get('retry-after'))
      this.#complain(`answered ${status}; will retry`)
      return 'again'
    }
    this.#complain(`answered ${status}: ${this.#blank(text).slice(0, 200)}; the frames are dropped`)
    return 'refused'
  }

  #backOff(retryAfter: string | null | undefined): void {
    const asked = Number(retryAfter ?? Number.NaN) * 1000
    const doubled = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures++)
    // spread, so that many clients do not return together
    const pause = asked >= 0 ? Math.min(asked, LONGEST_BACKOFF_MS) : doubled * (0.5 + Math.random() / 2)
    this.#retryAtMs = performance.now() + pause
  }

  #drop(reason: string, count: number): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + count
  }

  #complain(message: string): void {
    this.#options.warn({ code: 'ZIBRATO_TRANSPORT', message: `${this.#shown} ${message}` })
  }

  /** A text without the token, which a server may repeat. */
  #blank(text: string): string {
    const { token } = this.#options
    return token === undefined || token === '' ? text : text.replaceAll(token, '***')
  }
}

function parse(text: string): URL {
  if (!URL.canParse(text)) throw new UsageError(`Zibrato: url ${JSON.stringify(text)} is none; write https://host`)
  const url = new URL(text)
  if (url.username === '' && url.password === '') return url
  throw new UsageError(`Zibrato: the url of ${url.host} must not hold a user or password; give the token as an option`)
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error && cause.message !== '' ? `${message}: ${cause.message}` : message
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'))
  return new Response(stream).arrayBuffer()
}

/** Waits for a promise, but not for long. */
async function atMost(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  await Promise.race([promise, new Promise((resolve) => (timer = setTimeout(resolve, ms)))])
  clearTimeout(timer)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
