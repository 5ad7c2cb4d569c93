import type { Writable } from 'node:stream'
import { jsonText } from './json.ts'
import { ScheduledReporter, type ScheduledOptions } from './scheduled.ts'

export interface StreamReporterOptions extends ScheduledOptions {
  /** Where lines go. It stays yours: nothing ends it. Default: stdout. */
  readonly stream?: Writable | undefined
}

/**
 * Writes what `getStats()` answers as one line of JSON every interval. A report ends when the stream has taken its line, so a
 * slow one gets fewer lines, and none wait in memory.
 */
export class StreamReporter extends ScheduledReporter {
  readonly #stream: Writable
  readonly #ignore = (): void => {}

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: StreamReporterOptions = {}) {
    super(options)
    this.#stream = options.stream ?? process.stdout
  }

  async report(): Promise<void> {
    const line = `${await jsonText(this.registry)}\n`
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(line, (error) => (error instanceof Error ? reject(error) : resolve()))
    })
  }

  protected override opened(): void {
    // what a write fails with comes to its callback too; without a listener it would end the program
    this.#stream.on('error', this.#ignore)
  }

  protected override async closed(): Promise<void> {
    // a failed write is told of a moment later
    await new Promise((resolve) => setImmediate(resolve))
    this.#stream.off('error', this.#ignore)
  }
}
