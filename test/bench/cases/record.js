import HotShots from 'hot-shots'
import { checkCount, client, counted } from '../tools/client.js'
import { HANDLES, MASK, METHODS, ROUTES, STATUSES, order } from '../tools/data.js'
import { nsPerCallAndTurn } from '../tools/measure.js'
import { startPeer } from '../tools/peer.js'

const next = order()

/** @param {(tags: { route: string, status: number, method: string }) => void} count @param {number} seconds */
async function measure(count, seconds) {
  let total = 0
  const ns = await nsPerCallAndTurn((calls) => {
    for (let index = 0; index < calls; index++) {
      const id = next[index & MASK]
      count({ route: ROUTES[id & 7], status: STATUSES[(id >> 3) & 3], method: METHODS[id >> 5] })
    }
    total += calls
  }, seconds)
  return { ns, total }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'record',
  title: 'A one-shot measurement with three tags',
  method: `No handle is kept: \`z.record({ type, name, value, tags })\` against hot-shots' \`increment(name, 1, tags)\`, both with a fresh
object of tags, ${HANDLES} combinations, and with a turn of the event loop every 1,000 calls that counts too. hot-shots sends
UDP to a local socket that reads and drops, buffered to 1,432 bytes a packet; \`mock\` is hot-shots without a socket. It
cannot be faster than that.`,
  contenders: {
    'zibrato record()': async ({ seconds }) => {
      const own = client()
      const { z } = own
      const { ns, total } = await measure(
        (tags) => z.record({ type: 'counter', name: 'http.requests', value: 1, tags }),
        seconds,
      )
      checkCount('zibrato', await counted(own), total)
      return { ns }
    },
    'hot-shots increment(), UDP': async ({ seconds }) => {
      const sink = await startPeer('udp-sink.js')
      const statsd = new HotShots({ port: sink.ready.port, maxBufferSize: 1_432, errorHandler: () => {} })
      const { ns } = await measure((tags) => statsd.increment('http.requests', 1, tags), seconds)
      await new Promise((resolve) => statsd.close(resolve))
      await sink.stop()
      return { ns }
    },
    'hot-shots increment(), mock': async ({ seconds }) => {
      const statsd = new HotShots({ mock: true })
      const { ns } = await measure((tags) => {
        statsd.increment('http.requests', 1, tags)
        // else it keeps every line
        statsd.mockBuffer.length = 0
      }, seconds)
      return { ns }
    },
  },
  rows: [
    {
      measured: ['zibrato record()', 'ns'],
      peer: ['hot-shots increment(), UDP', 'ns'],
      unit: 'ns',
      target: { atMost: 1 / 5 },
    },
    {
      measured: ['zibrato record()', 'ns'],
      peer: ['hot-shots increment(), mock', 'ns'],
      unit: 'ns',
      target: { atMost: 1 / 5 },
    },
  ],
}
