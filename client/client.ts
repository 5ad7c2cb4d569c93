import { unfit } from './describe.ts'
import { durationMs } from './duration.ts'
import { UsageError } from './errors.ts'
import type { Platform, ZibratoOptions } from './options.ts'
import type { BaseRecorder } from './registry/base-recorder.ts'
import type { Defaults } from './registry/defaults.ts'
import { recordLosses } from './registry/losses.ts'
import { sleep } from './sleep.ts'
import type { Transport } from './transport/transport.ts'
import type { ZibratoStats } from './stats.ts'

/** What a client and its children share: the recorder, the transport, and when one empties into the other. */
export class Client {
  /** Those of the client that is no child. */
  readonly defaults: Defaults
  readonly recorder: BaseRecorder
  readonly transport: Transport
  readonly #lingerMs: number
  readonly #closeTimeoutMs: number
  readonly #stop: (() => void) | undefined
  readonly #reported: Record<string, number> = {}
  #closing: Promise<void> | undefined

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ZibratoOptions, platform: Platform) {
    for (const name of ['maxSeries', 'waitingBytes', 'sentBytes'] as const) {
      const value = options[name] ?? 1
      if (!(value >= 1)) throw unfit(`Zibrato: ${name}`, 'a number from 1 up', value, UsageError)
    }
    this.#lingerMs = durationMs(options.linger ?? platform.lingerMs)
    this.#closeTimeoutMs = durationMs(options.closeTimeout ?? platform.closeTimeoutMs)
    const immediate = durationMs(options.flushInterval ?? 5_000) === 0
    const warn = platform.sink(options.onWarning)
    this.defaults = platform.defaults(options)
    const transport = platform.open(options, this.defaults, warn)
    this.transport = transport
    this.recorder = platform.recorder(
      {
        ...options,
        immediate,
        carries: transport.carries,
        onFrame: (frame) => transport.send([frame]),
        warn,
      },
      options,
      this,
    )
    this.#stop = platform.start?.(this, options)
  }

  /** Hands the transport frames of what was recorded. */
  seal(): void {
    const frames = this.recorder.seal()
    if (frames.length > 0) this.transport.send(frames)
  }

  async flush(timeoutMs: number = this.#closeTimeoutMs): Promise<void> {
    const { transport } = this
    if (this.#lingerMs > 0) await sleep(this.#lingerMs)
    const seal = (): void => this.seal()
    if (transport.pull === undefined) {
      seal()
      await transport.drain(timeoutMs)
    } else {
      const deadlineMs = performance.now() + timeoutMs
      if ((await transport.pull(timeoutMs, seal)) && this.#report()) {
        await transport.pull(deadlineMs - performance.now(), seal)
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  stats(): ZibratoStats {
    const { dropped, ...transport } = this.transport.stats()
    const { recorder } = this
    return {
      ...transport,
      dropped: { ...dropped, ...recorder.dropped },
      series: recorder.size,
      overflowed: recorder.overflowed,
    }
  }

  /** Tells of what was lost where nobody can ask the program for its {@link stats}; answers whether anything was. */
  #report(): boolean {
    return recordLosses(this.recorder, this.defaults, this.stats(), this.#reported)
  }

  #close(): Promise<void> {
    this.seal()
    this.#stop?.()
    return this.transport.close(this.#closeTimeoutMs)
  }
}
