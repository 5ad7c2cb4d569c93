import type { Sink } from './sink.ts'
import type { StatsdStats } from './statsd.ts'

export interface StatsdFiguresOptions {
  readonly sink: Sink
  readonly stats: () => Pick<StatsdStats, 'packets' | 'lines' | 'bad'>
  /** What the names begin with: statsd's `prefixStats`. */
  readonly prefix: string
  /** The level of the lines. Default `info`. */
  readonly level?: string | undefined
  /** How often they are told, ms; more often than windows end, so that each has them. */
  readonly everyMs: number
}

/**
 * What statsd counts of itself, as series by its names: `statsd.packets_received`, `.metrics_received` (lines) and
 * `.bad_lines_seen`, also while nothing comes, and `.timestamp_lag`, which windows that are aligned to the clock do not
 * have.
 */
export class StatsdFigures {
  readonly #options: StatsdFiguresOptions
  readonly #timer: ReturnType<typeof setInterval>
  #told = { packets: 0, lines: 0, bad: 0 }
  #closed = false

  constructor(options: StatsdFiguresOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#tell(), options.everyMs)
    this.#timer.unref()
    this.#tell()
  }

  /** Tells the last of it; the sink is to be closed after. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    this.#tell()
  }

  #tell(): void {
    const { sink, stats, prefix, level } = this.#options
    // what is not told now is told with what comes
    if (sink.full && !this.#closed) return
    const { packets, lines, bad } = stats()
    const told = this.#told
    this.#told = { packets, lines, bad }
    const counters = [
      ['bad_lines_seen', bad - told.bad],
      ['packets_received', packets - told.packets],
      ['metrics_received', lines - told.lines],
    ] as const
    for (const [name, value] of counters) sink.record({ type: 'counter', name: `${prefix}.${name}`, value, level })
    sink.record({ type: 'gauge', name: `${prefix}.timestamp_lag`, value: 0, level })
    // the sink says itself what does not go out
    if (!this.#closed) sink.sealed().catch(() => {})
  }
}
