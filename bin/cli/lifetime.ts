import type { Logger } from './log.ts'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const

/** Signals this close together are one: whoever presses Ctrl-C under npm sends it from the terminal and through npm. */
const SAME_SIGNAL_MS = 250

/** How much longer than it was told to wait, for delivering and again for closing, a part may take to stop. */
const ALLOWANCE_MS = 5_000

interface Part {
  readonly name: string
  readonly stop: () => Promise<void>
}

/**
 * The life of a command that serves until it is told to stop. What it consists of is stopped in the order opposite to that
 * in which it was named here, also when only half of it was started, and without waiting forever for any.
 */
export class Lifetime {
  readonly #log: Logger
  readonly #limitMs: number
  readonly #parts: Part[] = []
  #end: (() => void) | undefined
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve))
  #signalledMs = Number.NaN
  #stopping = false
  #failed = false

  /** @param stopTimeoutMs how long parts wait for others when they stop */
  constructor(log: Logger, stopTimeoutMs: number) {
    this.#log = log
    this.#limitMs = 2 * stopTimeoutMs + ALLOWANCE_MS
  }

  /** Whether it was told to stop, or failed. */
  get ending(): boolean {
    return this.#stopping
  }

  /** Names a part before it is started. @throws when it need not be started any more */
  owns(name: string, stop: () => Promise<void>): void {
    if (this.#stopping) throw new Error(`${name} is not started: told to stop`)
    this.#parts.push({ name, stop })
  }

  /** Ends it all, with exit code 1, because a part cannot go on. */
  fail(error: unknown): void {
    // what breaks while all is ending is told of where it is waited for
    if (this.#failed) return
    this.#failed = true
    this.#log.fatal({ error: messageOf(error) }, 'failed, stopping')
    this.#log.debug({ stack: (error as Error | undefined)?.stack }, 'where it failed')
    this.#end?.()
  }

  /**
   * Starts it, waits for SIGTERM, SIGINT, SIGQUIT or a failure, and stops it. A second signal ends the process at once.
   *
   * @returns the exit code: 0, or 1 when something failed or did not stop in time
   * @throws what `start` throws, when everything that was started before it is stopped again
   */
  async run(start: () => Promise<void>): Promise<number> {
    const onSignal = (signal: NodeJS.Signals): void => this.#signal(signal)
    const onError = (error: unknown): void => this.fail(error)
    for (const signal of SIGNALS) process.on(signal, onSignal)
    // a stray error of a module must not cost the window at hand
    process.on('uncaughtException', onError)
    try {
      // told to stop halfway, it need not finish starting
      const started = start()
      await Promise.race([started, this.#ended])
      started.catch(() => {})
      await this.#ended
    } finally {
      this.#stopping = true
      for (const part of this.#parts.toReversed()) await this.#stop(part)
      process.off('uncaughtException', onError)
      for (const signal of SIGNALS) process.off(signal, onSignal)
    }
    this.#log.info('stopped')
    return this.#failed ? 1 : 0
  }

  #signal(signal: NodeJS.Signals): void {
    const now = performance.now()
    if (Number.isNaN(this.#signalledMs)) {
      this.#signalledMs = now
      this.#log.info({ signal }, 'stopping')
      this.#end?.()
    } else if (now - this.#signalledMs > SAME_SIGNAL_MS) {
      this.#log.warn({ signal }, 'told twice, exiting at once')
      process.exit(1)
    }
  }

  async #stop({ name, stop }: Part): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), this.#limitMs)
    })
    try {
      if ((await Promise.race([stop(), late])) !== 'late') return
      this.#log.error({ part: name, seconds: this.#limitMs / 1000 }, 'does not stop, left behind')
    } catch (error) {
      this.#log.error({ part: name, error: messageOf(error) }, 'did not stop cleanly')
    } finally {
      clearTimeout(timer)
    }
    this.#failed = true
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
