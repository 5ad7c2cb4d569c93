import { channel } from 'node:diagnostics_channel'
import { durationMs } from '../duration.ts'
import { UsageError } from '../errors.ts'
import { defaultRegistry } from '../registry/default.ts'
import type { Registry } from '../registry/registry.ts'
import type { WarningSink } from '../warning.ts'
import type { Reporter } from './reporter.ts'

const warnings = channel('zibrato:warning')

/** What every reporter that reports by itself takes. Durations are milliseconds, or a text such as `'10s'`. */
export interface ScheduledOptions {
  /** Whose numbers. Default: the default registry. */
  readonly registry?: Registry | undefined
  /** How often. Default 10 s. */
  readonly interval?: number | string | undefined
  /** How long a report may take before its signal aborts, and how long `stop` waits for one. Default 10 s. */
  readonly timeout?: number | string | undefined
  /** Told when a report fails, once until one succeeds again; so is the diagnostics channel `zibrato:warning`. */
  readonly onWarning?: WarningSink | undefined
}

/**
 * Reports every so often: extend it with a {@link report} to send numbers wherever you like.
 *
 * Reports start at multiples of the interval since `start`, however long each takes. While one is under way no other starts;
 * the turn is skipped, and counted. What a report throws is counted and said, and stops nothing. The program is not kept alive.
 */
export abstract class ScheduledReporter implements Reporter {
  registry: Registry
  /** Reports that succeeded. */
  reports = 0
  /** Reports that failed. */
  errors = 0
  /** Turns left out because the report before was still under way. */
  skipped = 0
  readonly #intervalMs: number
  readonly #timeoutMs: number
  readonly #onWarning: WarningSink | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #startedMs = 0
  #turn = 0
  #running: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #isFailing = false

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ScheduledOptions = {}) {
    this.registry = options.registry ?? defaultRegistry
    this.#intervalMs = durationMs(options.interval ?? 10_000)
    this.#timeoutMs = durationMs(options.timeout ?? 10_000)
    this.#onWarning = options.onWarning
    if (!(this.#intervalMs >= 1)) {
      throw new UsageError(
        `reporter: an interval of ${String(options.interval)} makes no sense; give one such as '10s'`,
      )
    }
  }

  /** Sends the numbers as they are. The signal aborts when it takes too long. */
  abstract report(signal: AbortSignal): Promise<void> | void

  /** Begins; the first report comes after one interval. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    this.opened()
    this.#stopping = undefined
    this.#startedMs = performance.now()
    this.#turn = 0
    this.#schedule()
  }

  /** Waits for the report under way, if any, and reports a last time. */
  stop(): Promise<void> {
    if (this.#timer === undefined) return this.#stopping ?? Promise.resolve()
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#stopping = this.#stop()
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** Called when it starts. */
  protected opened(): void {}

  /** Called after the last report. */
  protected closed(): Promise<void> | void {}

  #schedule(): void {
    const sinceMs = performance.now() - this.#startedMs
    // a timer may be a little early
    this.#turn = Math.max(this.#turn, Math.floor(sinceMs / this.#intervalMs)) + 1
    this.#timer = setTimeout(
      () => {
        this.#schedule()
        if (this.#running === undefined) void this.#run()
        else this.skipped++
      },
      this.#turn * this.#intervalMs - sinceMs,
    )
    this.#timer.unref()
  }

  #run(): Promise<void> {
    this.#running ??= this.#attempt().finally(() => (this.#running = undefined))
    return this.#running
  }

  async #attempt(): Promise<void> {
    try {
      await this.report(AbortSignal.timeout(this.#timeoutMs))
      this.reports++
      this.#isFailing = false
    } catch (error) {
      this.#failed(error)
    }
  }

  async #stop(): Promise<void> {
    if (this.#running !== undefined) await this.#atMost(this.#running)
    // one that hangs is not overtaken
    if (this.#running === undefined) await this.#atMost(this.#run())
    try {
      await this.closed()
    } catch (error) {
      this.#failed(error)
    }
  }

  async #atMost(report: Promise<void>): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<'late'>((resolve) => {
      // a moment more than the signal gives, so that a report that heeds it is heard
      timer = setTimeout(() => resolve('late'), this.#timeoutMs + 100)
    })
    if ((await Promise.race([report, late])) === 'late') {
      this.#failed(new Error(`a report took longer than ${this.#timeoutMs} ms`))
    }
    clearTimeout(timer)
  }

  #failed(error: unknown): void {
    this.errors++
    if (this.#isFailing) return
    this.#isFailing = true
    const why = error instanceof Error ? error.message : String(error)
    const warning = { code: 'ZIBRATO_REPORT', message: `${this.constructor.name}: a report failed: ${why}` }
    try {
      warnings.publish(warning)
      this.#onWarning?.(warning)
    } catch {
      // a listener's own error is no reason to stop
    }
  }
}
