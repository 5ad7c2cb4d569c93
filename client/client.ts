import { durationMs } from './duration.ts'
import { UsageError } from './errors.ts'
import type { Platform, Publishable, ZibratoOptions } from './options.ts'
import type { BaseRecorder } from './registry/base-recorder.ts'
import { Defaults } from './registry/defaults.ts'
import { sleep } from './sleep.ts'
import type { Transport } from './transport/transport.ts'
import type { Warning, WarningSink } from './warning.ts'
import { DEFAULT_SOURCE, checkLevel, seriesKey } from './wire/series.ts'
import type { ZibratoStats } from './stats.ts'

/** What a client and its children share: the recorder, the transport, and when one empties into the other. */
export class Client {
  readonly platform: Platform
  readonly recorder: BaseRecorder
  readonly transport: Transport
  readonly #defaults: Defaults
  readonly #lingerMs: number
  readonly #closeTimeoutMs: number
  readonly #registry: Publishable | undefined
  readonly #reported: Record<string, number> = {}
  #stop: (() => void)[] = []
  #closing: Promise<void> | undefined

  constructor(
    options: ZibratoOptions,
    platform: Platform,
    defaults: Defaults,
    transport: Transport,
    warn: WarningSink,
  ) {
    this.platform = platform
    this.transport = transport
    this.#defaults = defaults
    this.#lingerMs = durationMs(options.linger ?? platform.lingerMs ?? 0)
    this.#closeTimeoutMs = durationMs(options.closeTimeout ?? platform.closeTimeoutMs ?? 5_000)
    const intervalMs = durationMs(options.flushInterval ?? 5_000)
    const { clock, maxSeries, registry } = options
    this.#registry = registry
    this.recorder = platform.recorder(registry, {
      maxSeries,
      immediate: intervalMs === 0,
      carries: transport.carries,
      onFrame: (frame) => transport.send([frame]),
      now: clock === undefined ? Date.now : () => clock.now(),
      clock: clock === undefined ? () => performance.now() : () => clock.elapsed?.() ?? clock.now(),
      warn,
      seal: () => this.seal(),
    })
    // at 0 the timer still serves gauges that are observed or say their value again
    const stopTimer = platform.every?.(intervalMs === 0 ? 5_000 : intervalMs, () => this.seal())
    if (stopTimer !== undefined) this.#stop.push(stopTimer)
    if (options.exitHooks !== false && options.transport === undefined) {
      const undo = platform.onExit?.(this)
      if (undo !== undefined) this.#stop.push(undo)
    }
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
    if (transport.pull !== undefined) {
      if ((await transport.pull(timeoutMs, seal)) && this.#report()) await transport.pull(timeoutMs, seal)
      return
    }
    this.seal()
    await transport.drain(timeoutMs)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  stats(): ZibratoStats {
    const transport = this.transport.stats()
    return {
      ...transport,
      dropped: { ...transport.dropped, ...this.recorder.dropped },
      series: this.recorder.size,
      overflowed: this.recorder.overflowed,
    }
  }

  /** Counts what was lost since it was last said, where nobody can ask the program for its {@link stats}; answers whether anything was. */
  #report(): boolean {
    const { dropped, unknown } = this.stats()
    let isNews = false
    for (const [reason, count] of Object.entries({ ...dropped, unknown })) {
      const value = count - (this.#reported[reason] ?? 0)
      this.#reported[reason] = count
      if (value === 0) continue
      isNews = true
      this.recorder.record({ type: 'counter', name: 'zibrato.dropped', value, tags: { reason } }, this.#defaults)
    }
    return isNews
  }

  async #close(): Promise<void> {
    for (const stop of this.#stop.splice(0)) stop()
    this.seal()
    this.#registry?.release()
    await this.transport.close(this.#closeTimeoutMs)
  }
}

/** @throws UsageError naming the option that makes no sense */
export function createClient(options: ZibratoOptions, platform: Platform): [Client, Defaults] {
  const warn = warningSink(options, platform)
  const defaults =
    platform.defaults?.(options) ??
    new Defaults(
      options.level ?? platform.env('ZIBRATO_LEVEL') ?? 'info',
      options.source ?? platform.env('ZIBRATO_SOURCE') ?? DEFAULT_SOURCE,
      options.tags ?? {},
    )
  try {
    checkLevel(defaults.level)
    seriesKey('name', defaults.source, defaults.tags)
  } catch (cause) {
    throw new UsageError(`Zibrato: ${(cause as Error).message}`, { cause })
  }
  for (const name of ['maxSeries', 'waitingBytes', 'sentBytes'] as const) {
    const value = options[name]
    if (value !== undefined && !(value >= 1)) {
      throw new UsageError(`Zibrato: ${name} ${String(value)} makes no sense; give a number from 1 up, or leave it out`)
    }
  }
  const transport = platform.open(options, defaults, warn)
  try {
    return [new Client(options, platform, defaults, transport, warn), defaults]
  } catch (error) {
    void transport.close(0)
    throw error
  }
}

/** A sink that never throws, whatever the program's does. */
function warningSink({ onWarning }: ZibratoOptions, platform: Platform): WarningSink {
  return (warning: Warning) => {
    try {
      platform.publishWarning?.(warning, onWarning !== undefined)
      onWarning?.(warning)
    } catch {
      // recording must not suffer from a listener's error
    }
  }
}
