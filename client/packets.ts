import { type Socket, createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises'

/** After this many bytes the receiver gets a moment: its buffer in the kernel holds about 200 kB unless it asked for more. */
const BURST_BYTES = 32 * 1024
const PAUSE_MS = 2

export interface PacketOptions {
  /** Begins every error. */
  readonly name: string
  /** Where it leads, for errors. */
  readonly label: string
  readonly host: string
  readonly port: number
  /** Bytes of a packet at the most; a longer unit goes alone. */
  readonly mtu: number
  readonly signal: AbortSignal
  /** Told how many of the units, from the first, have gone out and were not refused. */
  readonly onSent?: ((units: number) => void) | undefined
}

/**
 * Sends lines as UDP packets, as many in one as fit.
 *
 * @param units lines, or several that belong in one packet
 * @throws Error when the machine refuses to send, or the other one says that nobody listens; what is lost on the way shows
 * nowhere
 */
export async function sendPackets(units: readonly string[], options: PacketOptions): Promise<void> {
  const { name, label, host, port, mtu, signal, onSent } = options
  signal.throwIfAborted()
  const { address, family } = await lookup(host).catch((cause: Error) => {
    throw new Error(`${name}: ${host} has no address: ${cause.message}`, { cause })
  })
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  let failure: Error | undefined
  socket.on('error', (error) => (failure ??= error))
  try {
    socket.connect(port, address)
    await once(socket, 'connect')
    let burst = 0
    let sent = 0
    for (const [packet, count] of packetsOf(units, mtu)) {
      signal.throwIfAborted()
      await send(socket, packet)
      // a refusal is told to whoever sends next
      if (failure !== undefined) throw failure
      onSent?.(sent)
      sent += count
      burst += packet.length
      if (burst < BURST_BYTES) continue
      burst = 0
      await wait(PAUSE_MS)
    }
    // that nobody listens is heard a moment later
    await wait(PAUSE_MS)
    // where the event loop was late, timers come before what the socket has to say
    await turn()
    if (failure !== undefined) throw failure
    onSent?.(sent)
  } catch (cause) {
    if (signal.aborted) throw cause
    throw new Error(`${name}: cannot send to ${label}: ${(cause as Error).message}`, { cause })
  } finally {
    socket.close()
  }
}

/** Each packet, and how many units are in it. */
function* packetsOf(units: readonly string[], mtu: number): Generator<[packet: Buffer, units: number]> {
  let gathered: string[] = []
  let size = -1
  for (const unit of units) {
    const bytes = Buffer.byteLength(unit) + 1
    if (size + bytes > mtu && gathered.length > 0) {
      yield [Buffer.from(gathered.join('\n')), gathered.length]
      gathered = []
      size = -1
    }
    gathered.push(unit)
    size += bytes
  }
  if (gathered.length > 0) yield [Buffer.from(gathered.join('\n')), gathered.length]
}

function send(socket: Socket, packet: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(packet, (error) => (error === null ? resolve() : reject(error)))
  })
}
