import { describe, expect, test } from 'vitest'
import { type StatsdSettings, planStatsd, statsdAddresses, statsdPorts } from '../../bin/cli/statsd.ts'

const settings: StatsdSettings = {
  udp: 8125,
  tcp: undefined,
  udpBuffer: undefined,
  udpLevel: 'info',
  unix: undefined,
  unixDatagram: undefined,
  unixMode: 0o666,
  gatewayFlush: 250,
}
const open = { host: '0.0.0.0', insecure: false }

describe('where StatsD lines are taken', () => {
  test('is what the flags say', async () => {
    const local = { host: '127.0.0.1', insecure: false }
    expect(await planStatsd(local, settings, 'default')).toEqual({
      level: 'info',
      flushMs: 250,
      listeners: [{ kind: 'udp', host: '127.0.0.1', port: 8125 }],
    })
    const all = { ...settings, udpBuffer: 9_000, tcp: 0, unix: 'a.sock', unixDatagram: 'b.sock', unixMode: 0o660 }
    const plan = await planStatsd({ ...open, insecure: true }, { ...all, udpLevel: 'crit', gatewayFlush: 10 }, 'flag')
    expect(plan).toEqual({
      level: 'crit',
      flushMs: 10,
      listeners: [
        { kind: 'udp', host: '0.0.0.0', port: 8125, bufferBytes: 9_000 },
        { kind: 'tcp', host: '0.0.0.0', port: 0 },
        { kind: 'unix', path: 'a.sock', mode: 0o660 },
        { kind: 'unix-datagram', path: 'b.sock', mode: 0o660 },
      ],
    })
    const urls = ['udp://0.0.0.0:8125', 'tcp://0.0.0.0:4711', 'unix://a.sock', 'unixgram://b.sock']
    expect(statsdAddresses(plan, { urls })).toEqual({
      udp: urls[0],
      tcp: urls[1],
      unix: urls[2],
      'unix-datagram': urls[3],
    })
    expect((await planStatsd(local, { ...settings, udp: undefined }, 'flag')).listeners).toEqual([])
  })

  test('stays this machine for UDP that nobody asked for, when the rest is open to others', async () => {
    const plan = await planStatsd(open, settings, 'default')
    expect(plan.listeners).toEqual([{ kind: 'udp', host: '127.0.0.1', port: 8125 }])
    expect(plan.note).toBe('StatsD lines carry no token, so the UDP port is open to this machine only')
    expect(statsdPorts(plan, open.host)).toEqual([])
  })

  test('is open to others, and thus refused, when it was asked for', async () => {
    for (const origin of ['flag', 'environment', 'config'] as const) {
      const plan = await planStatsd(open, settings, origin)
      expect(plan.listeners).toEqual([{ kind: 'udp', host: '0.0.0.0', port: 8125 }])
      expect(plan.note).toBeUndefined()
      expect(statsdPorts(plan, open.host)).toMatchObject([{ name: 'StatsD over UDP', port: 8125, isProtected: false }])
    }
    const plan = await planStatsd(open, { ...settings, udp: undefined, tcp: 8125, unix: 'a.sock' }, 'flag')
    expect(statsdPorts(plan, open.host).map(({ name }) => name)).toEqual(['StatsD over TCP'])
  })
})
