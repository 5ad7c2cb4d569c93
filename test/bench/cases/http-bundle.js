import { FrameEncoder, SHARDS, TYPE_CODE, encodeBundle } from '../tools/internals.js'
import { keyOf } from '../tools/frames.js'
import { measurePosts, startGateway, startHono } from '../tools/posts.js'

const SERIES = 100
const CONNECTIONS = 64

/** What clients with 100 counters each post at a flush: a frame for every shard that they touch. @param {number} series */
function bodiesOf(series) {
  return Array.from({ length: series / SERIES }, (_, body) => {
    const encoders = Array.from({ length: SHARDS }, () => new FrameEncoder())
    for (let index = 0; index < SERIES; index++) {
      const key = keyOf(body * SERIES + index)
      encoders[key.shard].entry(TYPE_CODE.counter, key).f64(1)
    }
    const frames = encoders.flatMap((encoder, shard) =>
      encoder.count === 0 ? [] : [encoder.seal({ high: 1, low: body }, 'info', shard, 1, Date.now(), 5_000)],
    )
    return encodeBundle(frames)
  })
}

/** @param {Awaited<ReturnType<typeof startHono>>} server @param {import('../case.js').Context} context */
function measure(server, { size, seconds }) {
  return measurePosts(server, {
    contentType: 'application/vnd.zibrato.bundle',
    bodies: bodiesOf(size),
    connections: CONNECTIONS,
    seconds,
  })
}

/** @type {import('../case.js').Case} */
export default {
  name: 'http-bundle',
  title: 'HTTP posts of bundles of 100 series',
  method: `As above, with ${CONNECTIONS} connections; a post is what a client with 100 counters sends at a flush, 30 frames in 7 kB. The peer
only reads the body and answers.`,
  sizes: [1_000, 10_000],
  contenders: {
    gateway: async (context) => measure(await startGateway(), context),
    'Hono, only reads': async (context) => measure(await startHono('bytes'), context),
  },
  rows: [
    {
      measured: ['gateway', 'rate'],
      peer: ['Hono, only reads', 'rate'],
      unit: 'posts/s',
      target: { atLeast: 0.8 },
    },
    { measured: ['gateway', 'cpu'], peer: ['Hono, only reads', 'cpu'], unit: 'µs' },
  ],
}
