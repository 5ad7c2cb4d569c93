import { durationMs } from './duration.ts'
import { UsageError } from './errors.ts'
import type { Platform, Publishable, ZibratoOptions } from './options.ts'
import { Defaults } from './registry/defaults.ts'
import { Recorder } from './registry/recorder.ts'
import { HttpTransport } from './transport/http.ts'
import { NowhereTransport } from './transport/nowhere.ts'
import type { SealedFrame, Transport } from './transport/transport.ts'
import type { Warning, WarningSink } from './warning.ts'
import { DEFAULT_SOURCE, checkLevel, seriesKey } from './wire/series.ts'
import type { ZibratoStats } from './stats.ts'

/** What a client and its children share: the recorder, the transport, and when one empties into the other. */
export class Client {
  readonly platform: Platform
  readonly recorder: Recorder
  readonly transport: Transport
  readonly #closeTimeoutMs: number
  readonly #registry: Publishable | undefined
  #stop: (() => void)[] = []
  #closing: Promise<void> | undefined

  constructor(options: ZibratoOptions, platform: Platform, transport: Transport, warn: WarningSink) {
    this.platform = platform
    this.transport = transport
    this.#closeTimeoutMs = durationMs(options.closeTimeout ?? 5_000)
    const intervalMs = durationMs(options.flushInterval ?? 5_000)
    const outlet = {
      immediate: intervalMs === 0,
      carries: transport.carries,
      onFrame: (frame: SealedFrame) => this.transport.send([frame]),
      warn,
    }
    const { clock, maxSeries, registry } = options
    this.#registry = registry
    this.recorder =
      registry?.publishTo({ ...outlet, seal: () => this.seal() }) ??
      new Recorder({
        ...outlet,
        maxSeries,
        now: clock === undefined ? Date.now : () => clock.now(),
        clock: clock === undefined ? () => performance.now() : () => clock.elapsed?.() ?? clock.now(),
        random: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
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

  async flush(): Promise<void> {
    this.seal()
    await this.transport.drain(this.#closeTimeoutMs)
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
  const defaults = defaultsOf(options, platform)
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
  checkFormat(options, defaults)
  const transport = options.transport ?? openTransport(options, platform, warn)
  try {
    return [new Client(options, platform, transport, warn), defaults]
  } catch (error) {
    void transport.close(0)
    throw error
  }
}

function defaultsOf(options: ZibratoOptions, platform: Platform): Defaults {
  const { registry } = options
  if (registry === undefined) {
    return new Defaults(
      options.level ?? platform.env('ZIBRATO_LEVEL') ?? 'info',
      options.source ?? platform.env('ZIBRATO_SOURCE') ?? DEFAULT_SOURCE,
      options.tags ?? {},
    )
  }
  for (const name of ['level', 'source', 'tags', 'maxSeries', 'clock'] as const) {
    if (options[name] !== undefined) {
      throw new UsageError(`Zibrato: ${name} belongs to the registry; give it to new Registry({ ${name} }) instead`)
    }
  }
  return registry.defaults
}

function openTransport(options: ZibratoOptions, platform: Platform, warn: WarningSink): Transport {
  const short =
    options.host === undefined && options.port === undefined
      ? undefined
      : `tcp://${bracketed(options.host ?? '127.0.0.1')}:${options.port ?? 5550}`
  const url = options.url ?? short ?? platform.env('ZIBRATO_URL') ?? platform.defaultUrl
  if (url === undefined || url === '') {
    warn({ code: 'ZIBRATO_NO_URL', message: 'no url and no ZIBRATO_URL: measurements go nowhere' })
    return new NowhereTransport()
  }
  if (/^https?:\/\//.test(url)) {
    if (options.format === 'text') {
      throw new UsageError(`Zibrato: format 'text' goes to a broker; give its tcp:// url, or leave out format`)
    }
    return new HttpTransport({
      url,
      token: options.token ?? platform.env('ZIBRATO_TOKEN'),
      waitingBytes: options.waitingBytes,
      every: platform.every,
      warn,
    })
  }
  if (/^tcp:\/\/.+:\d+$/.test(url)) {
    if (platform.openTcp === undefined) {
      throw new UsageError(
        `Zibrato: ${url} needs raw sockets, which there are none of here; use the gateway's https:// url`,
      )
    }
    const { curve, format, waitingBytes, sentBytes } = options
    return platform.openTcp({ url, curve, format, waitingBytes, sentBytes, warn })
  }
  throw new UsageError(`Zibrato: url ${JSON.stringify(url)} is neither tcp://host:port nor https://...`)
}

/** @throws UsageError for a format that is none, or that cannot say what every instrument would have to */
function checkFormat({ format, transport }: ZibratoOptions, { source, tags }: Defaults): void {
  if (format === undefined || format === 'frames') return
  if (format !== 'text') {
    throw new UsageError(`Zibrato: format ${JSON.stringify(format)} is neither 'frames' nor 'text'`)
  }
  if (transport !== undefined) {
    throw new UsageError(`Zibrato: format 'text' goes to a broker's tcp:// url; leave out transport, or format`)
  }
  if (source.includes('|') || Object.keys(tags).length > 0) {
    throw new UsageError(`Zibrato: text lines have no tags and no "|" in a source; leave them out, or format: 'text'`)
  }
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

/** A sink that never throws, whatever the program's does. */
function warningSink({ onWarning }: ZibratoOptions, platform: Platform): WarningSink {
  return (warning: Warning) => {
    try {
      platform.publishWarning?.(warning)
      onWarning?.(warning)
    } catch {
      // recording must not suffer from a listener's error
    }
  }
}
