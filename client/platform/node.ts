import { Client } from '../client.ts'
import type { Instrument } from '../instruments/instrument.ts'
import type { Measurement } from '../measurement.ts'
import type { Every, GaugeOptions, Platform, ZibratoOptions } from '../options.ts'
import type { Defaults } from '../registry/defaults.ts'
import { ZmqTransport } from '../transport/zmq.ts'
import { type Tags, type Type, seriesKey } from '../wire/series.ts'
import { type ChildOptions, Zibrato as AnyZibrato } from '../zibrato.ts'
import { type Openers, openTransport } from './open.ts'
import { ofProcess, started, withRegistry } from './process.ts'
import { TagScope } from './tag-scope.ts'

const env = (name: string): string | undefined => process.env[name]

const every: Every = (intervalMs, call) => {
  const timer = setInterval(call, intervalMs).unref()
  return () => clearInterval(timer)
}

const openers: Openers = {
  env,
  defaultUrl: 'tcp://127.0.0.1:5550',
  openTcp: ({ waitingBytes, sentBytes, ...options }) =>
    new ZmqTransport({
      ...options,
      ...(waitingBytes === undefined ? {} : { waitingBytes }),
      ...(sentBytes === undefined ? {} : { sentBytes }),
    }),
  every,
}

const platform: Platform = {
  ...withRegistry(env),
  ...ofProcess,
  open: (options, defaults, warn) => openTransport(options, defaults, warn, openers),
  start: (client, options) => started(client, options, { every, outOfWork: true }),
}

/** {@link AnyZibrato} for Node: publishes over ZeroMQ or HTTP, on a timer, and flushes before the program ends. */
export class Zibrato<Level extends string = string> extends AnyZibrato<Level> {
  // shared with children
  readonly #scope: TagScope

  /**
   * @param inherited not for users: what a child shares with its parent
   * @throws UsageError naming the option that makes no sense
   */
  constructor(options: ZibratoOptions<Level> = {}, inherited?: [Client, Defaults, TagScope]) {
    super(inherited?.[0] ?? new Client(options, platform), inherited?.[1])
    this.#scope = inherited?.[2] ?? new TagScope()
  }

  override child(options: ChildOptions<Level>): Zibrato<Level> {
    return new Zibrato<Level>({}, [...this.inherit(options), this.#scope])
  }

  /**
   * Calls `body` and returns what it returns. Handles that it obtains of this client or its children, also later and
   * asynchronously, carry the tags, and so does what it hands to `record`; handles obtained before are what they were. Scopes
   * within scopes add up. An instrument's own tags go before the scope's, and those before the client's.
   *
   * ```ts
   * z.withTags({ tenant }, () => handle(request))
   * ```
   *
   * @throws InvalidMeasurementError for tags that no series may have
   */
  withTags<Result>(tags: Tags, body: () => Result): Result {
    seriesKey('name', '', tags)
    return this.#scope.run(tags, body)
  }

  override record(measurement: Measurement<Level>): boolean {
    const scoped = this.#scope.tags
    return super.record(scoped === undefined ? measurement : withTags(measurement, scoped))
  }

  /** @internal */
  protected override handle(type: Type, name: string, options?: GaugeOptions<Level>): Instrument {
    const scoped = this.#scope.tags
    return super.handle(
      type,
      name,
      scoped === undefined ? options : { ...options, tags: { ...scoped, ...options?.tags } },
    )
  }
}

/** The measurement with further tags; as it is when it makes no sense, which whoever takes it will say. */
function withTags<Level extends string>(measurement: Measurement<Level>, scoped: Tags): Measurement<Level> {
  try {
    const { tags } = measurement
    const isObject = typeof tags === 'object' && tags !== null && !Array.isArray(tags)
    return tags === undefined || isObject ? { ...measurement, tags: { ...scoped, ...tags } } : measurement
  } catch {
    return measurement
  }
}
