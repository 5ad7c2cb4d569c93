import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { type Socket, connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { UnixListener, type UnixListenerOptions } from '../../../gateway/listen/unix.ts'
import { tempDirectories } from '../../backends/temp.ts'
import { until } from '../../until.ts'
import { CollectingReader } from './collecting.ts'

const temp = tempDirectories()
const started: UnixListener[] = []
const sockets: Socket[] = []

async function listen(
  path: string,
  options: Partial<UnixListenerOptions> = {},
): Promise<{ listener: UnixListener; reader: CollectingReader; warnings: string[] }> {
  const reader = new CollectingReader()
  const warnings: string[] = []
  const onWarning = (message: string): unknown => warnings.push(message)
  const listener = new UnixListener({ reader, path, onWarning, ...options })
  started.push(listener)
  await listener.start()
  return { listener, reader, warnings }
}

async function open(path: string): Promise<Socket> {
  const socket = connect(path).on('error', () => {})
  sockets.push(socket)
  await once(socket, 'connect')
  return socket
}

async function newPath(): Promise<string> {
  return join(await temp(), 'statsd.sock')
}

/** As datadog-go and others write it at `unixstream://`. */
function framed(packet: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(packet.length)
  return Buffer.concat([length, Buffer.from(packet)])
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await Promise.all(started.splice(0).map((listener) => listener.close()))
})

describe('a Unix stream listener', () => {
  test('takes lines on one connection and packets behind their length on another', async () => {
    const { listener, reader } = await listen(await newPath())
    const where = listener.url.slice('unix://'.length)
    const lines = await open(where)
    const packets = await open(where)
    for (const byte of 'a:1|c\na:2|c\n') lines.write(byte)
    const bytes = Buffer.concat([framed('a:4|c'), framed('a:8|c\na:16|c\n'), framed('b:1|c')])
    for (let index = 0; index < bytes.length; index++) {
      packets.write(bytes.subarray(index, index + 1))
      await until(() => listener.stats().bytes >= index + 1)
    }
    lines.end('a:32|c')
    await until(() => reader.sum('a') === 63 && reader.sum('b') === 1)
    expect(listener.stats().faults).toEqual({ tooLong: 0, cut: 0, unframed: 0 })
  })

  test('closes a connection whose lengths make no sense any more, and no other', async () => {
    const { listener, reader, warnings } = await listen(await newPath())
    const where = listener.url.slice('unix://'.length)
    const other = await open(where)
    const broken = await open(where)
    broken.write(Buffer.concat([framed('a:1|c'), Buffer.from('a:2|c\n')]))
    await once(broken.resume(), 'close')
    other.end('a:4|c')
    await until(() => reader.sum('a') === 5)
    expect(listener.stats().faults).toEqual({ tooLong: 0, cut: 0, unframed: 1 })
    expect(warnings).toEqual(['unix: closed a connection on which lengths of packets made no sense any more'])
  })

  test('lets every user of the machine send, or whom it is told, and removes its file when it closes', async () => {
    const first = await listen(await newPath())
    const where = first.listener.url.slice('unix://'.length)
    expect(statSync(where).mode & 0o777).toBe(0o666)
    await first.listener.close()
    expect(existsSync(where)).toBe(false)
    await listen(where, { mode: 0o620 })
    expect(statSync(where).mode & 0o777).toBe(0o620)
  })

  test('replaces the file of a process that is gone', async () => {
    const where = await newPath()
    const dead = spawn(process.execPath, [join(import.meta.dirname, 'abandon.mjs'), 'stream', where])
    await once(dead, 'close')
    expect(existsSync(where)).toBe(true)
    const { reader } = await listen(where)
    ;(await open(where)).end('a:1|c\n')
    await until(() => reader.sum('a') === 1)
  })

  test('refuses a path where a process listens, which goes on undisturbed', async () => {
    const where = await newPath()
    const { reader } = await listen(where)
    await expect(listen(where)).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      message: `unix: cannot listen on ${where}: a process listens there; stop it or choose another path with --unix`,
    })
    ;(await open(where)).end('a:1|c\n')
    await until(() => reader.sum('a') === 1)
  })

  test('of two that find the same file left behind, one gets the path and the other is refused', async () => {
    const where = await newPath()
    const dead = spawn(process.execPath, [join(import.meta.dirname, 'abandon.mjs'), 'stream', where])
    await once(dead, 'close')
    const both = await Promise.allSettled([listen(where), listen(where), listen(where)])
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected', 'rejected'])
    const winner = both.find((each) => each.status === 'fulfilled')
    ;(await open(where)).end('a:1|c\n')
    await until(() => winner?.value.reader.sum('a') === 1)
  })

  test('leaves what is no socket where it is', async () => {
    const where = await newPath()
    writeFileSync(where, 'precious')
    await expect(listen(where)).rejects.toThrow(
      `unix: cannot listen on ${where}: there is a file that is no socket; remove it or choose another path with --unix`,
    )
    expect(statSync(where).size).toBe(8)
  })

  test('says which path is none: no directory, too long, or no permissions', async () => {
    const directory = await temp()
    await expect(listen(join(directory, 'missing/statsd.sock'))).rejects.toThrow(
      `there is no such directory; make it or choose another path with --unix`,
    )
    const reader = new CollectingReader()
    expect(() => new UnixListener({ reader, path: join(directory, 'x'.repeat(120)) })).toThrow(UsageError)
    expect(() => new UnixListener({ reader, path: '' })).toThrow(UsageError)
    expect(() => new UnixListener({ reader, path: 'x', mode: 0o7777 })).toThrow(/--unix-mode/)
  })
})
