import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { freePorts } from '../../flow/statsd-daemon.ts'
import { until } from '../../until.ts'
import { Playground, type Program } from '../../flow/processes.ts'
import { logged, logs, start, zibrato } from '../cli.ts'

const UP = ['up', '--port', '0', '--http', '0', '--state', 'memory:', '--statsd-config', 'statsd.js']

function write(ground: Playground, text: string): void {
  writeFileSync(join(ground.folder, 'statsd.js'), text)
}

/** Sends a packet to where a program says that it listens. */
async function send(program: Program, text: string): Promise<void> {
  const { udp } = (await logged(program, 'listening')) as { udp: string }
  const { port } = new URL(udp.replace('udp:', 'http:'))
  const socket = createSocket('udp4')
  await new Promise((resolve) => socket.send(text, Number(port), '127.0.0.1', resolve))
  socket.close()
}

describe('zibrato up --statsd-config', () => {
  it('says that the server is up when it listens, on standard output as statsd does, and does what the file says', async () => {
    await using ground = new Playground()
    write(
      ground,
      '// statsd\n{ backends: ["./backends/console"], flushInterval: 500, address: "127.0.0.1", prefixStats: "me" }',
    )
    const up = start(ground, [...UP, '--udp', '0'])
    const line = await up.output(({ stdout }) => /^.*server is up$/m.exec(stdout)?.[0], 'server is up')
    expect(line).toMatch(/^\d{1,2} [A-Z][a-z]{2} \d\d:\d\d:\d\d - server is up$/)
    expect(await logged(up, 'listening')).toMatchObject({ to: ['console:?rows=all'], flushSeconds: 0.5 })
    await send(up, 'my name/x:5|c\nbad line')
    // keyNameSanitize, flushInterval, the console backend, and statsd's figures of itself
    await until(() => /my_name-x +counter +5 /.test(up.stdout), 'the line is counted')
    await until(() => /me\.bad_lines_seen +counter +1 /.test(up.stdout), 'the bad line is counted')
    expect(up.stdout).toMatch(/me\.metrics_received +counter +2 /)
    expect(await up.stop()).toBe(0)
  })

  it('names each setting that is not honoured, and flags that go before the file', async () => {
    await using ground = new Playground()
    write(
      ground,
      '{ graphiteHost: "127.0.0.1", mgmt_port: 1,\n repeater: [], port: 99, flushInterval: 5000, debug: true }',
    )
    const args = [...UP, '--udp', '0', '--to', 'file:out.jsonl', '--log-level', 'info']
    const up = start(ground, args, { ZIBRATO_FLUSH: '200ms' })
    expect(await logged(up, 'listening')).toMatchObject({ to: ['file:out.jsonl'], flushSeconds: 0.2 })
    const said = logs(up).map(({ level, msg }) => `${String(level)} ${String(msg)}`)
    expect(said.filter((line) => line.includes('statsd configuration'))).toEqual([
      expect.stringMatching(/^warn statsd configuration: mgmt_port is not honoured: there is no management port/),
      expect.stringMatching(/^warn statsd configuration: repeater is not honoured: packets are not passed on/),
      'info statsd configuration: ZIBRATO_FLUSH goes before flushInterval',
      'info statsd configuration: --to goes before backends',
      'info statsd configuration: --udp goes before the port and address of UDP',
    ])
    await send(up, 'timer:12|ms')
    await until(
      () => ground.rollups('out.jsonl').some(({ name, count }) => name === 'timer' && count === 0),
      'it is idle',
    )
    expect(await up.stop()).toBe(0)
    const timers = ground.rollups('out.jsonl').filter(({ name }) => name === 'timer')
    expect(timers.reduce((all, { count }) => all + (count ?? 0), 0)).toBe(1)
  })

  it('listens at all the servers of the file, beyond this machine too where it says no address, and says so', async () => {
    await using ground = new Playground()
    const { udp: port } = await freePorts()
    const sockets = `{ server: './servers/tcp', socket: 's.sock' }, { server: './servers/tcp', socket: 't.sock' }`
    write(ground, `{ backends: ['./backends/console'], servers: [{ port: ${port} }, ${sockets}] }`)
    const up = start(ground, UP, { ZIBRATO_UDP: '' })
    expect(await logged(up, 'listening')).toMatchObject({
      udp: `udp://0.0.0.0:${port}`,
      unix: expect.stringMatching(/s\.sock .*t\.sock$/),
    })
    expect(up.stderr).toContain('as with statsd, whoever reaches the port can send')
    expect(await up.stop()).toBe(0)
  })

  it.each([
    [
      '{ port: process.env.PORT }',
      '--statsd-config: statsd.js:1:9: port: "process.env.PORT" would have to be executed',
    ],
    ['{ graphiteHost: "g", port: "x" }', '--statsd-config: statsd.js:1:28: port must be a whole number'],
    [
      '{ backends: ["mine"] }',
      '--statsd-config: the file names no backend that is known here; set graphiteHost, or give --to',
    ],
    [
      '{ graphiteHost: "g", graphite: { globalSuffix: "a b" } }',
      'graphite#g:2003: the option globalSuffix must not hold',
    ],
  ])('refuses %s in one line', async (text, message) => {
    await using ground = new Playground()
    write(ground, text)
    const { code, stdout, stderr } = await zibrato(ground, UP)
    expect([code, stdout]).toEqual([2, ''])
    const last = stderr.trimEnd().split('\n').at(-1) as string
    expect(last).toContain(message)
  })

  it('refuses a file that is not there', async () => {
    await using ground = new Playground()
    const { code, stderr } = await zibrato(ground, UP)
    expect([code, stderr]).toEqual([
      2,
      'zibrato: --statsd-config: statsd.js cannot be read (ENOENT); name a configuration file of statsd\n',
    ])
  })
})
