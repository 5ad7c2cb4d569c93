import { type Figure, exposition } from './figures.ts'
import type { FrameSink } from './ingest/sink.ts'
import { StatsdIntake, type StatsdOptions, type StatsdStats } from './ingest/statsd.ts'
import type { LineReader } from './listen/reader.ts'
import type { StreamLimits, StreamStats } from './listen/streams.ts'
import { TcpListener, type TcpListenerOptions } from './listen/tcp.ts'
import { type DatagramStats, UnixDatagramListener, type UnixDatagramListenerOptions } from './listen/unix-datagram.ts'
import { UnixListener, type UnixListenerOptions } from './listen/unix.ts'
import { UdpListener, type UdpListenerOptions, type UdpStats } from './listen/udp.ts'

type Own = 'reader' | 'onWarning' | 'insecure' | keyof StreamLimits

/** Where lines may come from. */
export type StatsdSource =
  | ({ readonly kind: 'udp' } & Omit<UdpListenerOptions, Own>)
  | ({ readonly kind: 'tcp' } & Omit<TcpListenerOptions, Own>)
  | ({ readonly kind: 'unix' } & Omit<UnixListenerOptions, Own>)
  | ({ readonly kind: 'unix-datagram' } & Omit<UnixDatagramListenerOptions, Own>)

export interface StatsdGatewayOptions extends Omit<StatsdOptions, 'offer' | 'full'>, StreamLimits {
  /** Where frames go: a `BrokerSink`, or the `lines` of a `JournalSink`. */
  readonly sink: FrameSink
  /** Where to listen; default UDP at 127.0.0.1:8125. */
  readonly listeners?: readonly StatsdSource[]
  /** Listen beyond this machine: whoever reaches the port can send. */
  readonly insecure?: boolean
}

/** What every listener can do. */
interface Listener {
  readonly url: string
  start(): Promise<void>
  close(): Promise<void>
  stats(): UdpStats | StreamStats | DatagramStats
}

/** Figures since the start: what became of lines, and by listener what came. */
export interface StatsdGatewayStats extends StatsdStats {
  /** By URL. */
  readonly listeners: Readonly<Record<string, UdpStats | StreamStats | DatagramStats>>
}

/**
 * Takes lines of StatsD and DogStatsD over UDP, TCP and Unix sockets.
 *
 * ```ts
 * const sink = new BrokerSink({ broker: 'tcp://127.0.0.1:5550', warn: console.warn })
 * const statsd = await startStatsd({ sink, listeners: [{ kind: 'udp' }, { kind: 'unix', path: '/run/statsd.sock' }] })
 * ```
 */
export class StatsdGateway implements AsyncDisposable {
  readonly #intake: StatsdIntake
  readonly #listeners: readonly (readonly [kind: StatsdSource['kind'], listener: Listener])[]
  #closing: Promise<void> | undefined

  /** @throws UsageError for an option that makes no sense */
  constructor(options: StatsdGatewayOptions) {
    const { sink, listeners = [{ kind: 'udp' }] } = options
    this.#listeners = listeners.map((source) => [
      source.kind,
      createListener(source, { packet: (bytes, start, end) => this.#intake.packet(bytes, start, end) }, options),
    ])
    this.#intake = new StatsdIntake({ ...options, offer: (frames) => sink.offer(frames), full: () => sink.full })
  }

  /** Where it listens: `udp://127.0.0.1:8125`; ports are known once started. */
  get urls(): readonly string[] {
    return this.#listeners.map(([, { url }]) => url)
  }

  /**
   * Resolves once all listeners are bound.
   *
   * @throws UsageError or ZibratoError with code `ERR_LISTEN`, of the first that cannot be, with all others closed again
   */
  async start(): Promise<void> {
    try {
      for (const [, listener] of this.#listeners) await listener.start()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  stats(): StatsdGatewayStats {
    const listeners = this.#listeners.map(([, listener]) => [listener.url, listener.stats()] as const)
    return { ...this.#intake.stats(), listeners: Object.fromEntries(listeners) }
  }

  /** The figures as Prometheus' text. */
  metrics(): string {
    const all = this.#listeners.map(([kind, listener]) => [kind, listener.stats()] as const)
    return exposition(figures(this.#intake.stats(), all))
  }

  /**
   * Takes in nobody new, reads what the sockets still hold, for two seconds at most while more keeps coming, and hands the
   * sink what it made of it. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#listeners.map(([, listener]) => listener.close()))
    this.#intake.close()
  }
}

/** A {@link StatsdGateway}, started. */
export async function startStatsd(options: StatsdGatewayOptions): Promise<StatsdGateway> {
  const gateway = new StatsdGateway(options)
  await gateway.start()
  return gateway
}

function createListener(source: StatsdSource, reader: LineReader, options: StatsdGatewayOptions): Listener {
  const { onWarning, maxConnections, idleMs, insecure } = options
  const common = {
    reader,
    ...(insecure === undefined ? {} : { insecure }),
    ...(onWarning === undefined ? {} : { onWarning }),
    ...(maxConnections === undefined ? {} : { maxConnections }),
    ...(idleMs === undefined ? {} : { idleMs }),
  }
  switch (source.kind) {
    case 'udp':
      return new UdpListener({ ...source, ...common })
    case 'tcp':
      return new TcpListener({ ...source, ...common })
    case 'unix':
      return new UnixListener({ ...source, ...common })
    case 'unix-datagram':
      return new UnixDatagramListener({ ...source, ...common })
  }
}

function figures(
  intake: StatsdStats,
  listeners: readonly (readonly [kind: string, stats: UdpStats | StreamStats | DatagramStats])[],
): Figure[] {
  /** One number for each kind of listener that has it. */
  const byKind = (name: keyof UdpStats | keyof StreamStats): Record<string, number> => {
    const sums: Record<string, number> = {}
    for (const [kind, stats] of listeners) {
      const value = (stats as Partial<Record<typeof name, unknown>>)[name]
      if (typeof value === 'number') sums[kind] = (sums[kind] ?? 0) + value
    }
    return sums
  }
  const faults = (name: keyof StreamStats['faults']): number =>
    listeners.reduce((count, [, stats]) => count + ('faults' in stats ? stats.faults[name] : 0), 0)
  const { length, ...reasons } = intake.badByReason
  const bad = { ...reasons, length: length + faults('tooLong'), cut: faults('cut'), unframed: faults('unframed') }
  return [
    counter('packets', 'Packets, and pieces of streams, that were read.', intake.packets),
    { ...counter('bytes', 'Bytes that came.', byKind('bytes')), label: 'listener' },
    counter('lines', 'Lines, empty ones not counted.', intake.lines),
    counter('values', 'Values taken.', intake.metrics),
    { ...counter('bad', 'Lines, and parts of them, passed over.', bad), label: 'reason' },
    counter('events', 'Events of DogStatsD, passed over.', intake.events),
    counter('checks', 'Service checks of DogStatsD, passed over.', intake.checks),
    counter('overflowed', 'Values that counted in zibrato.overflow.', intake.overflowed),
    gauge('series', 'Series held.', intake.series),
    counter('kernel_drops', 'Datagrams that the kernel dropped before they were read.', sum(byKind('kernelDrops'))),
    { ...gauge('connections', 'Connections open.', byKind('connections')), label: 'listener' },
    { ...counter('connections_accepted', 'Connections accepted.', byKind('accepted')), label: 'listener' },
    {
      ...counter('connections_turned_away', 'Connections turned away, being too many.', byKind('turnedAway')),
      label: 'listener',
    },
  ]
}

function sum(numbers: Readonly<Record<string, number>>): number {
  return Object.values(numbers).reduce((left, right) => left + right, 0)
}

function counter(name: string, help: string, value: Figure['value']): Figure {
  return { name: `zibrato_gateway_statsd_${name}_total`, type: 'counter', help, value }
}

function gauge(name: string, help: string, value: Figure['value']): Figure {
  return { name: `zibrato_gateway_statsd_${name}`, type: 'gauge', help, value }
}
