import { InvalidMeasurementError, UsageError } from '../../client/errors.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { checkLevel } from '../../client/wire/series.ts'
import { BadLines, type Fault } from './statsd-faults.ts'
import { StatsdLines } from './statsd-line.ts'
import { StatsdSeries } from './statsd-series.ts'

/** How often idle series may be looked for, once there are many. */
const SWEEP_MS = 10_000
/** What `maxSeries` may be at the most: offsets into the bytes of their names are 32-bit integers. */
const MOST_SERIES = 4_000_000

export interface StatsdOptions {
  /** Takes frames; false when the ring is full and none was taken. */
  readonly offer: (frames: readonly SealedFrame[]) => boolean
  /** Whether the ring is full: then measurements are added up here until it is not. */
  readonly full: () => boolean
  /** The level of all lines. Default `info`. */
  readonly level?: string
  /** How long lines are added up into frames. Default 250 ms. */
  readonly flushMs?: number
  /** Series at the most, of about 2 kB each; what comes beyond is counted in `zibrato.overflow`. Default 200,000. */
  readonly maxSeries?: number
  /** Whether names and tags are cleaned as statsd does it with `keyNameSanitize`. Default false. */
  readonly sanitize?: boolean
  /** Called with one line about bad lines, at most every 10 s, and when there are too many series. */
  readonly onWarning?: (message: string) => void
  /** ms since the epoch. */
  readonly now?: () => number
  /** Calls back every so often; answers what stops it. */
  readonly every?: (intervalMs: number, call: () => void) => () => void
  readonly random?: (bytes: Uint8Array) => Uint8Array
}

/** Figures since the start. */
export interface StatsdStats {
  readonly packets: number
  readonly bytes: number
  /** Lines that are not empty, whatever they were. */
  readonly lines: number
  /** Values taken; a line may have several. */
  readonly metrics: number
  /** Lines, and parts of lines with several values, that were passed over because something was wrong. */
  readonly bad: number
  readonly badByReason: Readonly<Record<Fault, number>>
  /** Events of DogStatsD, passed over. */
  readonly events: number
  /** Service checks of DogStatsD, passed over. */
  readonly checks: number
  /** Lines that counted in `zibrato.overflow`. */
  readonly overflowed: number
  /** Series held now. */
  readonly series: number
  /** Frames that the ring did not take at the end. */
  readonly lostFrames: number
}

/**
 * Takes lines of StatsD and DogStatsD and adds them up, as a publisher of its own. Every `flushMs` what came becomes frames
 * and is offered; while the ring is full it is added up further, so nothing is lost.
 */
export class StatsdIntake {
  readonly #options: StatsdOptions
  readonly #now: () => number
  readonly #maxSeries: number
  readonly #bad = new BadLines()
  readonly #series: StatsdSeries
  readonly #lines: StatsdLines
  readonly #stop: () => void
  #packets = 0
  #bytes = 0
  #sealed = 0
  // sealed and not taken yet; nothing is sealed after them before they are
  #pending: readonly SealedFrame[] = []
  #lostFrames = 0
  #sweptMs: number
  #closed = false

  /** @throws UsageError for an option that makes no sense */
  constructor(options: StatsdOptions) {
    const { level = 'info', flushMs = 250, maxSeries = 200_000, sanitize = false, now = Date.now } = options
    const random = options.random ?? ((bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>))
    checkOptions(level, flushMs, maxSeries)
    this.#options = options
    this.#now = now
    this.#maxSeries = maxSeries
    this.#sweptMs = now()
    const warn = (warning: { readonly message: string }): void => this.#warn(`statsd: ${warning.message}`)
    this.#series = new StatsdSeries({ level, maxSeries, sanitize, now, random, warn })
    const [seed = 0] = new Int32Array(random(new Uint8Array(4)).slice().buffer)
    this.#lines = new StatsdLines({ series: this.#series, bad: this.#bad, now, seed })
    this.#stop = (options.every ?? every)(flushMs, () => this.flush())
  }

  /**
   * Takes one packet, or part of a stream that ends at a line break: lines separated by `\n` or `\r\n`; the last need not
   * end with one. `bytes` from `start` (0) up to `end` (all); no hold of them is kept. Never throws.
   */
  packet(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    if (this.#closed) return
    this.#packets++
    this.#bytes += end - start
    this.#lines.take(bytes, start, end)
  }

  /** Makes frames of what was taken, and offers them, if the ring has room. */
  flush(): void {
    this.#report(false)
    if (this.#options.full() || !this.#offerPending() || this.#sealed === this.#lines.metrics) return
    this.#seal()
    this.#offerPending()
    const now = this.#now()
    if (this.#series.size * 2 <= this.#maxSeries || Math.abs(now - this.#sweptMs) < SWEEP_MS) return
    this.#sweptMs = now
    this.#series.forgetIdle()
  }

  /** Offers what is left, full or not, and takes nothing more. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stop()
    this.#report(true)
    this.#seal()
    if (this.#offerPending()) return
    this.#lostFrames += this.#pending.length
    this.#warn(`statsd: ${this.#pending.length} frames were lost at the end, because the ring is full`)
    this.#pending = []
  }

  stats(): StatsdStats {
    const { lines, metrics, events, checks } = this.#lines
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      lines,
      metrics,
      bad: this.#bad.total,
      badByReason: { ...this.#bad.counts },
      events,
      checks,
      overflowed: this.#series.overflowed,
      series: this.#series.size,
      lostFrames: this.#lostFrames,
    }
  }

  #seal(): void {
    this.#sealed = this.#lines.metrics
    this.#pending = [...this.#pending, ...this.#series.seal()]
  }

  #offerPending(): boolean {
    if (this.#pending.length > 0 && !this.#options.offer(this.#pending)) return false
    this.#pending = []
    return true
  }

  #report(last: boolean): void {
    const message = this.#bad.report(this.#now(), last)
    if (message !== undefined) this.#warn(message)
  }

  #warn(message: string): void {
    this.#options.onWarning?.(message)
  }
}

function checkOptions(level: string, flushMs: number, maxSeries: number): void {
  try {
    checkLevel(level)
  } catch (cause) {
    if (!(cause instanceof InvalidMeasurementError)) throw cause
    throw new UsageError(`statsd: ${cause.message}`, { cause })
  }
  if (!(flushMs > 0 && flushMs < 2 ** 31)) {
    throw new UsageError(`statsd: frames cannot be made every ${flushMs} ms; give a time over 0, such as 250`)
  }
  if (!(maxSeries >= 1 && maxSeries <= MOST_SERIES)) {
    throw new UsageError(`statsd: maxSeries must lie from 1 to ${MOST_SERIES}, not ${maxSeries}`)
  }
}

function every(intervalMs: number, call: () => void): () => void {
  const timer = setInterval(call, intervalMs)
  // sockets keep the program alive, if anything
  timer.unref()
  return () => clearInterval(timer)
}
