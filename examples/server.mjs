// An HTTP server: requests by route and status, how long they take, and how many are under way on all servers together.
//
//   npx zibrato up --flush 1s
//   node examples/server.mjs
//   curl http://127.0.0.1:3000/pay
import { createServer } from 'node:http'
import { Zibrato } from 'zibrato'

const z = new Zibrato({ source: process.env.HOSTNAME ?? 'server' })
// asked for once and kept: recording on a handle costs nanoseconds
const requests = z.counter('http.requests', { allowTags: ['route', 'status'] })
const seconds = z.timer('http.seconds')
const underWay = z.gauge('http.under_way', { combine: 'sum' })

let open = 0
const server = createServer((request, response) => {
  const running = seconds.start()
  underWay.set(++open)
  response.once('close', () => {
    underWay.set(--open)
    running.stop()
    // a route, not a path: every value of a tag is a series of its own
    requests.with({ route: request.url === '/pay' ? '/pay' : 'other', status: response.statusCode }).inc()
  })
  response.statusCode = request.url === '/pay' ? 200 : 404
  response.end('ok\n')
})

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
// who listens for the signal says when the program ends, so it closes the client, too: that sends what is left
process.once('SIGTERM', () => {
  server.close(() => void z.close())
  server.closeIdleConnections()
})
