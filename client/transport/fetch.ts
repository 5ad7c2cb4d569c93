import { UsageError } from '../errors.ts'
import { sleep } from '../sleep.ts'
import { publicUrl } from '../url.ts'
import { VERSION } from '../version.ts'
import type { WarningSink } from '../warning.ts'
import { BUNDLE_TYPE, encodeBundle } from '../wire/bundle.ts'
import type { PostAnswer, Target } from './post.ts'
import { RETRY_MS } from './ring.ts'
import type { SealedFrame, Transport, TransportStats } from './transport.ts'

/** Bytes of frames in one post, before compression. */
const POST_BYTES = 512_000
export const POST_TIMEOUT_MS = 10_000
const FIRST_BACKOFF_MS = 200
const LONGEST_BACKOFF_MS = 30_000
/** How long a gateway is given to answer what is posted after a pause, at the least, where there is twice that time. */
const ENOUGH_MS = 1_000
/** How much longer than planned a request may take before it is taken for one that was cut off. */
export const GRACE_MS = 5_000

export interface FetchTransportOptions {
  /** Bytes of frames that no gateway has answered for, the oldest dropped beyond. Default 16 MB. */
  readonly waitingBytes?: number | undefined
  readonly warn: WarningSink
}

/** A frame that no gateway has answered for. */
interface Entry extends SealedFrame {
  attempts: number
  /** Until when a post has it under way, at the longest; ms by the clock for durations. */
  untilMs: number
}

/**
 * Posts bundles to a gateway from whoever drains it, and only while it is drained: each request for itself, because none may
 * wait for what another one awaits. A frame leaves the spool when the gateway has answered for it; until then every retry
 * sends the same bytes, which is what lets a worker tell a repeat. Posts that were cut off with the request, or the machine,
 * that made them need no undoing: their time passes.
 */
export class FetchTransport implements Transport {
  /** The oldest first. */
  protected readonly spool: Set<Entry> = new Set()
  /** When the gateway may be asked again, ms by the clock for durations. */
  protected retryAtMs = 0
  readonly #warn: WarningSink
  readonly #limit: number
  #target: Target | undefined
  #bytes = 0
  #postBytes = POST_BYTES
  #failures = 0
  // until when somebody else waits for the next attempt
  #awaitedUntilMs = 0
  #answered = false
  #isWarned = false
  #isClosed = false
  /** Frames by what became of them. */
  readonly #counts: Record<string, number> = {}

  constructor({ waitingBytes = 16 << 20, warn }: FetchTransportOptions) {
    this.#warn = warn
    this.#limit = waitingBytes
  }

  /**
   * Says where to send from now on. Until somebody does, frames go nowhere, counted and with one warning.
   *
   * @throws UsageError for a url that makes no sense
   */
  connect(target: Target): void {
    this.#target = { ...target, url: endpointOf(target.url) }
  }

  /** Warns, once, of what keeps frames from going anywhere. */
  warnNowhere(message: string): void {
    if (!this.#isWarned) this.#warn({ code: 'ZIBRATO_NO_URL', message })
    this.#isWarned = true
  }

  send(frames: readonly SealedFrame[]): boolean {
    for (const frame of frames) {
      this.spool.add({ ...frame, attempts: 0, untilMs: 0 })
      this.#bytes += frame.bytes.length
    }
    for (const entry of this.spool) {
      if (this.#isClosed) this.#giveUp(entry, 'closed')
      else if (this.#bytes <= this.#limit) break
      // what is under way may arrive yet
      else if (entry.untilMs === 0) this.#giveUp(entry, 'overflow')
    }
    return !this.#isClosed
  }

  /** Whether the gateway answered last. */
  connected(): boolean {
    return this.#answered
  }

  async drain(timeoutMs: number): Promise<void> {
    await this.pull(timeoutMs)
  }

  async pull(timeoutMs: number, seal?: () => void): Promise<boolean> {
    const deadlineMs = performance.now() + timeoutMs
    let toSeal = seal
    let accepted = false
    for (;;) {
      const nowMs = performance.now()
      const leftMs = deadlineMs - nowMs
      const pauseMs = this.retryAtMs - nowMs
      if (pauseMs > 0) {
        // one waits for all, and sends what has come together by then
        if (isTooLong(pauseMs, leftMs) || nowMs < this.#awaitedUntilMs) return false
        this.#awaitedUntilMs = this.retryAtMs
        await sleep(pauseMs)
        // a timer may be early by less than its unit
        this.#awaitedUntilMs = 0
        toSeal = seal
      } else {
        // once for each attempt, as some gauges have something to say whenever they are asked
        toSeal?.()
        toSeal = undefined
        const taken = leftMs > 0 ? await this.post(leftMs) : undefined
        if (taken === undefined) return accepted
        accepted = taken
      }
    }
  }

  async close(timeoutMs: number): Promise<void> {
    // the last chance, so it is not waited for a better one
    this.retryAtMs = 0
    await this.drain(timeoutMs)
    this.#isClosed = true
    this.send([])
  }

  stats(): TransportStats {
    const { sent = 0, replayed = 0, unknown = 0, ...dropped } = this.#counts
    const nowMs = performance.now()
    let waiting = 0
    let waitingBytes = 0
    for (const { untilMs, bytes } of this.spool) {
      if (untilMs > nowMs) continue
      waiting++
      waitingBytes += bytes.length
    }
    return { sent, replayed, unknown, dropped, waiting, waitingBytes }
  }

  /** Posts what waits the longest, if anything does; answers whether it was taken, once that is known. Never rejects. */
  protected async post(timeoutMs: number): Promise<boolean | undefined> {
    const postMs = Math.ceil(Math.min(timeoutMs, POST_TIMEOUT_MS))
    const untilMs = performance.now() + postMs + GRACE_MS
    const entries = this.#take(untilMs)
    if (entries.length === 0) return undefined
    const { url, token, fetch = globalThis.fetch } = this.#target as Target
    let answer: PostAnswer | undefined
    let text = ''
    try {
      answer = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': BUNDLE_TYPE,
          'user-agent': `zibrato/${VERSION}`,
          ...(token && { authorization: `Bearer ${token}` }),
        },
        body: encodeBundle(entries.map(({ bytes }) => bytes)) as Uint8Array<ArrayBuffer>,
        signal: AbortSignal.timeout(postMs),
      })
      text = await answer.text()
    } catch (error) {
      // what was answered counts, even if the rest of it did not arrive
      text = String((error as Error).cause ?? error)
    }
    // the others were given up meanwhile, or another post has them under way
    const own = entries.filter((entry) => entry.untilMs === untilMs && this.spool.has(entry))
    if (own.length === 0) return false
    const status = answer?.status ?? 0
    this.#answered = status > 0
    if ([0, 408, 429].includes(status) || status >= 500) {
      this.#backOff(answer)
      this.#complain(status, 'will retry', text)
    } else if (status === 413 && own.length > 1) {
      this.#postBytes = Math.max(1, this.#postBytes >> 1)
    } else {
      for (const entry of own) this.#forget(entry)
      const isTaken = status === 202
      if (isTaken) this.#failures = this.retryAtMs = 0
      const dropped = isTaken ? rejectedIn(text) : own.length
      if (dropped > 0) {
        this.#count(isTaken ? 'rejected' : 'refused', dropped)
        this.#complain(status, `dropped ${dropped} of ${own.length} frames`, text)
      }
      return isTaken
    }
    for (const entry of own) entry.untilMs = 0
    return false
  }

  /** Takes what is to be posted next. */
  #take(untilMs: number): Entry[] {
    const nowMs = performance.now()
    const entries: Entry[] = []
    let bytes = 0
    for (const entry of this.spool) {
      if (entry.untilMs > nowMs) continue
      // retrying ends before any worker forgets what it has merged
      if (entry.attempts > 0 && entry.closedMs <= Date.now() - RETRY_MS) this.#giveUp(entry, 'unknown')
      else if (this.#target === undefined) {
        this.warnNowhere('no url and no ZIBRATO_URL: measurements go nowhere')
        this.#giveUp(entry, 'nowhere')
      } else {
        bytes += entry.bytes.length
        if (bytes > this.#postBytes && entries.length > 0) break
        entries.push(entry)
        entry.untilMs = untilMs
        this.#count(entry.attempts++ > 0 ? 'replayed' : 'sent')
      }
    }
    return entries
  }

  #backOff(answer: PostAnswer | undefined): void {
    const nowMs = performance.now()
    // posts of several requests that fail together are one failure; spread, so that many clients do not return together
    const doubledMs = this.retryAtMs > nowMs ? 0 : FIRST_BACKOFF_MS * 2 ** this.#failures++ * (0.5 + Math.random() / 2)
    const askedMs = Number(answer?.headers.get('retry-after')) * 1000
    const pauseMs = Math.min(LONGEST_BACKOFF_MS, askedMs > 0 ? askedMs : doubledMs)
    this.retryAtMs = Math.max(this.retryAtMs, nowMs + pauseMs)
  }

  #giveUp(entry: Entry, reason: string): void {
    this.#forget(entry)
    // what went out may have arrived
    this.#count(entry.attempts > 0 ? 'unknown' : reason)
  }

  #forget(entry: Entry): void {
    this.spool.delete(entry)
    this.#bytes -= entry.bytes.length
  }

  #count(what: string, frames = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + frames
  }

  /** Says what became of a post; neither the query of the url nor the token, which a server may repeat, shows. */
  #complain(status: number, consequence: string, reason: string): void {
    const { url, token } = this.#target as Target
    const [shown] = url.split('?')
    const answer = status > 0 ? `answered ${status}` : 'gave no answer'
    const blanked = token ? reason.replaceAll(token, '***') : reason
    this.#warn({
      code: 'ZIBRATO_TRANSPORT',
      message: `${shown} ${answer}, ${consequence}: ${blanked.slice(0, 200)}`,
    })
  }
}

/** Whether a post after a pause would most likely be cut off at the deadline, and then be taken for one more failure. */
export function isTooLong(pauseMs: number, leftMs: number): boolean {
  return pauseMs > Math.max(leftMs / 2, leftMs - ENOUGH_MS)
}

/** How many frames of a post the gateway would have none of; the status alone says that it took the others. */
function rejectedIn(text: string): number {
  try {
    return (JSON.parse(text) as { rejected: readonly unknown[] }).rejected.length
  } catch {
    return 0
  }
}

/** @throws UsageError for a url that is no gateway's */
function endpointOf(text: string): string {
  if (!/^https?:\/\/[^/@]+(\/|$)/i.test(text) || !URL.canParse(text)) {
    throw new UsageError(`Zibrato: url ${publicUrl(text)} is no gateway's; write https://host, and a secret as token`)
  }
  const url = new URL(text)
  if (url.pathname === '/') url.pathname = '/v1/metrics'
  return url.href
}
