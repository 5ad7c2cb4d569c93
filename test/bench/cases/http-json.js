import { measurePosts, startGateway, startHono } from '../tools/posts.js'

const MEASUREMENTS = 100
/** A post waits up to 20 ms for its tick: fewer connections would measure that. */
const CONNECTIONS = 512

/** @param {number} series */
function bodiesOf(series) {
  return Array.from({ length: series / MEASUREMENTS }, (_, body) =>
    Buffer.from(
      JSON.stringify({
        level: 'info',
        source: 'web-1',
        measurements: Array.from({ length: MEASUREMENTS }, (_unused, index) => ({
          type: 'counter',
          name: 'http.requests',
          value: 1,
          tags: { route: `/item/${String(body * MEASUREMENTS + index).padStart(6, '0')}` },
        })),
      }),
    ),
  )
}

/** @param {Awaited<ReturnType<typeof startHono>>} server @param {import('../case.js').Context} context */
function measure(server, { size, seconds }) {
  return measurePosts(server, {
    contentType: 'application/json',
    bodies: bodiesOf(size),
    connections: CONNECTIONS,
    seconds,
  })
}

/** @type {import('../case.js').Case} */
export default {
  name: 'http-json',
  title: 'HTTP posts of 100 measurements in JSON',
  method: `${CONNECTIONS} connections with one post under way on each, from another process; 100 counters with one tag in a post of 9 kB, that
many series in all. The gateway publishes to a broker with a subscriber, in a process of their own, and answers once what
it took is sealed. The peer is a handler of Hono on node-server that calls \`req.json()\` and answers. \`cpu\` is what the
server's process, all threads, spent on a post.`,
  sizes: [1_000, 10_000],
  contenders: {
    gateway: async (context) => measure(await startGateway(), context),
    'Hono, only parses': async (context) => measure(await startHono('json'), context),
  },
  rows: [
    {
      measured: ['gateway', 'rate'],
      peer: ['Hono, only parses', 'rate'],
      unit: 'posts/s',
      target: { atLeast: 0.75 },
    },
    { measured: ['gateway', 'cpu'], peer: ['Hono, only parses', 'cpu'], unit: 'µs' },
  ],
}
