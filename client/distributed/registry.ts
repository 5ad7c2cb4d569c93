import cluster from 'node:cluster'
import { isMainThread, threadId } from 'node:worker_threads'
import type { Gauge } from '../instruments/gauge.ts'
import { Zibrato } from '../platform/node.ts'
import { Registry, type RegistryGaugeOptions, type RegistryOptions } from '../registry/registry.ts'
import type { ZibratoStats } from '../stats.ts'
import { Address } from './address.ts'

/** What `new DistributedRegistry(...)` takes. Durations are milliseconds, or a text such as `'5s'`. */
export interface DistributedOptions<Level extends string = string> extends RegistryOptions<Level> {
  /** Where the aggregator listens: `ipc://path`. Default `ZIBRATO_AGGREGATOR`, else a file in a directory of this user. */
  readonly address?: string | undefined
  /** What this process is called by gauges that are `perProcess`. Default `worker-1`, `thread-1` or `pid-4711`. */
  readonly process?: string | undefined
  /** How long measurements are gathered before the aggregator gets them; 0 sends each at once. Default 1 s. */
  readonly flushInterval?: number | string | undefined
  /** How long `flush` and `close` wait for the aggregator. Default 5 s. */
  readonly closeTimeout?: number | string | undefined
  /** Whether to flush before the program exits and on SIGTERM and SIGINT. Default true. */
  readonly exitHooks?: boolean | undefined
}

/** What `gauge` takes. */
export interface DistributedGaugeOptions<Level extends string = string> extends RegistryGaugeOptions<Level> {
  /** Whether each process keeps a value of its own, told apart by the tag `process`. Default false: they become one, by `combine`. */
  readonly perProcess?: boolean | undefined
}

/**
 * A registry in one of several processes or threads, which hands what is recorded on to their {@link RegistryAggregator}. What it
 * answers itself, such as `getStats`, is of this process alone.
 *
 * It may be made before the aggregator is there, does not keep a program alive, and flushes before it ends.
 */
export class DistributedRegistry<Level extends string = string> extends Registry<Level> implements AsyncDisposable {
  readonly #client: Zibrato<Level>
  readonly #process: string

  /** @throws UsageError naming the option that makes no sense, or a socket that is another user's */
  constructor(options: DistributedOptions<Level> = {}) {
    super(options)
    const address = new Address(options.address)
    address.secure()
    const { flushInterval = '1s', closeTimeout, exitHooks, onWarning } = options
    this.#process = options.process ?? ownName()
    this.#client = new Zibrato({
      registry: this,
      url: address.url,
      flushInterval,
      closeTimeout,
      exitHooks,
      onWarning,
    })
  }

  override gauge<Tag extends string = string>(
    name?: string,
    options: DistributedGaugeOptions<Level> | (() => number) = {},
  ): Gauge<Tag> {
    if (typeof options === 'function' || options.perProcess !== true) return super.gauge(name, options)
    const { perProcess: _, ...rest } = options
    return super.gauge(name, { ...rest, tags: { process: this.#process, ...rest.tags } })
  }

  /** Hands on what was recorded and waits, up to `closeTimeout`, until the aggregator says that it has it. Never rejects. */
  flush(): Promise<void> {
    return this.#client.flush()
  }

  /** Flushes, and hands nothing on any more. Idempotent; never rejects. */
  close(): Promise<void> {
    return this.#client.close()
  }

  /** Whether the aggregator is there. */
  connected(): boolean {
    return this.#client.connected()
  }

  /** What became of the frames that were handed on, and of measurements not taken. */
  stats(): ZibratoStats {
    return this.#client.stats()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function ownName(): string {
  if (!isMainThread) return `thread-${threadId}`
  return cluster.worker === undefined ? `pid-${process.pid}` : `worker-${cluster.worker.id}`
}
