// Hono on node-server that does nothing with what it is sent, as a gateway's least possible work.
//   node hono.js json|bytes
import { serve } from '@hono/node-server'
import { Hono } from 'hono'

const [kind] = process.argv.slice(2)

const app = new Hono()
if (kind === 'json') {
  app.post('/v1/metrics', async (context) => {
    const { measurements } = await context.req.json()
    return context.json({ accepted: measurements.length, rejected: [] }, 202)
  })
} else {
  app.post('/v1/metrics', async (context) => {
    const body = await context.req.arrayBuffer()
    return context.json({ accepted: body.byteLength, rejected: [] }, 202)
  })
}
process.on('message', () => process.send({ cpu: process.cpuUsage(), sent: 0, waiting: 0 }))
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => process.send({ port }))
