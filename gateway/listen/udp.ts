import { type Socket, createSocket } from 'node:dgram'
import { platform } from 'node:os'
import { UsageError } from '../../client/errors.ts'
import { type ListenAddress, checkPort, hostAndPort, listenError, refuseOpen, resolveListenHost } from './address.ts'
import { KernelDrops } from './kernel-drops.ts'
import type { LineReader } from './reader.ts'
import { settled } from './turns.ts'
import { UdpBacklog } from './udp-backlog.ts'

export interface UdpListenerOptions {
  readonly reader: LineReader
  /** An address of this machine; default `127.0.0.1`. `::` takes IPv4 too, where the system allows. */
  readonly host?: string
  /** Default 8125; 0 picks a free one. */
  readonly port?: number
  /**
   * Bytes of the kernel's receive buffer. Default 4 MiB, or as much of that as the system allows (`net.core.rmem_max`);
   * what was asked for here and not given is warned of.
   */
  readonly bufferBytes?: number | undefined
  /** Listen beyond this machine: whoever reaches the port can send. */
  readonly insecure?: boolean
  /** How often the kernel is asked what it dropped; default 5,000. */
  readonly dropsEveryMs?: number
  readonly onWarning?: (message: string) => void
}

/** Figures since the start. */
export interface UdpStats {
  readonly packets: number
  readonly bytes: number
  /** Packets that the kernel dropped before they could be read. */
  readonly kernelDrops: number
  /** What the kernel gave; 0 before the start. */
  readonly bufferBytes: number
}

const DEFAULT_BUFFER = 4 << 20
const LARGEST_BUFFER = 1 << 30
/** What drops say in between is said at the end of this. */
const WARNING_MS = 60_000
const DRAIN_MS = 1_000

/** Takes datagrams at a UDP port. */
export class UdpListener implements AsyncDisposable {
  readonly #options: UdpListenerOptions
  #host: string
  #port: number
  #socket: Socket | undefined
  #drops: KernelDrops | undefined
  #backlog: UdpBacklog | undefined
  #bufferBytes = 0
  #packets = 0
  #bytes = 0
  /** Drops not told of yet. */
  #untold = 0
  #warnedMs = Number.NEGATIVE_INFINITY
  #closing: Promise<void> | undefined

  /** @throws UsageError for a port or a buffer size that is none */
  constructor(options: UdpListenerOptions) {
    this.#options = options
    const { bufferBytes = DEFAULT_BUFFER } = options
    if (!Number.isInteger(bufferBytes) || bufferBytes < 1 || bufferBytes > LARGEST_BUFFER) {
      throw new UsageError(`udp: ${bufferBytes} is no size of a buffer; give --udp-buffer 1 to ${LARGEST_BUFFER} bytes`)
    }
    this.#host = options.host ?? '127.0.0.1'
    this.#port = options.port ?? 8125
    checkPort('udp', this.#port)
  }

  /** Known once started. */
  get port(): number {
    return this.#port
  }

  /** `udp://127.0.0.1:8125` */
  get url(): string {
    return `udp://${hostAndPort(this.#host, this.#port)}`
  }

  /**
   * Resolves once the port is bound.
   *
   * @throws UsageError when the host has no address, or others could reach it and `insecure` is not said
   * @throws ZibratoError with code `ERR_LISTEN` when the port is taken or cannot be bound
   */
  async start(): Promise<void> {
    const address = await resolveListenHost('udp', this.#host)
    this.#host = address.host
    refuseOpen('udp', address, this.#port, this.#options.insecure)
    const socket = await this.#bind(address)
    this.#socket = socket
    const bound = socket.address()
    this.#port = bound.port
    this.#sizeBuffer(socket)
    this.#drops = new KernelDrops(bound, this.#options.dropsEveryMs ?? 5_000, (drops) => this.#dropped(drops))
    const { reader } = this.#options
    const take = (bytes: Uint8Array, size: number): void => {
      this.#packets++
      this.#bytes += size
      reader.packet(bytes, 0, size)
    }
    socket.on('message', (packet) => {
      take(packet, packet.length)
      this.#backlog?.read(take)
    })
    const warn = (error: Error): void => this.#options.onWarning?.(`udp: ${error.message}`)
    socket.on('error', warn)
    this.#backlog = await UdpBacklog.find(bound, warn)
  }

  stats(): UdpStats {
    return {
      packets: this.#packets,
      bytes: this.#bytes,
      kernelDrops: this.#drops?.total ?? 0,
      bufferBytes: this.#bufferBytes,
    }
  }

  /** Reads what the kernel still holds, for a second at most while more keeps coming, and lets go of the port. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined) return
    await settled(() => this.#packets, DRAIN_MS)
    await this.#drops?.stop()
    this.#tell()
    await new Promise<void>((resolve) => socket.close(resolve))
  }

  async #bind({ address, ipv6 }: ListenAddress): Promise<Socket> {
    // an address of IPv6 is bound for IPv4 too, where that makes sense
    const socket = createSocket(ipv6 ? 'udp6' : 'udp4')
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.bind({ port: this.#port, address }, () => {
          socket.off('error', reject)
          resolve()
        })
      })
      return socket
    } catch (cause) {
      socket.close()
      throw listenError('udp', this.#host, this.#port, cause, '--udp')
    }
  }

  #sizeBuffer(socket: Socket): void {
    const asked = this.#options.bufferBytes
    try {
      socket.setRecvBufferSize(asked ?? DEFAULT_BUFFER)
    } catch {
      // Linux gives what it may; other systems refuse more than that, and leave it as it was
    }
    // Linux doubles what is asked for, for its own bookkeeping, and answers the double (socket(7))
    const given = socket.getRecvBufferSize() / (platform() === 'linux' ? 2 : 1)
    this.#bufferBytes = given
    if (asked === undefined || given >= asked) return
    this.#options.onWarning?.(
      `udp: the receive buffer has ${given} bytes, not ${asked}, as the system allows no more; ` +
        `raise its bound with "sysctl -w net.core.rmem_max=${asked}", or ask for less with --udp-buffer`,
    )
  }

  #dropped(drops: number): void {
    this.#untold += drops
    if (performance.now() - this.#warnedMs >= WARNING_MS) this.#tell()
  }

  #tell(): void {
    if (this.#untold === 0) return
    this.#warnedMs = performance.now()
    const drops = this.#untold
    this.#untold = 0
    this.#options.onWarning?.(
      `udp: the kernel dropped ${drops} packets, which came faster than they are read into a receive buffer of ` +
        `${this.#bufferBytes} bytes; raise it (sysctl net.core.rmem_max, then --udp-buffer), put several lines into a packet, ` +
        'sample, or use --tcp or --unix, which lose none',
    )
  }
}
