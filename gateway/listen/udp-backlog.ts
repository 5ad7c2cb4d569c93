import { constants, readFileSync, readSync, readdirSync, readlinkSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { udpEntry } from './udp-table.ts'

/** No datagram is longer. */
const ROOM = 65_536
/** Packets, and bytes but for the last of them, that are read at once: Node hands over up to 32 packets a turn, each with these behind it. */
const MOST_PACKETS = 16
const MOST_BYTES = 16_384
/** That nothing more is there costs as much to find out as two packets gain. */
const WORTHWHILE = 4
/** Packets of Node's after which it is tried again, at the most. */
const LONGEST_PAUSE = 64

/**
 * What waits at a UDP socket behind the packet that Node's `dgram` has just handed over. That takes some 5 microseconds a packet, for
 * 64 KiB of memory, an object and a text of the sender's address; `read(2)` of the same descriptor, into one buffer, takes half
 * of it. `dgram` has no way to do so, but Linux tells which descriptor it is.
 *
 * Where nothing waits mostly, it is seldom looked for.
 */
export class UdpBacklog {
  readonly #descriptor: number
  readonly #onError: (error: Error) => void
  readonly #room = new Uint8Array(ROOM)
  // how many packets of Node's to let pass; and how many after the next vain try
  #pause = 0
  #nextPause = 1

  private constructor(descriptor: number, onError: (error: Error) => void) {
    this.#descriptor = descriptor
    this.#onError = onError
  }

  /**
   * The backlog of a socket of this process; undefined where it cannot be read, as it is outside Linux.
   *
   * @param onError told of what goes wrong when it is read
   */
  static async find(bound: AddressInfo, onError: (error: Error) => void): Promise<UdpBacklog | undefined> {
    const entry = await udpEntry(bound)
    const descriptor = entry && descriptorOf(entry.inode)
    return descriptor === undefined ? undefined : new UdpBacklog(descriptor, onError)
  }

  /**
   * Reads some of it, if it is time to. Only while the socket is open, so within its `message` event.
   *
   * @param take is given each packet in the first `size` bytes of a buffer that the next one overwrites
   */
  read(take: (bytes: Uint8Array, size: number) => void): void {
    if (this.#pause > 0) {
      this.#pause--
      return
    }
    let bytes = 0
    for (let packets = 0; packets < MOST_PACKETS && bytes < MOST_BYTES; packets++) {
      let size: number
      try {
        size = readSync(this.#descriptor, this.#room, 0, ROOM, null)
      } catch (error) {
        this.#rest(packets)
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') this.#onError(error as Error)
        return
      }
      bytes += size
      take(this.#room, size)
    }
  }

  #rest(packets: number): void {
    if (packets >= WORTHWHILE) {
      this.#nextPause = 1
      return
    }
    this.#pause = this.#nextPause
    this.#nextPause = Math.min(this.#nextPause * 2, LONGEST_PAUSE)
  }
}

/** The descriptor of a socket, if it is one of this process that does not block. */
function descriptorOf(inode: string): number | undefined {
  try {
    for (const name of readdirSync('/proc/self/fd')) {
      if (linkOf(name) !== `socket:[${inode}]`) continue
      const [, flags = '0'] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, 'latin1')) ?? []
      return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) === 0 ? undefined : Number(name)
    }
  } catch {
    // as good as none
  }
  return undefined
}

/** Undefined for one that was closed meanwhile, such as that of the listing itself. */
function linkOf(descriptor: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`)
  } catch {
    return undefined
  }
}
