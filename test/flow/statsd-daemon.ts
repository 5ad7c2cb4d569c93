import { type Socket as UdpSocket, createSocket } from 'node:dgram'
import { createRequire } from 'node:module'
import { type AddressInfo, connect, createServer } from 'node:net'
import { until } from '../until.ts'
import type { Playground, Program } from './processes.ts'

const STATS = createRequire(import.meta.url).resolve('statsd/stats.js')

/** The real statsd 0.9 with a configuration file in the playground, once its management port answers. */
export async function startStatsd(ground: Playground, file: string, mgmtPort: number): Promise<Program> {
  const program = ground.start(process.execPath, [STATS, file])
  await program.output(({ stdout }) => (stdout.includes('server is up') ? true : undefined), 'server is up')
  await until(async () => (await packetsOfStatsd(mgmtPort)) === 0, 'statsd answers')
  return program
}

/** How many packets a statsd has received since its last flush; undefined when it does not answer. */
export function packetsOfStatsd(mgmtPort: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect(mgmtPort, '127.0.0.1', () => socket.write('counters\n'))
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.includes('END\n')) socket.destroy()
    })
    socket.on('error', () => {})
    socket.once('close', () => {
      const found = /packets_received': (\d+)/.exec(text)?.[1]
      resolve(found === undefined ? undefined : Number(found))
    })
  })
}

/**
 * Sends packets over UDP, in order, each few of them once the last were received, so that none is dropped. Ends early, with
 * false, when the receiver has begun to count afresh.
 *
 * @param received how many have been, by the receiver
 */
export async function replay(
  packets: readonly Buffer[],
  port: number,
  received: () => Promise<number | undefined>,
): Promise<boolean> {
  // the kernel's smallest buffer holds so many of the largest
  const few = 64
  const socket = createSocket('udp4')
  let count = 0
  try {
    await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve))
    for (let sent = 0; sent < packets.length;) {
      const next = packets.slice(sent, sent + few)
      for (const packet of next) await send(socket, packet)
      const before = sent
      sent += next.length
      await until(async () => {
        count = (await received()) ?? 0
        return count >= sent || count < before
      }, `${sent} packets were received`)
      if (count < before) return false
    }
    return true
  } finally {
    socket.close()
  }
}

/** Two ports that nobody listens at: of UDP and of TCP. statsd takes 0 for its defaults. */
export async function freePorts(): Promise<{ udp: number; tcp: number }> {
  const socket = createSocket('udp4')
  const server = createServer()
  await Promise.all([
    new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve)),
    new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)),
  ])
  const ports = { udp: socket.address().port, tcp: (server.address() as AddressInfo).port }
  await Promise.all([
    new Promise<void>((resolve) => socket.close(resolve)),
    new Promise<void>((resolve) => server.close(() => resolve())),
  ])
  return ports
}

function send(socket: UdpSocket, packet: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(packet, (error) => (error === null ? resolve() : reject(error)))
  })
}
