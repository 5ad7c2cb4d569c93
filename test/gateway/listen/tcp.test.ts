import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { TcpListener, type TcpListenerOptions } from '../../../gateway/listen/tcp.ts'
import { until } from '../../until.ts'
import { CollectingReader } from './collecting.ts'

const started: TcpListener[] = []
const sockets: Socket[] = []

async function listen(
  options: Partial<TcpListenerOptions> = {},
): Promise<{ listener: TcpListener; reader: CollectingReader; warnings: string[] }> {
  const reader = new CollectingReader()
  const warnings: string[] = []
  const onWarning = (message: string): unknown => warnings.push(message)
  const listener = new TcpListener({ reader, port: 0, onWarning, ...options })
  started.push(listener)
  await listener.start()
  return { listener, reader, warnings }
}

async function open(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, noDelay: true }).on('error', () => {})
  sockets.push(socket)
  await once(socket, 'connect')
  return socket
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await Promise.all(started.splice(0).map((listener) => listener.close()))
})

describe('a TCP listener', () => {
  test('takes lines in whatever pieces they come, and the last one without a line break', async () => {
    const { listener, reader } = await listen()
    expect(listener.url).toBe(`tcp://127.0.0.1:${listener.port}`)
    const socket = await open(listener.port)
    socket.write('a:1|c\na:2|c\nb:')
    await until(() => reader.sum('a') === 3)
    for (const byte of '12|c\nc:7') {
      const before = listener.stats().bytes
      socket.write(byte)
      await until(() => listener.stats().bytes === before + 1)
    }
    expect(reader.sum('b')).toBe(12)
    socket.end('|c')
    await until(() => reader.sum('c') === 7)
    expect(listener.stats().faults).toEqual({ tooLong: 0, cut: 0, unframed: 0 })
  })

  test('takes IPv6, and at :: both', async () => {
    const six = await listen({ host: '[::1]' })
    expect(six.listener.url).toBe(`tcp://[::1]:${six.listener.port}`)
    ;(await open(six.listener.port, '::1')).end('six:1|c\n')
    const both = await listen({ host: '::', insecure: true })
    ;(await open(both.listener.port, '::1')).end('both:1|c\n')
    ;(await open(both.listener.port, '127.0.0.1')).end('both:2|c\n')
    await until(() => six.reader.sum('six') === 1 && both.reader.sum('both') === 3)
  })

  test('skips a line that is too long to its end, and the connection and its other lines live on', async () => {
    const { listener, reader, warnings } = await listen()
    const socket = await open(listener.port)
    socket.write(`a:1|c\n${'x'.repeat(300_000)}`)
    await until(() => listener.stats().faults.tooLong === 1)
    socket.write(`${'x'.repeat(300_000)}\na:2|c\n${'y'.repeat(65_536)}\na:4|c\n`)
    await until(() => reader.sum('a') === 7)
    expect(reader.lines).toEqual(['a:1|c', 'a:2|c', 'a:4|c'])
    expect(listener.stats()).toMatchObject({ connections: 1, faults: { tooLong: 2 } })
    expect(warnings).toEqual([
      'tcp: skipped a line or packet of over 65536 bytes; does a client leave out line breaks?',
    ])
  })

  test('does not count a line that a reset may have cut', async () => {
    const { listener, reader } = await listen()
    const socket = await open(listener.port)
    socket.write('a:1|c\nhits:10')
    await until(() => reader.sum('a') === 1)
    socket.resetAndDestroy()
    await until(() => listener.stats().faults.cut === 1)
    expect(reader.lines).toEqual(['a:1|c'])
    expect(listener.stats().connections).toBe(0)
  })

  test('turns away more connections than it may have, counts them, and has room again when one ends', async () => {
    const { listener, reader, warnings } = await listen({ maxConnections: 2 })
    const first = await open(listener.port)
    await open(listener.port)
    await until(() => listener.stats().connections === 2)
    const third = await open(listener.port)
    await once(third.resume(), 'close')
    expect(listener.stats()).toMatchObject({ connections: 2, accepted: 2, turnedAway: 1 })
    expect(warnings).toEqual(['tcp: turned a connection away, as 2 are open; is a client not closing its own?'])
    first.end('a:1|c\n')
    await until(() => listener.stats().connections === 1)
    ;(await open(listener.port)).end('a:2|c\n')
    await until(() => reader.sum('a') === 3)
  })

  test('closes a connection that is silent for long', async () => {
    const { listener } = await listen({ idleMs: 30 })
    const socket = await open(listener.port)
    await once(socket.resume(), 'close')
    await until(() => listener.stats().connections === 0)
    expect(listener.stats()).toMatchObject({ accepted: 1, turnedAway: 0 })
  })

  test('counts lines of many connections at once, each cut anywhere', { timeout: 60_000 }, async () => {
    const { listener, reader } = await listen()
    const text = Buffer.from('a:1|c\nbb:2|c\nccc:3|c\n'.repeat(500))
    await Promise.all(
      Array.from({ length: 30 }, async (_, number) => {
        const socket = await open(listener.port)
        for (let offset = 0; offset < text.length; offset += 100 + number) {
          socket.write(text.subarray(offset, offset + 100 + number))
          await new Promise((resolve) => setImmediate(resolve))
        }
        socket.end()
        await once(socket.resume(), 'close')
      }),
    )
    expect(listener.stats().bytes).toBe(30 * text.length)
    expect(['a', 'bb', 'ccc'].map((name) => reader.sum(name))).toEqual([15_000, 30_000, 45_000])
  })
})

describe('a TCP listener that closes', () => {
  test('reads those that connected before it, and what clients send as they are told that it ends', async () => {
    const { listener, reader } = await listen()
    const told = await open(listener.port)
    // what a client still holds it sends when the other side ends
    told.on('end', () => told.write('a:1|c\n')).resume()
    const silent = await open(listener.port)
    const silentClosed = once(silent.resume(), 'close')
    await until(() => listener.stats().connections === 2)
    // this process stands still meanwhile, so that the kernel alone has taken what came
    const late = `require('net').connect(${listener.port}, '127.0.0.1').end('a:2|c\\n', () => process.exit())`
    expect(spawnSync(process.execPath, ['-e', late]).status).toBe(0)
    await listener.close()
    expect(reader.sum('a')).toBe(3)
    await silentClosed
    await expect(open(listener.port)).rejects.toThrow('ECONNREFUSED')
    const again = await listen({ port: listener.port })
    expect(again.listener.port).toBe(listener.port)
  })

  test('ends though a client never stops, and leaves out what it cut', async () => {
    const { listener } = await listen()
    const socket = await open(listener.port)
    const flood = setInterval(() => {
      if (socket.writable) socket.write('a:1|c\na:')
    }, 1)
    await until(() => listener.stats().bytes > 0)
    await Promise.all([listener.close(), listener.close()])
    clearInterval(flood)
    expect(listener.stats().connections).toBe(0)
  })
})

describe('a TCP listener that cannot be', () => {
  test('says in one line that its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await expect(listen({ port })).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      message:
        `tcp: cannot listen on 127.0.0.1:${port}: port ${port} is taken; ` +
        'stop whoever holds it or choose another with --tcp',
    })
    other.close()
  })

  test('says that its host is none of this machine, or has no address, or its port is none', async () => {
    await expect(listen({ host: '192.0.2.1', insecure: true })).rejects.toThrow(
      'the host is not an address of this machine; choose one that is with --host',
    )
    await expect(listen({ host: 'no such host' })).rejects.toThrow(UsageError)
    expect(() => new TcpListener({ reader: new CollectingReader(), port: 65_536 })).toThrow(UsageError)
  })

  test('does not listen beyond loopback unless told to', async () => {
    await expect(listen({ host: '0.0.0.0' })).rejects.toThrow(
      'tcp: 0.0.0.0:0 is open to others, and StatsD lines carry no token; listen at 127.0.0.1, or say --insecure',
    )
    await listen({ host: '0.0.0.0', insecure: true })
  })
})
