import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { type Socket, connect } from 'node:net'
import { join } from 'node:path'
import { StatsD } from 'hot-shots'
import { describe, expect, test } from 'vitest'
import { until } from '../until.ts'
import { type Listening, Playground, type Rollup } from './processes.ts'

// hot-shots would like to have it for its protocol "uds", and can do without
const hasUnixDgram = ((): boolean => {
  try {
    createRequire(import.meta.url)('unix-dgram')
    return true
  } catch {
    return false
  }
})()

function portOf(url: string | undefined): number {
  return Number(url?.split(':').at(-1))
}

/** Sends all it holds and ends. */
function closed(client: StatsD): Promise<void> {
  return new Promise((resolve, reject) => client.close((error) => (error ? reject(error) : resolve())))
}

async function connected(where: number | string): Promise<Socket> {
  const socket = connect(where as number)
  await once(socket, 'connect')
  return socket
}

async function ended(socket: Socket, last: string | Buffer): Promise<void> {
  socket.end(last)
  await once(socket.resume(), 'close')
}

/** Datagrams from one socket, at a pace that no receive buffer is too small for. */
async function datagrams(port: number, packets: readonly string[]): Promise<void> {
  const socket = createSocket('udp4')
  for (const packet of packets) {
    await new Promise<void>((resolve) => socket.send(packet, port, '127.0.0.1', () => resolve()))
  }
  socket.close()
}

function framed(packet: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(Buffer.byteLength(packet))
  return Buffer.concat([length, Buffer.from(packet)])
}

async function figures(listening: Listening): Promise<string> {
  return (await fetch(`${listening.http}/metrics`)).text()
}

describe('StatsD clients', () => {
  test('of every kind feed one counter at once, and the sum is exact', async () => {
    await using ground = new Playground()
    const path = join(ground.folder, 'statsd.sock')
    const datagramPath = join(ground.folder, 'dsd.socket')
    const { program, listening } = await ground.up(
      '--flush',
      '500ms',
      '--tcp',
      '0',
      '--unix',
      path,
      ...(hasUnixDgram ? ['--unix-datagram', datagramPath] : []),
    )
    const udp = portOf(listening.udp)
    const tcp = portOf(listening.tcp)
    expect(listening).toMatchObject({ unix: `unix://${path}` })

    const one = new StatsD({ host: '127.0.0.1', port: udp })
    const buffered = new StatsD({ host: '127.0.0.1', port: udp, maxBufferSize: 1_400, prefix: 'shop.' })
    const overTcp = new StatsD({ host: '127.0.0.1', port: tcp, protocol: 'tcp', globalTags: { via: 'tcp' } })
    const stream = await connected(path)
    const overStream = new StatsD({ protocol: 'stream', stream })
    const overUds = hasUnixDgram ? new StatsD({ protocol: 'uds', path: datagramPath }) : undefined
    for (let index = 0; index < 300; index++) {
      one.increment('shared')
      buffered.increment('shared', 2)
      overTcp.increment('shared', 4, { route: index % 2 === 0 ? '/pay' : '/cart' })
      overStream.increment('shared', 8)
      overUds?.increment('shared', 16)
      // one client's datagrams are not paced by anything else
      if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    const bytes = await connected(tcp)
    for (const byte of 'shared:32|c\nshared:32|c\n') bytes.write(byte)
    const packets = await connected(path)
    packets.write(framed('shared:64|c\nshared:64|c'))
    await Promise.all([
      ...[one, buffered, overTcp, overStream, ...(overUds === undefined ? [] : [overUds])].map(closed),
      datagrams(udp, Array<string>(200).fill('shared:1|c|@0.5\nshared:1|c\n')),
      ended(bytes, 'shared:32|c'),
      ended(packets, framed('shared:64|c')),
    ])
    stream.destroy()
    const expected = 300 * (1 + 4 + 8 + (hasUnixDgram ? 16 : 0)) + 200 * 3 + 3 * 32 + 3 * 64
    const sums = (): Map<string, number> => ground.sums('out.jsonl')
    await until(() => sums().get('shared') === expected && sums().get('shop.shared') === 600)
    expect(await figures(listening)).toContain('\nzibrato_gateway_statsd_kernel_drops_total 0\n')
    expect(await program.stop()).toBe(0)
    expect([sums().get('shared'), sums().get('shop.shared')]).toEqual([expected, 600])
    const tags = ground.rollups('out.jsonl').map((rollup) => JSON.stringify(rollup.tags))
    expect(new Set(tags)).toEqual(new Set(['{}', '{"route":"/pay","via":"tcp"}', '{"route":"/cart","via":"tcp"}']))
  })

  test('of hot-shots say all they can, and it comes out as meant', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.up('--flush', '1h', '--udp-level', 'crit', '--levels', 'crit')
    const client = new StatsD({ host: '127.0.0.1', port: portOf(listening.udp), globalTags: ['env:test', 'canary'] })
    client.increment('count')
    client.decrement('count', 3)
    client.timing('time', 12)
    client.histogram('size', 512)
    client.distribution('spread', 0.25)
    client.gauge('queue', 10)
    client.gaugeDelta('queue', -4)
    client.gaugeDelta('queue', 1)
    client.set('users', 'ann')
    client.unique('users', 'bob')
    client.set('users', 'ann')
    client.timer(() => 1, 'called')()
    await client.asyncTimer(() => Promise.resolve(1), 'awaited')()
    client.event('deployed', 'to production')
    client.check('db', client.CHECKS.OK)
    await closed(client)
    await until(async () => (await figures(listening)).includes('statsd_lines_total 15\n'))
    const text = await figures(listening)
    for (const figure of ['values_total 13', 'events_total 1', 'checks_total 1']) {
      expect(text).toContain(`zibrato_gateway_statsd_${figure}\n`)
    }
    expect(await program.stop()).toBe(0)
    const rollups = new Map(ground.rollups('out.jsonl').map((rollup) => [rollup.name, rollup]))
    const tags = { env: 'test', canary: 'true' }
    const about = (name: string): Rollup | undefined => rollups.get(name)
    expect(about('count')).toMatchObject({ type: 'counter', value: -2, tags })
    expect(about('time')).toMatchObject({ type: 'timer', count: 1, sum: 0.012, tags })
    expect(about('size')).toMatchObject({ type: 'histogram', max: 512 })
    expect(about('spread')).toMatchObject({ type: 'histogram', p99: 0.25 })
    expect(about('queue')).toMatchObject({ type: 'gauge', value: 7 })
    expect(about('users')).toMatchObject({ type: 'set', value: 2 })
    expect(about('called')).toMatchObject({ type: 'timer', count: 1 })
    expect(about('awaited')).toMatchObject({ type: 'timer', count: 1 })
    expect(rollups.size).toBe(8)
  })

  test('lose nothing that the kernel has when the gateway is told to stop', async () => {
    await using ground = new Playground()
    const path = join(ground.folder, 'statsd.sock')
    const { program, listening } = await ground.up('--flush', '1h', '--tcp', '0', '--unix', path)
    const sockets = await Promise.all([connected(portOf(listening.tcp)), connected(path)])
    // stopped, it reads nothing; SIGTERM is there with all that was sent when it goes on
    program.child.kill('SIGSTOP')
    await datagrams(portOf(listening.udp), Array<string>(500).fill('hits:1|c'))
    for (const socket of sockets) {
      await new Promise((resolve) => socket.write('hits:1|c\n'.repeat(1_000), resolve))
    }
    // connected and said all, before anybody has accepted it
    const late = connect(path)
    late.end('hits:500|c')
    await once(late, 'connect')
    program.child.kill('SIGTERM')
    program.child.kill('SIGCONT')
    expect(await program.ended).toBe(0)
    for (const socket of sockets) socket.destroy()
    expect(ground.sums('out.jsonl')).toEqual(new Map([['hits', 3_000]]))
  })
})

describe('a gateway by itself', () => {
  test('takes lines without HTTP, and hands them to its broker', async () => {
    await using ground = new Playground()
    const broker = await ground.zibrato('broker', '--port', '0')
    const url = broker.listening.broker?.publishers as string
    await ground.zibrato('worker', '--broker', url, '--to', 'file:out.jsonl', '--flush', '100ms')
    const { program, listening } = await ground.zibrato('gateway', '--broker', url, '--http', 'off', '--udp', '0')
    expect(listening).toMatchObject({ http: 'off', udp: expect.stringMatching(/^udp:\/\/127\.0\.0\.1:\d+$/) })
    await datagrams(portOf(listening.udp), ['hits:3|c'])
    await until(() => ground.sums('out.jsonl').get('hits') === 3)
    expect(await program.stop()).toBe(0)
  })

  test('that is started beside a statsd ends with one line that says how to go on', async () => {
    await using ground = new Playground()
    const statsd = createSocket('udp4').bind(0, '127.0.0.1')
    await once(statsd, 'listening')
    const { port } = statsd.address()
    const program = ground.cli('up', '--port', '0', '--http', '0', '--udp', String(port), '--log-level', 'error')
    expect(await program.ended).toBe(1)
    expect(program.stderr).toBe(
      `zibrato: udp: cannot listen on 127.0.0.1:${port}: port ${port} is taken; stop whoever holds it, ` +
        'choose another with --udp, or leave it out with --udp off\n',
    )
    statsd.close()
  })
})
