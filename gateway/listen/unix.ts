import { SocketFile, occupant } from '../../client/transport/socket-file.ts'
import { LinesOrPackets } from './packets.ts'
import type { LineReader } from './reader.ts'
import { type StreamLimits, type StreamStats, Streams } from './streams.ts'

export interface UnixListenerOptions extends StreamLimits {
  readonly reader: LineReader
  /** Where the socket is to be; its directory is there already. */
  readonly path: string
  /** Permissions of the file; default 0o666: every user of this machine may send, as over loopback. */
  readonly mode?: number
}

/** Takes lines, or packets behind their length as Datadog's clients send them, at a Unix stream socket. */
export class UnixListener implements AsyncDisposable {
  readonly #streams: Streams
  readonly #file: SocketFile
  #closing: Promise<void> | undefined

  /** @throws UsageError for a path or permissions that are none */
  constructor(options: UnixListenerOptions) {
    const { reader, path, mode } = options
    this.#file = new SocketFile('unix', '--unix', path, mode ?? 0o666)
    this.#streams = new Streams({ component: 'unix', open: (faults) => new LinesOrPackets(reader, faults) }, options)
  }

  /** `unix:///run/zibrato.sock` */
  get url(): string {
    return `unix://${this.#file.path}`
  }

  /**
   * Resolves once the socket is bound. The file of a process that is gone is replaced.
   *
   * @throws ZibratoError with code `ERR_LISTEN` when a process listens there, or it cannot be bound
   */
  async start(): Promise<void> {
    const { path } = this.#file
    await this.#file.claim(
      async () => void (await this.#streams.listen({ path, backlog: 511 })),
      () => occupant(path),
    )
  }

  stats(): StreamStats {
    return this.#streams.stats()
  }

  /** Takes in nobody new, reads what is there, for a second or two at most, and removes the file. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#streams.close().finally(() => this.#file.remove())
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
