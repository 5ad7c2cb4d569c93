import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { UnixDatagramListener } from '../../../gateway/listen/unix-datagram.ts'
import { tempDirectories } from '../../backends/temp.ts'
import { until } from '../../until.ts'
import { CollectingReader } from './collecting.ts'

interface UnixDgram {
  createSocket(type: 'unix_dgram'): {
    connect(path: string): void
    send(packet: Buffer, callback: (error?: Error) => void): void
    close(): void
  }
}

const temp = tempDirectories()
const started: UnixDatagramListener[] = []

// a native package that hot-shots would like to have, and that need not be there
const unixDgram = ((): UnixDgram | undefined => {
  try {
    return createRequire(import.meta.url)('unix-dgram') as UnixDgram
  } catch {
    return undefined
  }
})()

async function listen(path: string): Promise<{ listener: UnixDatagramListener; reader: CollectingReader }> {
  const reader = new CollectingReader()
  const listener = new UnixDatagramListener({ reader, path })
  started.push(listener)
  await listener.start()
  return { listener, reader }
}

function send(path: string, ...packets: string[]): void {
  const socket = (unixDgram as UnixDgram).createSocket('unix_dgram')
  socket.connect(path)
  for (const packet of packets) socket.send(Buffer.from(packet), (error) => expect(error).toBeUndefined())
  socket.close()
}

async function newPath(): Promise<string> {
  return join(await temp(), 'dsd.socket')
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((listener) => listener.close()))
})

describe.runIf(unixDgram !== undefined)('a Unix datagram listener', () => {
  test('takes each datagram, and removes its file when it closes', async () => {
    const where = await newPath()
    const { listener, reader } = await listen(where)
    expect(statSync(where).mode & 0o777).toBe(0o666)
    send(where, 'a:1|c', 'a:2|c\nb:1|c\n')
    await until(() => reader.sum('a') === 3)
    expect(reader.packets).toEqual(['a:1|c', 'a:2|c\nb:1|c\n'])
    expect(listener.stats()).toEqual({ packets: 2, bytes: 17 })
    await listener.close()
    expect(existsSync(where)).toBe(false)
  })

  test('reads what the kernel still holds when it closes', async () => {
    const where = await newPath()
    const { listener, reader } = await listen(where)
    send(where, 'a:1|c', 'a:2|c', 'a:4|c')
    await Promise.all([listener.close(), listener.close()])
    expect(reader.sum('a')).toBe(7)
  })

  test('replaces the file of a process that is gone', async () => {
    const where = await newPath()
    const dead = spawn(process.execPath, [join(import.meta.dirname, 'abandon.mjs'), 'datagram', where])
    await once(dead, 'close')
    expect(existsSync(where)).toBe(true)
    const { reader } = await listen(where)
    send(where, 'a:1|c')
    await until(() => reader.sum('a') === 1)
  })

  test('refuses a path where a process listens, for datagrams or for streams', async () => {
    const where = await newPath()
    await listen(where)
    const message = `unix-datagram: cannot listen on ${where}: a process listens there; stop it or choose another path with --unix-datagram`
    await expect(listen(where)).rejects.toMatchObject({ code: 'ERR_LISTEN', message })
    const stream = await newPath()
    const server = createServer().listen(stream)
    await once(server, 'listening')
    await expect(listen(stream)).rejects.toThrow('a process listens there')
    server.close()
  })

  test('says that there is no such directory', async () => {
    await expect(listen(join(await temp(), 'missing/dsd.socket'))).rejects.toThrow('there is no such directory')
  })
})

test('a path that is too long is refused', () => {
  expect(() => new UnixDatagramListener({ reader: new CollectingReader(), path: 'x'.repeat(120) })).toThrow(UsageError)
})
