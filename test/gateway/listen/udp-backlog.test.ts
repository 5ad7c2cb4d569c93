import { spawn } from 'node:child_process'
import { type Socket, createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { afterEach, describe, expect, test } from 'vitest'
import { UdpBacklog } from '../../../gateway/listen/udp-backlog.ts'
import { until } from '../../until.ts'

const sockets: Socket[] = []

async function bind(type: 'udp4' | 'udp6' = 'udp4', address = '127.0.0.1'): Promise<Socket> {
  const socket = createSocket(type).bind(0, address)
  sockets.push(socket)
  await once(socket, 'listening')
  return socket
}

/** Sends them all before the event loop turns, so that they wait at the receiver's when it reads the first. */
async function sendAtOnce(to: Socket, packets: readonly string[]): Promise<void> {
  const { address, port, family } = to.address()
  const sender = createSocket(family === 'IPv6' ? 'udp6' : 'udp4')
  sockets.push(sender)
  await new Promise<void>((resolve) => sender.connect(port, address, resolve))
  for (const packet of packets) sender.send(packet)
}

/** Bytes that the kernel holds for a port; waits, without a turn of the event loop, until they are as many as asked for. */
function queued(port: number, atLeast: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    for (const line of readFileSync('/proc/net/udp', 'latin1').split('\n')) {
      const [, address, , , queues = ''] = line.trim().split(/\s+/)
      const bytes = Number.parseInt(queues.split(':')[1] ?? '', 16)
      if (address?.endsWith(local) && bytes >= atLeast) return bytes
    }
  }
  throw new Error(`${atLeast} bytes never came to port ${port}`)
}

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

// elsewhere there is no way to it
describe.runIf(platform() === 'linux')('the backlog of a UDP socket', () => {
  test.each([
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const)('follows what %s has handed over, whole, each once and in order', async (type, address) => {
    const socket = await bind(type, address)
    const errors: Error[] = []
    const backlog = await UdpBacklog.find(socket.address(), (error) => errors.push(error))
    const got: string[] = []
    let handedOver = 0
    socket.on('message', (packet) => {
      handedOver++
      got.push(packet.toString())
      backlog?.read((bytes, size) => got.push(Buffer.from(bytes.subarray(0, size)).toString()))
    })
    const packets = ['first', '', 'x'.repeat(65_000), ...Array.from({ length: 60 }, (_, index) => `packet ${index}`)]
    await sendAtOnce(socket, packets.slice(0, 2))
    await until(() => got.length === 2)
    await sendAtOnce(socket, packets.slice(2))
    await until(() => got.length === packets.length)
    expect(got).toEqual(packets)
    expect(errors).toEqual([])
    expect(handedOver).toBeLessThan(packets.length)
  })

  test('is left alone for ever longer while hardly anything is there, and no longer once much is', async () => {
    const socket = await bind()
    const { port, address } = socket.address()
    const sender = createSocket('udp4')
    sockets.push(sender)
    await new Promise<void>((resolve) => sender.connect(port, address, resolve))
    const backlog = await UdpBacklog.find(socket.address(), () => {})
    const read = (): number => {
      let count = 0
      backlog?.read(() => count++)
      return count
    }
    // from here on the event loop does not turn, so that nobody else reads
    sender.send('waits')
    const bytes = queued(port, 1)
    expect([read(), read()]).toEqual([1, 0])
    const send = (count: number): void => {
      for (let index = 0; index < count; index++) sender.send('waits')
      queued(port, count * bytes)
    }
    const passedOver = Array.from({ length: 8 }, () => {
      send(1)
      let count = 0
      while (read() === 0) count++
      return count
    })
    expect(passedOver).toEqual([0, 2, 4, 8, 16, 32, 64, 64])
    for (let count = 0; count < 64; count++) expect(read()).toBe(0)
    send(20)
    expect([read(), read(), read(), read()]).toEqual([16, 4, 0, 0])
    send(1)
    expect([read(), read()]).toEqual([1, 0])
  })

  test('is none of a socket of another process, or of one that is closed', async () => {
    const child = spawn(
      process.execPath,
      [
        '-e',
        `const socket = require('node:dgram').createSocket('udp4')
         socket.bind(0, '127.0.0.1', () => console.log(JSON.stringify(socket.address())))`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    expect(await UdpBacklog.find(JSON.parse(line.toString()), () => {})).toBeUndefined()
    child.kill('SIGKILL')
    await once(child, 'exit')
    const socket = await bind()
    const bound = socket.address()
    sockets.length = 0
    socket.close()
    await once(socket, 'close')
    expect(await UdpBacklog.find(bound, () => {})).toBeUndefined()
  })
})
