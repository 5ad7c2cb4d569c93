// Receives StatsD lines over UDP in one of three ways, and says how many packets came and what they cost:
//   bare     a handler that counts packets
//   statsd   statsd 0.9, which flushes every second to a backend that adds up its own figures
//   zibrato  the gateway's listener and intake; its frames go nowhere
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const BUFFER = 4 << 20
const [kind] = process.argv.slice(2)

async function bare() {
  let packets = 0
  const socket = createSocket({ type: 'udp4', recvBufferSize: BUFFER })
  socket.on('message', () => packets++)
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return { port: socket.address().port, packets: () => packets }
}

async function zibrato() {
  const { StatsdIntake, UdpListener } = await import('../tools/internals.js')
  const intake = new StatsdIntake({ offer: () => true, full: () => false })
  const listener = new UdpListener({ reader: intake, port: 0, bufferBytes: BUFFER })
  await listener.start()
  return { port: listener.port, packets: () => listener.stats().packets }
}

async function statsd() {
  const directory = mkdtempSync(join(tmpdir(), 'zibrato-bench-'))
  const file = (/** @type {string} */ name, /** @type {string} */ text) => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const backend = file(
    'figures.cjs',
    `exports.init = (startup, config, events) => events.on('flush', (time, { counters }) => {
      globalThis.packets = (globalThis.packets ?? 0) + counters['statsd.packets_received']
    })`,
  )
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  const servers = [{ server: './servers/udp', address: '127.0.0.1', port }]
  process.argv[2] = file(
    'config.js',
    JSON.stringify({ servers, mgmt_port: 0, flushInterval: 1000, backends: [backend], deleteIdleStats: true }),
  )
  const require = createRequire(import.meta.url)
  process.chdir(join(require.resolve('statsd/stats.js'), '..'))
  require('statsd/stats.js')
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  return { port, packets: () => globalThis.packets ?? 0 }
}

const { port, packets } = await { bare, statsd, zibrato }[kind]()
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send({ packets: packets(), cpu: (user + system) / 1e6 })
})
process.on('SIGTERM', () => process.exit())
process.send({ port })
