import { readFile } from 'node:fs/promises'
import { type AddressInfo, SocketAddress } from 'node:net'
import { endianness } from 'node:os'

/**
 * Packets that the kernel has dropped at a UDP socket since it was bound, mostly because its receive buffer was full:
 * column `drops` of `/proc/net/udp` and `udp6` (Documentation/networking/proc_net_tcp.rst, net/ipv4/udp.c of Linux). The
 * kernel's counter has 32 bits and starts over. Undefined where there is no such file, or no such socket in it.
 */
export async function kernelDrops(bound: AddressInfo): Promise<number | undefined> {
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
    if (addressOf(local.slice(0, -port.length), isV6) === address) return Number(columns.at(-1)) >>> 0
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

/** Looks after a socket's drops, every few seconds. */
export class KernelDrops {
  /** Since the socket was bound; stays 0 where the kernel does not say. */
  total = 0
  readonly #bound: AddressInfo
  readonly #onGrowth: (drops: number) => void
  readonly #timer: ReturnType<typeof setInterval>
  #known = 0
  #looking: Promise<void> | undefined

  /** @param onGrowth told how many there were since it was told last */
  constructor(bound: AddressInfo, everyMs: number, onGrowth: (drops: number) => void) {
    this.#bound = bound
    this.#onGrowth = onGrowth
    this.#timer = setInterval(() => void this.look(), everyMs).unref()
  }

  /** Reads the counter now. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined))
    return this.#looking
  }

  /** Reads it a last time, which is to be waited for before the socket is closed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.look()
  }

  async #look(): Promise<void> {
    const known = await kernelDrops(this.#bound)
    if (known === undefined) return
    const drops = (known - this.#known) >>> 0
    this.#known = known
    this.total += drops
    if (drops > 0) this.#onGrowth(drops)
  }
}
