import type { EventEmitter } from 'node:events'
import { constants } from 'node:os'
import { UsageError } from '../../client/errors.ts'
import { type Occupant, SocketFile } from '../../client/transport/socket-file.ts'
import type { LineReader } from './reader.ts'
import { settled } from './turns.ts'

export interface UnixDatagramListenerOptions {
  readonly reader: LineReader
  /** Where the socket is to be; its directory is there already. */
  readonly path: string
  /** Permissions of the file; default 0o666: every user of this machine may send, as over loopback. */
  readonly mode?: number
  readonly onWarning?: (message: string) => void
}

/** Figures since the start. */
export interface DatagramStats {
  readonly packets: number
  readonly bytes: number
}

/** What is used of the package `unix-dgram`, which has no types. */
interface UnixDgram {
  createSocket(type: 'unix_dgram'): DatagramSocket
}
interface DatagramSocket extends EventEmitter {
  bind(path: string): void
  connect(path: string): void
  close(): void
}

const PACKAGE: string = 'unix-dgram'
const DRAIN_MS = 1_000

/**
 * Takes datagrams at a Unix socket, which Node cannot by itself: by the native package `unix-dgram`, when it is installed.
 * Where Datadog's clients send by default (`unix:///var/run/datadog/dsd.socket`), and hot-shots with `protocol: 'uds'`.
 * The kernel drops none of these: a sender waits, or is told that it should.
 */
export class UnixDatagramListener implements AsyncDisposable {
  readonly #options: UnixDatagramListenerOptions
  readonly #file: SocketFile
  #socket: DatagramSocket | undefined
  #packets = 0
  #bytes = 0
  #closing: Promise<void> | undefined

  /** @throws UsageError for a path or permissions that are none */
  constructor(options: UnixDatagramListenerOptions) {
    this.#options = options
    this.#file = new SocketFile('unix-datagram', '--unix-datagram', options.path, options.mode ?? 0o666)
  }

  /** `unixgram:///run/zibrato.sock` */
  get url(): string {
    return `unixgram://${this.#file.path}`
  }

  /**
   * Resolves once the socket is bound. The file of a process that is gone is replaced.
   *
   * @throws UsageError when the package is not installed
   * @throws ZibratoError with code `ERR_LISTEN` when a process listens there, or it cannot be bound
   */
  async start(): Promise<void> {
    const unixDgram = await load()
    const { path } = this.#file
    await this.#file.claim(
      () => this.#bind(unixDgram, path),
      () => Promise.resolve(occupant(unixDgram, path)),
    )
  }

  stats(): DatagramStats {
    return { packets: this.#packets, bytes: this.#bytes }
  }

  /** Reads what the kernel still holds, for a second at most while more keeps coming, and removes the file. Idempotent. */
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
    // who looks for the file no longer finds it, while who has it open is still read
    this.#file.remove()
    await settled(() => this.#packets, DRAIN_MS)
    socket.close()
  }

  #bind(unixDgram: UnixDgram, path: string): Promise<void> {
    const socket = unixDgram.createSocket('unix_dgram')
    const { reader } = this.#options
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        socket.close()
        reject(named(error))
      }
      socket.once('error', fail)
      socket.once('listening', () => {
        socket.off('error', fail)
        socket.on('error', (error: Error) => this.#options.onWarning?.(`unix-datagram: ${error.message}`))
        this.#socket = socket
        resolve()
      })
      socket.on('message', (packet: Uint8Array) => {
        this.#packets++
        this.#bytes += packet.length
        reader.packet(packet)
      })
      socket.bind(path)
    })
  }
}

async function load(): Promise<UnixDgram> {
  try {
    return ((await import(PACKAGE)) as { default: UnixDgram }).default
  } catch (cause) {
    throw new UsageError(
      'unix-datagram: Node has no such sockets by itself; install the package that has ("npm install unix-dgram", beside ' +
        'zibrato), or use --unix or --udp',
      { cause },
    )
  }
}

function occupant(unixDgram: UnixDgram, path: string): Occupant {
  const socket = unixDgram.createSocket('unix_dgram')
  let found: Occupant = 'alive'
  socket.on('error', (error: unknown) => {
    const { code } = named(error)
    if (code === 'ECONNREFUSED') found = 'dead'
    if (code === 'ENOENT') found = 'absent'
  })
  socket.connect(path)
  socket.close()
  return found
}

/** The package's errors have numbers where Node's have names. */
function named(error: unknown): Error & { code: string } {
  const { code, message } = error as { code?: number; message: string }
  const [name = ''] = Object.entries(constants.errno).find(([, number]) => number === -(code ?? 0)) ?? []
  return Object.assign(new Error(message, { cause: error }), { code: name })
}
