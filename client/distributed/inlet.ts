import { chmodSync, linkSync, mkdtempSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { XSubscriber } from 'zeromq'
import { Pulse } from '../transport/pulse.ts'
import { SocketFile, occupant } from '../transport/socket-file.ts'
import { shardTopic } from '../wire/topic.ts'

/** Larger messages are not taken; processes write 64 kB at the most, or one frame. */
const MESSAGE_BYTES = 16 * 1024 * 1024
/** A closing inlet waits until nothing has come for a while, and not for ever. */
const QUIET_MS = 100
const DRAIN_MS = 1_000
/** Messages between two chances for others to run. */
const BURST = 64

export interface InletOptions {
  readonly path: string
  /** Takes what arrives. */
  readonly onBundle: (bundle: Uint8Array) => void
  /** Told of messages that are no frames. */
  readonly onStrange: () => void
  /** Told when a message could not be received or taken, which costs no other its turn. */
  readonly onFault: (error: Error) => void
}

/**
 * Where processes of this machine hand in frames: it is to them what a broker is, greeting, beats and answers to pings
 * included, so they know when it is gone, and send again what it may have missed.
 */
export class Inlet {
  readonly #options: InletOptions
  readonly #file: SocketFile
  #socket: XSubscriber | undefined
  #pulse: Pulse | undefined
  #receiving: Promise<void> | undefined
  #connections = 0
  #lastMs = 0

  /** @throws UsageError for a path that is too long for a socket */
  constructor(options: InletOptions) {
    this.#options = options
    this.#file = new SocketFile('aggregator', 'the option address', options.path, 0o600)
  }

  /** Processes, or threads, that are connected. */
  get connections(): number {
    return this.#connections
  }

  /** @throws ZibratoError with code `ERR_LISTEN` when another aggregator listens there, or it cannot be bound */
  async start(): Promise<void> {
    const { XSubscriber } = await import('zeromq')
    const { path } = this.#options
    const socket = new XSubscriber({ linger: 0, sendHighWaterMark: 0, maxMessageSize: MESSAGE_BYTES })
    socket.events.on('accept', () => this.#connections++)
    socket.events.on('disconnect', () => this.#connections--)
    let folder: string | undefined
    try {
      // ZeroMQ replaces what is there without asking, with permissions for everybody: so bound where only we can be, and
      // moved to its place when it is as it should be
      await this.#file.claim(
        async () => {
          folder ??= await bindAside(socket, path)
          linkAt(join(folder, 's'), path)
        },
        () => occupant(path),
      )
    } catch (cause) {
      socket.close()
      throw cause
    } finally {
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
    }
    this.#socket = socket
    this.#pulse = new Pulse(socket, { publishers: () => this.#connections })
    await socket.send(Buffer.from('\u0001#', 'latin1'))
    this.#receiving = this.#receive(socket, this.#pulse)
  }

  /** Takes what is on its way, for a second at the most, and removes the file. Idempotent. */
  async close(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined) return
    this.#socket = undefined
    this.#lastMs = performance.now()
    const deadline = this.#lastMs + DRAIN_MS
    while (this.#connections > 0 && performance.now() < Math.min(deadline, this.#lastMs + QUIET_MS)) {
      await new Promise((wait) => setTimeout(wait, 10))
    }
    this.#pulse?.stop()
    this.#file.remove()
    socket.close()
    await this.#receiving
  }

  async #receive(socket: XSubscriber, pulse: Pulse): Promise<void> {
    for (let count = 1; ; count++) {
      try {
        const parts = await socket.receive()
        this.#lastMs = performance.now()
        if (!pulse.takes(parts)) this.#take(parts)
        // what is there already is received without a turn of the event loop
        if (count % BURST === 0) await new Promise((resolve) => setImmediate(resolve))
      } catch (error) {
        if (socket.closed) return
        this.#options.onFault(error as Error)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  }

  #take([topic, bundle, ...rest]: readonly Buffer[]): void {
    const isFrames = topic !== undefined && topic[0] === FRAMES && bundle !== undefined && rest.length === 0
    if (isFrames) this.#options.onBundle(bundle)
    else this.#options.onStrange()
  }
}

const FRAMES = shardTopic(0).charCodeAt(0)

/** Binds in a directory of its own beside the path; answers that. */
async function bindAside(socket: XSubscriber, path: string): Promise<string> {
  const folder = mkdtempSync(join(dirname(path), '.z'))
  await socket.bind(`ipc://${join(folder, 's')}`)
  chmodSync(join(folder, 's'), 0o600)
  return folder
}

/** Gives a socket's file its place, unless there is one already: in one step, so of two who try one succeeds. */
function linkAt(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw Object.assign(new Error('there is a file', { cause }), { code: 'EADDRINUSE' })
  }
}
