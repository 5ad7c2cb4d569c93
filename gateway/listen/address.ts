import { lookup } from 'node:dns/promises'
import { BlockList } from 'node:net'
import { UsageError, ZibratoError } from '../../client/errors.ts'

/** Where a listener is to be bound, resolved. */
export interface ListenAddress {
  /** As it was asked for. */
  readonly host: string
  /** An IP address. */
  readonly address: string
  readonly ipv6: boolean
  /** Whether only programs on this machine can reach it. */
  readonly loopback: boolean
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * Resolves the host a listener was given.
 *
 * @param component who wants to listen; the error starts with it
 * @throws UsageError when the host has no address
 */
export async function resolveListenHost(component: string, host: string): Promise<ListenAddress> {
  const name = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  try {
    if (name === '') throw new Error('the host is empty')
    // a listener on "localhost" is looked for at 127.0.0.1 first
    const { address, family } = await lookup(name, { verbatim: false })
    const ipv6 = family === 6
    return { host: name, address, ipv6, loopback: loopback.check(address, ipv6 ? 'ipv6' : 'ipv4') }
  } catch (cause) {
    throw new UsageError(
      `${component}: host ${JSON.stringify(host)} has no address; give --host an address of this machine, such as 127.0.0.1`,
      { cause },
    )
  }
}

/** @throws UsageError unless `port` is an integer in 0 .. `highest` */
export function checkPort(component: string, port: number, highest = 65_535): void {
  if (Number.isInteger(port) && port >= 0 && port <= highest) return
  throw new UsageError(`${component}: port ${port} is none; give --port a number in 1..${highest}, or 0 for a free one`)
}

/** `127.0.0.1:5550`, `[::1]:5550`. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * Refuses a StatsD listener that others could reach, as its lines carry no token.
 *
 * @throws UsageError unless only this machine reaches the address, or `insecure` is said
 */
export function refuseOpen(
  component: string,
  { host, loopback: isLoopback }: ListenAddress,
  port: number,
  insecure: boolean | undefined,
): void {
  if (isLoopback || insecure === true) return
  throw new UsageError(
    `${component}: ${hostAndPort(host, port)} is open to others, and StatsD lines carry no token; ` +
      'listen at 127.0.0.1, or say --insecure',
  )
}

/** One line for a bind that failed, with the way out. `code`: `ERR_LISTEN`. */
export function listenError(
  component: string,
  host: string,
  port: number,
  cause: unknown,
  flag: '--port' | '--http' | '--udp' | '--tcp' | 'ZIBRATO_EXTENSION_PORT' = '--port',
): ZibratoError {
  const code = (cause as { code?: string }).code ?? ''
  return new ZibratoError(
    'ERR_LISTEN',
    `${component}: cannot listen on ${hostAndPort(host, port)}: ${wayOut(code, port, flag)}`,
    {
      cause,
    },
  )
}

function wayOut(code: string, port: number, flag: string): string {
  if (code === 'EADDRINUSE') {
    const taken = `port ${port} is taken; stop whoever holds it`
    // nobody need have asked for it
    return flag === '--udp'
      ? `${taken}, choose another with --udp, or leave it out with --udp off`
      : `${taken} or choose another with ${flag}`
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENODEV') {
    return 'the host is not an address of this machine; choose one that is with --host'
  }
  if (code === 'EACCES') return `no permission for port ${port}; choose one above 1023 with ${flag}`
  return `${code === '' ? 'unknown reason' : code}; choose another with --host and ${flag}`
}
