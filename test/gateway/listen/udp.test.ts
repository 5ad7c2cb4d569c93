import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { UdpListener, type UdpListenerOptions } from '../../../gateway/listen/udp.ts'
import { until } from '../../until.ts'
import { CollectingReader } from './collecting.ts'

const started: UdpListener[] = []

async function listen(
  options: Partial<UdpListenerOptions> = {},
): Promise<{ listener: UdpListener; reader: CollectingReader; warnings: string[] }> {
  const reader = new CollectingReader()
  const warnings: string[] = []
  const onWarning = (message: string): unknown => warnings.push(message)
  const listener = new UdpListener({ reader, port: 0, onWarning, ...options })
  started.push(listener)
  await listener.start()
  return { listener, reader, warnings }
}

/** Sends datagrams from one socket; resolves once the kernel has them all. */
async function send(port: number, packets: readonly string[], host = '127.0.0.1'): Promise<void> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  for (const packet of packets) {
    await new Promise<void>((resolve, reject) =>
      socket.send(packet, port, host, (error) => (error === null ? resolve() : reject(error))),
    )
  }
  socket.close()
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((listener) => listener.close()))
})

describe('a UDP listener', () => {
  test('hands on each datagram, from a free port that it names', async () => {
    const { listener, reader } = await listen()
    expect(listener.url).toBe(`udp://127.0.0.1:${listener.port}`)
    expect(listener.port).toBeGreaterThan(0)
    const packets = ['a:1|c', 'a:1|c\nb:2|c', '', 'x'.repeat(65_507)]
    await send(listener.port, packets)
    await until(() => reader.packets.length === 4)
    expect(reader.packets).toEqual(packets)
    expect(listener.stats()).toMatchObject({ packets: 4, bytes: packets.join('').length, kernelDrops: 0 })
  })

  test('takes IPv6, and at :: both', async () => {
    const six = await listen({ host: '[::1]' })
    expect(six.listener.url).toBe(`udp://[::1]:${six.listener.port}`)
    await send(six.listener.port, ['six:1|c'], '::1')
    const both = await listen({ host: '::', insecure: true })
    await send(both.listener.port, ['both:1|c'], '::1')
    await send(both.listener.port, ['both:2|c'], '127.0.0.1')
    await until(() => six.reader.sum('six') === 1 && both.reader.sum('both') === 3)
  })

  test('says in one line that its port is taken, and how to do without', async () => {
    const other = createSocket('udp4').bind(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address()
    await expect(listen({ port })).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      message:
        `udp: cannot listen on 127.0.0.1:${port}: port ${port} is taken; stop whoever holds it, ` +
        'choose another with --udp, or leave it out with --udp off',
    })
    other.close()
  })

  test('says in one line that its host is none of this machine, or has no address', async () => {
    await expect(listen({ host: '192.0.2.1', insecure: true })).rejects.toThrow(
      'udp: cannot listen on 192.0.2.1:0: the host is not an address of this machine; choose one that is with --host',
    )
    await expect(listen({ host: 'no such host' })).rejects.toThrow(UsageError)
  })

  test.each([[-1], [65_536], [1.5], [Number.NaN]])('refuses port %d', (port) => {
    expect(() => new UdpListener({ reader: new CollectingReader(), port })).toThrow(UsageError)
  })

  test('does not listen beyond loopback unless told to', async () => {
    await expect(listen({ host: '0.0.0.0' })).rejects.toThrow(
      'udp: 0.0.0.0:0 is open to others, and StatsD lines carry no token; listen at 127.0.0.1, or say --insecure',
    )
    await listen({ host: '0.0.0.0', insecure: true })
    await listen({ host: 'localhost' })
    await listen({ host: '127.0.0.9' })
  })

  test('reads what the kernel still holds when it closes, and lets go of the port', async () => {
    const { listener, reader } = await listen()
    const { port } = listener
    // not a turn of the event loop passes before the close
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve))
    for (let index = 0; index < 200; index++) socket.send('a:1|c')
    await Promise.all([listener.close(), listener.close()])
    socket.close()
    expect(reader.sum('a')).toBe(200)
    const again = await listen({ port })
    expect(again.listener.port).toBe(port)
  })

  test('goes on when a reader is slow, and closes though more keeps coming', async () => {
    const { listener } = await listen()
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.connect(listener.port, '127.0.0.1', resolve))
    socket.on('error', () => {})
    const flood = setInterval(() => {
      for (let index = 0; index < 20; index++) socket.send('a:1|c', () => {})
    }, 0)
    await until(() => listener.stats().packets > 0)
    await listener.close()
    clearInterval(flood)
    socket.close()
    expect(listener.stats().packets).toBeGreaterThan(20)
  })
})

describe.runIf(platform() === 'linux')('the receive buffer', () => {
  const bound = Number(readFileSync('/proc/sys/net/core/rmem_max', 'utf8'))

  test('has the size that was asked for', async () => {
    const { listener, warnings } = await listen({ bufferBytes: 65_536 })
    expect(listener.stats().bufferBytes).toBe(65_536)
    expect(warnings).toEqual([])
  })

  test('that is smaller than was asked for is warned of, with what to change', async () => {
    const { listener, warnings } = await listen({ bufferBytes: bound + 1_000 })
    expect(listener.stats().bufferBytes).toBe(bound)
    expect(warnings).toEqual([
      `udp: the receive buffer has ${bound} bytes, not ${bound + 1_000}, as the system allows no more; ` +
        `raise its bound with "sysctl -w net.core.rmem_max=${bound + 1_000}", or ask for less with --udp-buffer`,
    ])
  })

  test('that nobody asked for is as large as it may be, without a word', async () => {
    const { listener, warnings } = await listen()
    expect(listener.stats().bufferBytes).toBe(Math.min(bound, 4 << 20))
    expect(warnings).toEqual([])
  })

  test.each([[0], [-1], [1.5], [2 ** 31]])('is refused with %d bytes', (bufferBytes) => {
    expect(() => new UdpListener({ reader: new CollectingReader(), bufferBytes })).toThrow(/--udp-buffer/)
  })
})
