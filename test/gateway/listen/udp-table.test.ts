import { type Socket, createSocket } from 'node:dgram'
import { once } from 'node:events'
import { platform } from 'node:os'
import { describe, expect, test } from 'vitest'
import { udpEntry } from '../../../gateway/listen/udp-table.ts'

async function bind(type: 'udp4' | 'udp6', address: string): Promise<Socket> {
  const socket = createSocket(type).bind(0, address)
  await once(socket, 'listening')
  return socket
}

// the kernels of others have no such table
describe.runIf(platform() === 'linux')("the kernel's table of UDP sockets", () => {
  test.each([
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const)('has a socket of %s, which nothing was dropped at', async (type, address) => {
    const socket = await bind(type, address)
    const entry = await udpEntry(socket.address())
    expect(entry?.drops).toBe(0)
    expect(entry?.inode).toMatch(/^[1-9]\d*$/)
    socket.close()
  })

  test('has none at an address where no socket is, or no longer', async () => {
    const socket = await bind('udp4', '127.0.0.1')
    const bound = socket.address()
    expect(await udpEntry({ ...bound, address: '127.0.0.2' })).toBeUndefined()
    expect(await udpEntry({ ...bound, family: 'IPv6', address: '::1' })).toBeUndefined()
    socket.close()
    await once(socket, 'close')
    expect(await udpEntry(bound)).toBeUndefined()
  })
})
