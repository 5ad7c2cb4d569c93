import type { Clock } from './clock.ts'
import type { Defaults } from './registry/defaults.ts'
import type { Recorder } from './registry/recorder.ts'
import type { Combine } from './sketch/combine.ts'
import type { Tags } from './wire/series.ts'
import type { Transport } from './transport/transport.ts'
import type { CurveKeys } from './curve.ts'
import type { BaseRecorder, BaseRecorderOptions, Outlet } from './registry/base-recorder.ts'
import type { WarningSink } from './warning.ts'

/** What `new Zibrato(...)` takes. Durations are milliseconds, or a text such as `'5s'`. */
export interface ZibratoOptions<Level extends string = string> {
  /**
   * Where frames go: `tcp://host:5550` (a broker, on Node) or `https://...` (a gateway, anywhere). Default `ZIBRATO_URL`;
   * without it `tcp://127.0.0.1:5550` on Node, and nowhere, with one warning, on the edge.
   */
  readonly url?: string | undefined
  /** Short for `tcp://host:port`. Defaults 127.0.0.1 and 5550. */
  readonly host?: string | undefined
  readonly port?: number | undefined
  /** The gateway's token. Default `ZIBRATO_TOKEN`. */
  readonly token?: string | undefined
  /**
   * What travels to a broker: frames, or `text`, the lines of Zibrato for Python 0.2, for brokers and subscribers that know
   * nothing else. Default `frames`.
   */
  readonly format?: 'frames' | 'text' | undefined
  /** CURVE keys of a broker that asks for them. */
  readonly curve?: CurveKeys | undefined
  /** Where measurements are made. Default `ZIBRATO_SOURCE`, else `not_specified`. */
  readonly source?: string | undefined
  /** Level of instruments that name none. Default `ZIBRATO_LEVEL`, else `info`. */
  readonly level?: Level | undefined
  /** Tags of every instrument. */
  readonly tags?: Tags | undefined
  /** How long measurements are gathered into frames; 0 sends each at once. Default 5 s. */
  readonly flushInterval?: number | string | undefined
  /** How long `flush` waits first, so that what is recorded meanwhile goes out with it. Default 50 ms on the edge, else 0. */
  readonly linger?: number | string | undefined
  /** How long `flush` and `close` wait for what goes out. Default 5 s; on the edge 20 s, because failed posts are tried again there only while somebody waits. */
  readonly closeTimeout?: number | string | undefined
  /** Series at the most, then `zibrato.overflow` takes new ones. Default 5,000. */
  readonly maxSeries?: number | undefined
  /** Bytes of frames that wait for a connection, or for a gateway's answer, the oldest dropped beyond. Default 16 MB, on the edge 1 MB. */
  readonly waitingBytes?: number | undefined
  /** Bytes of sent frames kept 15 s for replay. Default 16 MB. */
  readonly sentBytes?: number | undefined
  /** Whether to flush before the program exits and on SIGTERM and SIGINT (Node). Default true. */
  readonly exitHooks?: boolean | undefined
  /** Called with what deserves a look; also on the diagnostics channel `zibrato:warning` on Node. */
  readonly onWarning?: WarningSink | undefined
  /**
   * Publishes the instruments of a `Registry`, which can be read in the program too. `source`, `level`, `tags`, `maxSeries`
   * and `clock` are then the registry's.
   */
  readonly registry?: Publishable | undefined
  /** Sends frames in place of what `url` names. */
  readonly transport?: Transport | undefined
  /** The wall clock in ms since the epoch, and a clock for durations in ms. For tests. */
  readonly clock?: Clock | undefined
}

/** What distinguishes one instrument from others of its name. */
export interface InstrumentOptions<Level extends string = string> {
  /** Who receives it. Default: the client's. */
  readonly level?: Level | undefined
  /** Where it is measured. Default: the client's. */
  readonly source?: string | undefined
  /** Added to the client's tags. */
  readonly tags?: Tags | undefined
  /** Tag keys that `with` takes; others are dropped and counted. Default: all. */
  readonly allowTags?: readonly string[] | undefined
}

export interface GaugeOptions<Level extends string = string> extends InstrumentOptions<Level> {
  /** What several publishers' newest readings become. Default `last`. */
  readonly combine?: Combine | undefined
}

/** A registry whose instruments a client can publish. */
export interface Publishable {
  /** @internal */
  readonly defaults: Defaults
  /** @internal */
  publishTo(outlet: Outlet & { seal(): void }): Recorder
  /** @internal */
  release(): void
}

/** Calls back every so often without keeping the program alive; answers what stops it. */
export type Every = (intervalMs: number, call: () => void) => () => void

/** What differs between runtimes. */
export interface Platform {
  /** The registry's, where there can be one. @throws UsageError for options that make no sense, or go with it and not with the client */
  defaults(options: ZibratoOptions): Defaults
  /** A sink that tells `onWarning`, and the runtime's own channel, and never throws. */
  sink(onWarning: WarningSink | undefined): WarningSink
  /** @throws UsageError when the options do not say where frames go, or what cannot be had here */
  open(options: ZibratoOptions, defaults: Defaults, warn: WarningSink): Transport
  /** What records: the registry's, where there can be one, or a new one. */
  recorder(outlet: BaseRecorderOptions, options: ZibratoOptions, client: Sealing): BaseRecorder
  /** How long a flush waits for what others record meanwhile, unless told. */
  readonly lingerMs: number
  /** How long `flush` and `close` wait for what goes out, unless told. */
  readonly closeTimeoutMs: number
  /** Starts what a client does by itself; answers what stops it, once the last frames are made. */
  start?(client: Sealing & Closable, options: ZibratoOptions): () => void
}

/** What has recorded measurements and sends frames of them. */
export interface Sealing {
  readonly transport: Transport
  seal(): void
}

/** What is to be told before the program ends; neither rejects. */
export interface Closable {
  flush(): Promise<void>
  close(): Promise<void>
}
