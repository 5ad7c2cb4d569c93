import { Load } from './load.js'
import { startPeer } from './peer.js'

/** A gateway with a broker and a subscriber behind it, so that what it takes goes out. */
export async function startGateway() {
  const broker = await startPeer('broker.js', 'zibrato', 'drain')
  return startPeer('gateway.js', broker.ready.port)
}

/** @param {'json' | 'bytes'} kind */
export function startHono(kind) {
  return startPeer('hono.js', kind)
}

/**
 * Requests a second, and ms of the server's CPU for a thousand of them.
 *
 * @param {Awaited<ReturnType<typeof startPeer>>} server
 * @param {{ contentType: string, bodies: readonly Uint8Array[], connections: number, seconds: number }} options
 */
export async function measurePosts(server, { contentType, bodies, connections, seconds }) {
  const load = new Load({ port: server.ready.port, contentType, bodies })
  await load.start(connections)
  await sleep(seconds * 1000)
  const before = await server.ask('figures')
  const start = performance.now()
  const from = load.answers
  await sleep(seconds * 2000)
  const after = await server.ask('figures')
  const answers = load.answers - from
  const rate = (answers / (performance.now() - start)) * 1000
  load.stop()
  await server.stop()
  const cpu = (after.cpu.user + after.cpu.system - before.cpu.user - before.cpu.system) / answers
  return { rate, cpu }
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
