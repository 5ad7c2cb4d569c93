// A server with Hono: how long each route takes, by the name of the route, and what was ordered.
//
//   npx zibrato up --flush 1s
//   node examples/hono.mjs
//   curl -d '' http://127.0.0.1:3000/orders
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { routePath } from 'hono/route'
import { Zibrato } from 'zibrato'

const z = new Zibrato({ source: 'shop' })
const orders = z.counter('orders')
const seconds = z.timer('http.seconds', { allowTags: ['route', 'status'] })

const app = new Hono()
app.use(async (c, next) => {
  const started = performance.now()
  await next()
  // what was matched, such as /orders/:id, and not what was asked for
  const route = c.res.status === 404 ? 'other' : routePath(c, -1)
  seconds.with({ route, status: c.res.status }).recordMs(performance.now() - started)
})
app.post('/orders', (c) => {
  orders.inc()
  return c.text('ordered at the server\n')
})

const server = serve(
  { fetch: app.fetch, hostname: '127.0.0.1', port: Number(process.env.PORT ?? 3000) },
  ({ port }) => {
    console.log(`http://127.0.0.1:${port}`)
  },
)
process.once('SIGTERM', () => {
  server.close(() => void z.close())
  server.closeIdleConnections()
})
