import { once } from 'node:events'
import { type NetConnectOpts, type Socket, connect } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { NoAnswerError } from './http.ts'

export interface StreamOptions {
  /** Begins every error. */
  readonly name: string
  /** Where it leads, for errors. */
  readonly label: string
  readonly to: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly signal: AbortSignal
}

/**
 * Sends text over a connection of its own and resolves once the peer has read all of it. Line protocols acknowledge
 * nothing, but a server that has read to the end closes its side too: that is waited for.
 *
 * @throws Error when no connection came about: nothing was sent
 * @throws NoAnswerError when the connection broke or the signal aborted: the peer may have taken any part
 */
export async function sendStream(
  pieces: Iterable<string> | AsyncIterable<string>,
  { name, label, to, signal }: StreamOptions,
): Promise<void> {
  signal.throwIfAborted()
  const socket = connect(to as NetConnectOpts)
  const giveUp = (): void => void socket.destroy(new Error('it did not read all of it in time'))
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    await once(socket, 'connect').catch((cause: Error) => {
      throw new Error(`${name}: cannot connect to ${label}: ${cause.message}`, { cause })
    })
    await readToEnd(socket, pieces).catch((cause: Error) => {
      throw new NoAnswerError(`${name}: the connection to ${label} broke: ${cause.message}`, { cause })
    })
  } finally {
    signal.removeEventListener('abort', giveUp)
    socket.destroy()
  }
}

async function readToEnd(socket: Socket, pieces: Iterable<string> | AsyncIterable<string>): Promise<void> {
  let failure: Error | undefined
  socket.on('error', (error) => (failure ??= error))
  socket.on('end', () => {
    if (!socket.writableFinished) socket.destroy(new Error('the peer closed it before it had read all'))
  })
  // what the peer says is of no interest, but its end is
  socket.resume()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await pipeline(pieces, socket)
  await closed
  if (failure !== undefined) throw failure
}
