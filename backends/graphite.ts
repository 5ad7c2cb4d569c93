import { Backend, type Window } from './backend.ts'
import { type GraphiteOptions, checkGraphiteOptions, graphiteOptions } from './graphite/options.ts'
import { type OwnFigures, Report } from './graphite/report.ts'
import { sendStream } from './stream.ts'
import { BackendUrl } from './url.ts'

export type { GraphiteOptions, TimerHistogram } from './graphite/options.ts'

/**
 * `graphite://host:2003`: what statsd 0.9 would have sent there, by its names and options. Each window goes over a connection
 * of its own and counts as taken once carbon has read it to the end.
 */
export class GraphiteBackend extends Backend {
  readonly name = 'graphite'
  override readonly idempotent = true
  // what it tells of itself is about the whole, and series of one name have to meet
  override readonly wholeWindows = true
  readonly #to: { readonly host: string; readonly port: number }
  readonly #label: string
  readonly #report: Report
  readonly #own: OwnFigures = { last_flush: nowSeconds(), last_exception: 0, flush_time: 0, flush_length: 0 }

  /** @throws UsageError for an option that makes no sense */
  constructor(from: BackendUrl | GraphiteOptions) {
    super()
    const options = from instanceof BackendUrl ? graphiteOptions(from) : from
    const { host, port = 2003 } = options
    this.#to = { host, port }
    this.#label = from instanceof BackendUrl ? from.label : `${host.includes(':') ? `[${host}]` : host}:${port}`
    checkGraphiteOptions(options, this.#label)
    this.#report = new Report(options)
  }

  override async flush(window: Window, signal: AbortSignal): Promise<void> {
    const begun = performance.now()
    let length = 0
    const text = this.#report.text(window, this.#own)
    async function* counted(): AsyncGenerator<string, void, undefined> {
      for await (const chunk of text) {
        length += chunk.length
        yield chunk
      }
    }
    try {
      await sendStream(counted(), { name: this.name, label: this.#label, to: this.#to, signal })
    } catch (error) {
      this.#own.last_exception = nowSeconds()
      throw error
    }
    this.#own.flush_length = length
    this.#own.flush_time = Math.round(performance.now() - begun)
    this.#own.last_flush = nowSeconds()
  }
}

function nowSeconds(): number {
  return Math.round(Date.now() / 1000)
}
