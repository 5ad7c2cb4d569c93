import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { MemoryMetrics } from '../../client/transport/metrics.ts'
import { StatsdGateway, type StatsdGatewayOptions, startStatsd } from '../../gateway/index.ts'
import { tempDirectories } from '../backends/temp.ts'
import { until } from '../until.ts'

const temp = tempDirectories()
const started: StatsdGateway[] = []

interface Playing {
  readonly gateway: StatsdGateway
  readonly metrics: MemoryMetrics
  readonly warnings: string[]
}

/** A gateway that listens at free ports and whose frames are kept. */
async function start(options: Partial<StatsdGatewayOptions> = {}): Promise<Playing> {
  const metrics = new MemoryMetrics()
  const warnings: string[] = []
  const sink = { full: false, offer: (frames: Parameters<MemoryMetrics['send']>[0]) => metrics.send(frames) }
  const gateway = await startStatsd({
    sink,
    flushMs: 10,
    listeners: [{ kind: 'udp', port: 0 }],
    onWarning: (message) => warnings.push(message),
    ...options,
  })
  started.push(gateway)
  return { gateway, metrics, warnings }
}

async function connected(...where: [port: number] | [path: string]): Promise<Socket> {
  const socket = connect(where[0] as number)
  await once(socket, 'connect')
  return socket
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((gateway) => gateway.close()))
})

describe('a gateway for StatsD lines', () => {
  test('adds up what comes by all its listeners, and says what came', async () => {
    const path = join(await temp(), 'statsd.sock')
    const { gateway, metrics, warnings } = await start({
      level: 'crit',
      listeners: [
        { kind: 'udp', port: 0 },
        { kind: 'tcp', port: 0 },
        { kind: 'unix', path },
      ],
    })
    const [udp, tcp] = gateway.urls.map((url) => Number(url.split(':').at(-1))) as [number, number]
    expect(gateway.urls).toEqual([`udp://127.0.0.1:${udp}`, `tcp://127.0.0.1:${tcp}`, `unix://${path}`])
    const socket = createSocket('udp4')
    socket.send('hits:1|c\nnonsense\n_e{5,4}:title|text\n_sc|db|0', udp, '127.0.0.1')
    const stream = await connected(tcp)
    stream.write(`hits:2|c\n${'x'.repeat(70_000)}\n`)
    const unix = await connected(path)
    unix.end('hits:4|c')
    await until(() => metrics.sum('hits', { level: 'crit' }) === 7)
    await until(() => gateway.stats().listeners[`tcp://127.0.0.1:${tcp}`]?.bytes === 70_010)
    socket.close()
    const figures = gateway.metrics().split('\n')
    for (const line of [
      'zibrato_gateway_statsd_bytes_total{listener="udp"} 45',
      'zibrato_gateway_statsd_bytes_total{listener="tcp"} 70010',
      'zibrato_gateway_statsd_bytes_total{listener="unix"} 8',
      'zibrato_gateway_statsd_lines_total 6',
      'zibrato_gateway_statsd_values_total 3',
      'zibrato_gateway_statsd_bad_total{reason="format"} 1',
      'zibrato_gateway_statsd_bad_total{reason="length"} 1',
      'zibrato_gateway_statsd_bad_total{reason="cut"} 0',
      'zibrato_gateway_statsd_events_total 1',
      'zibrato_gateway_statsd_checks_total 1',
      'zibrato_gateway_statsd_kernel_drops_total 0',
      'zibrato_gateway_statsd_connections{listener="tcp"} 1',
      'zibrato_gateway_statsd_connections_accepted_total{listener="unix"} 1',
      'zibrato_gateway_statsd_connections_turned_away_total{listener="tcp"} 0',
    ]) {
      expect(figures).toContain(line)
    }
    stream.destroy()
    await gateway.close()
    expect(warnings.toSorted()).toEqual([
      expect.stringMatching(/^statsd: 1 bad line was passed over, such as "nonsense"/),
      expect.stringContaining('tcp: skipped a line'),
    ])
  })

  test('hands on what its sockets still hold when it closes', async () => {
    const { gateway, metrics } = await start({ flushMs: 60_000 })
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) =>
      socket.connect(Number(gateway.urls[0]?.split(':').at(-1)), '127.0.0.1', resolve),
    )
    for (let index = 0; index < 100; index++) socket.send('hits:1|c')
    await Promise.all([gateway.close(), gateway.close()])
    socket.close()
    expect(metrics.sum('hits')).toBe(100)
  })

  test('of whose listeners one cannot be closes the others again', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const path = join(await temp(), 'statsd.sock')
    const listeners = [{ kind: 'unix', path } as const, { kind: 'tcp', port } as const]
    await expect(start({ listeners })).rejects.toMatchObject({ code: 'ERR_LISTEN' })
    expect(existsSync(path)).toBe(false)
    other.close()
  })

  test('listens beyond loopback only when it is told to', async () => {
    const listeners = [{ kind: 'udp', host: '0.0.0.0', port: 0 } as const]
    await expect(start({ listeners })).rejects.toThrow(/StatsD lines carry no token/)
    await start({ listeners, insecure: true })
  })

  test('refuses options that make no sense before it listens anywhere', () => {
    const sink = { full: false, offer: () => true }
    expect(() => new StatsdGateway({ sink, flushMs: 0 })).toThrow(/give a time over 0/)
    expect(() => new StatsdGateway({ sink, listeners: [{ kind: 'udp', port: -1 }] })).toThrow(/port -1 is none/)
  })
})
