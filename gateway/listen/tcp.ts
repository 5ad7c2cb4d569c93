import type { AddressInfo } from 'node:net'
import { checkPort, hostAndPort, listenError, refuseOpen, resolveListenHost } from './address.ts'
import { LineStream } from './lines.ts'
import type { LineReader } from './reader.ts'
import { type StreamLimits, type StreamStats, Streams } from './streams.ts'

export interface TcpListenerOptions extends StreamLimits {
  readonly reader: LineReader
  /** An address of this machine; default `127.0.0.1`. `::` takes IPv4 too, where the system allows. */
  readonly host?: string
  /** Default 8125; 0 picks a free one. */
  readonly port?: number
  /** Listen beyond this machine: whoever reaches the port can send. */
  readonly insecure?: boolean
}

/** Takes lines at a TCP port. */
export class TcpListener implements AsyncDisposable {
  readonly #options: TcpListenerOptions
  #host: string
  readonly #streams: Streams
  #port: number
  #closing: Promise<void> | undefined

  /** @throws UsageError for a port that is none */
  constructor(options: TcpListenerOptions) {
    this.#options = options
    this.#host = options.host ?? '127.0.0.1'
    this.#port = options.port ?? 8125
    checkPort('tcp', this.#port)
    const { reader } = options
    this.#streams = new Streams({ component: 'tcp', open: (faults) => new LineStream(reader, faults) }, options)
  }

  /** Known once started. */
  get port(): number {
    return this.#port
  }

  /** `tcp://127.0.0.1:8125` */
  get url(): string {
    return `tcp://${hostAndPort(this.#host, this.#port)}`
  }

  /**
   * Resolves once the port is bound.
   *
   * @throws UsageError when the host has no address, or others could reach it and `insecure` is not said
   * @throws ZibratoError with code `ERR_LISTEN` when the port is taken or cannot be bound
   */
  async start(): Promise<void> {
    const address = await resolveListenHost('tcp', this.#host)
    this.#host = address.host
    refuseOpen('tcp', address, this.#port, this.#options.insecure)
    try {
      const server = await this.#streams.listen({ host: address.address, port: this.#port, backlog: 511 })
      this.#port = (server.address() as AddressInfo).port
    } catch (cause) {
      throw listenError('tcp', this.#host, this.#port, cause, '--tcp')
    }
  }

  stats(): StreamStats {
    return this.#streams.stats()
  }

  /** Takes in nobody new, reads what is there, for a second or two at most, and lets go of the port. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#streams.close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
