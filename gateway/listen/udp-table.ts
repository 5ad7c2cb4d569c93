import { readFile } from 'node:fs/promises'
import { type AddressInfo, SocketAddress } from 'node:net'
import { endianness } from 'node:os'

/** What the kernel says of a UDP socket. */
export interface UdpEntry {
  /** Names the socket among the descriptors of processes. */
  readonly inode: string
  /** Packets dropped since it was bound, mostly because its receive buffer was full. Has 32 bits, and starts over. */
  readonly drops: number
}

/**
 * The entry of a socket in `/proc/net/udp` or `udp6` (Documentation/networking/proc_net_tcp.rst, net/ipv4/udp.c of Linux).
 * Undefined where there is no such file, or no such socket in it.
 */
export async function udpEntry(bound: AddressInfo): Promise<UdpEntry | undefined> {
  const isV6 = bound.family === 'IPv6'
  let table: string
  try {
    table = await readFile(isV6 ? '/proc/net/udp6' : '/proc/net/udp', 'latin1')
  } catch {
    return undefined
  }
  const port = `:${bound.port.toString(16).toUpperCase().padStart(4, '0')}`
  const address = bound.address.replace(/%.*$/, '')
  for (const line of table.split('\n')) {
    const columns = line.trim().split(/\s+/)
    const local = columns[1]
    if (local === undefined || !local.endsWith(port)) continue
    if (addressOf(local.slice(0, -port.length), isV6) !== address) continue
    return { inode: columns[9] ?? '', drops: Number(columns.at(-1)) >>> 0 }
  }
  return undefined
}

/** The address in the table: words of 32 bits, each written as this machine's processor has it in memory. */
function addressOf(hex: string, isV6: boolean): string | undefined {
  const bytes = Buffer.from(hex, 'hex')
  if (bytes.length !== (isV6 ? 16 : 4)) return undefined
  if (endianness() === 'LE') bytes.swap32()
  if (!isV6) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(2 * group).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}
