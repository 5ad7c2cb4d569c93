// A server of several processes, and their aggregator; cluster.test.ts starts it. Lines on stdin are commands, each of which the
// primary answers with a line of JSON on stdout.
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import promClient from 'prom-client'

const WORKERS = 4
const { dist, address } = JSON.parse(process.env.SERVER)
const { DistributedRegistry, RegistryAggregator } = await import(`${dist}/client/distributed/index.js`)
const { HttpReporter } = await import(`${dist}/client/reporters/index.js`)

if (cluster.isPrimary) await primary()
else worker()

async function primary() {
  const reporter = new HttpReporter()
  await new RegistryAggregator({ address, reporters: [reporter] }).start()
  const promRegistry = new promClient.AggregatorRegistry()
  const ready = () =>
    new Promise((resolve) => {
      const forked = cluster.fork()
      forked.once('message', (port) => resolve({ forked, port }))
    })
  const workers = await Promise.all(Array.from({ length: WORKERS }, ready))

  /** Has another take the place of a worker that is killed. */
  async function replace(prepare) {
    const { forked } = workers.shift()
    await prepare(forked)
    const gone = new Promise((resolve) => forked.once('exit', (_, signal) => resolve(signal)))
    forked.process.kill('SIGKILL')
    const signal = await gone
    workers.push(await ready())
    return signal
  }

  const commands = {
    prom: async () => ({ text: await promRegistry.clusterMetrics() }),
    /** Kills one that answers no more requests, and whose counts have arrived. */
    retire: () =>
      replace(async (forked) => {
        const retired = new Promise((resolve) => forked.once('message', resolve))
        forked.send('retire')
        await retired
      }),
    /** Kills one in the midst of its work. */
    kill: () => replace(async () => {}),
  }
  const obey = async (command) => console.log(JSON.stringify({ command, answer: await commands[command]() }))
  createInterface({ input: process.stdin })
    .on('line', (line) => void obey(line))
    // whoever started it is gone
    .on('close', () => process.exit())
  console.log(JSON.stringify({ command: 'start', answer: { port: workers[0].port, report: reporter.url } }))
}

function worker() {
  const registry = new DistributedRegistry({ address, flushInterval: '50ms' })
  const requests = registry.counter('requests')
  const latency = registry.timer('latency')
  registry.timer('half').record(0.5)
  registry.gauge('workers', { combine: 'sum' }).set(1)
  new promClient.AggregatorRegistry()
  new promClient.Summary({ name: 'half', help: 'half', percentiles: [0.5] }).observe(0.5)

  const answer = async ({ url }, response) => {
    const { pathname, searchParams } = new URL(url, 'http://server')
    requests.with({ path: pathname }).inc()
    latency.with({ path: pathname }).record(Number(searchParams.get('seconds')))
    // what is answered here has arrived, whatever becomes of this process
    if (pathname === '/confirmed') await registry.flush()
    response.setHeader('connection', 'close').end(registry.connected() ? 'counted' : 'perhaps')
  }
  const tell = async (message) => {
    await registry.flush()
    process.send(message)
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen({ port: 0, host: '127.0.0.1' }, () => void tell(server.address().port))
  process.on('message', (message) => {
    if (message === 'retire') server.close(() => void tell('retired'))
  })
}
