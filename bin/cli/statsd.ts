import type { StatsdFiguresOptions } from '../../gateway/ingest/statsd-figures.ts'
import { resolveListenHost } from '../../gateway/listen/address.ts'
import type { StatsdGateway, StatsdGatewayOptions, StatsdSource } from '../../gateway/statsd.ts'
import type { Origin } from './command.ts'
import type { Listener } from './exposure.ts'

/** What flags say of StatsD lines. */
export interface StatsdSettings {
  /** Ports; undefined is off. */
  readonly udp: number | undefined
  readonly tcp: number | undefined
  /** Bytes of the receive buffer. */
  readonly udpBuffer: number | undefined
  readonly udpLevel: string
  /** Paths of sockets. */
  readonly unix: string | undefined
  readonly unixDatagram: string | undefined
  readonly unixMode: number
  /** ms */
  readonly gatewayFlush: number
}

/** What a gateway is told of StatsD lines. */
export type StatsdPlan = Pick<StatsdGatewayOptions, 'level' | 'flushMs' | 'sanitize'> & {
  readonly listeners: readonly StatsdSource[]
  /** Listeners may be reached by others, whatever `--insecure` says. */
  readonly insecure?: boolean
  /** What statsd counts of itself is counted too. */
  readonly figures?: Pick<StatsdFiguresOptions, 'prefix' | 'everyMs'>
  /** What deserves a word in the log. */
  readonly note?: string
}

const LOOPBACK = '127.0.0.1'

/**
 * Where lines are to be taken. UDP that nobody asked for stays on this machine when the rest is open to others: lines carry
 * no token.
 */
export async function planStatsd(
  { host, insecure }: { readonly host: string; readonly insecure: boolean },
  settings: StatsdSettings,
  udpOrigin: Origin,
): Promise<StatsdPlan> {
  const { udp, udpBuffer, udpLevel, tcp, unix, unixDatagram, unixMode: mode, gatewayFlush } = settings
  const { loopback } = await resolveListenHost('--host', host)
  const staysHere = udp !== undefined && udpOrigin === 'default' && !loopback && !insecure
  const listeners: StatsdSource[] = []
  if (udp !== undefined) {
    const buffer = udpBuffer === undefined ? {} : { bufferBytes: udpBuffer }
    listeners.push({ kind: 'udp', host: staysHere ? LOOPBACK : host, port: udp, ...buffer })
  }
  if (tcp !== undefined) listeners.push({ kind: 'tcp', host, port: tcp })
  if (unix !== undefined) listeners.push({ kind: 'unix', path: unix, mode })
  if (unixDatagram !== undefined) listeners.push({ kind: 'unix-datagram', path: unixDatagram, mode })
  const plan = { level: udpLevel, flushMs: gatewayFlush, listeners }
  if (!staysHere) return plan
  return { ...plan, note: 'StatsD lines carry no token, so the UDP port is open to this machine only' }
}

/** Its ports, for whoever refuses those that others could reach. */
export function statsdPorts({ listeners }: StatsdPlan, host: string): Listener[] {
  return listeners.flatMap((source) => {
    if ((source.kind !== 'udp' && source.kind !== 'tcp') || source.host !== host) return []
    const { kind, port = 0 } = source
    const wayOut = `StatsD lines carry no token: leave them out with --${kind} off`
    return [{ name: `StatsD over ${kind.toUpperCase()}`, port, isProtected: false, wayOut }]
  })
}

/** Where it listens, by kind, for the log. */
export function statsdAddresses(
  { listeners }: StatsdPlan,
  { urls }: Pick<StatsdGateway, 'urls'>,
): Partial<Record<StatsdSource['kind'], string>> {
  const addresses: Partial<Record<StatsdSource['kind'], string>> = {}
  listeners.forEach(({ kind }, index) => {
    const url = urls[index] as string
    addresses[kind] = addresses[kind] === undefined ? url : `${addresses[kind]} ${url}`
  })
  return addresses
}
