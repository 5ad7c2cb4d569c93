import { readFileSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'
import { Agent } from 'undici'
import { Miniflare } from 'miniflare'
import { DIST } from '../tools/dist.js'

const SERIES = 10
const AT_ONCE = 16
const CHUNK = 400
/** Ticks of a Linux kernel's CPU accounting, ms. */
const TICK_MS = 10

const BARE = `export default { fetch: () => new Response('ok') }`
const INSTRUMENTED = `
  import { Zibrato, instrument } from ${JSON.stringify(join(DIST, 'client/edge.js'))}
  const z = new Zibrato({ source: 'bench' })
  const counters = Array.from({ length: ${SERIES} }, (_, index) => z.counter('requests.' + index))
  let served = 0
  export default instrument(z, {
    fetch(request) {
      if (request.url.endsWith('/stats')) return Response.json({ served, ...z.stats() })
      served++
      for (const counter of counters) counter.inc()
      return new Response('ok')
    },
  }, (env) => ({ url: env.GATEWAY }))
`

/** A Worker in a workerd of its own. @param {string} contents @param {string} gateway */
async function start(contents, gateway) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: DIST },
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
  })
  const before = new Set(children())
  const miniflare = new Miniflare({
    modules: true,
    script: outputFiles[0].text,
    compatibilityDate: '2026-01-01',
    bindings: { GATEWAY: gateway },
  })
  const url = await miniflare.ready
  const [pid] = children().filter((child) => !before.has(child))
  const dispatcher = new Agent({ connections: AT_ONCE })
  return {
    url,
    pid,
    /** Seconds that so many requests take. @param {number} count */
    async requests(count) {
      let left = count
      const started = performance.now()
      const run = async () => {
        while (left-- > 0) await (await fetch(url, { dispatcher })).text()
      }
      await Promise.all(Array.from({ length: AT_ONCE }, run))
      return (performance.now() - started) / 1000
    },
    async stop() {
      await dispatcher.close()
      await miniflare.dispose()
    },
  }
}

/** Processes that this one started. */
function children() {
  return readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean),
  )
}

/** Milliseconds of CPU that a process took so far, all threads. @param {string} pid */
function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** @type {import('../case.js').Case} */
export default {
  name: 'edge',
  title: 'What an instrumented Worker adds to a request',
  method: `Two Workers in real workerd, each in a process of its own, answer the same requests over HTTP, ${AT_ONCE} at a time and ${CHUNK} by
turns: one answers, the other is wrapped by \`instrument\`, counts ${SERIES} series of its own and those that \`instrument\` adds, and posts them to a
gateway that answers 202. Added is the difference of the two: of the time for each request, and of workerd's CPU time, posts included. The former is
the machine's as much as the program's where other things run.`,
  rounds: () => 3,
  contenders: {
    'instrumented Worker': async ({ seconds }) => {
      let posts = 0
      const gateway = createServer((request, response) => {
        posts++
        request.resume().on('end', () => response.writeHead(202).end('{"rejected":[]}'))
      }).listen(0, '127.0.0.1')
      await once(gateway, 'listening')
      const bare = await start(BARE, '')
      const wrapped = await start(INSTRUMENTED, `http://127.0.0.1:${gateway.address().port}`)
      try {
        for (let times = 0; times < 3; times++) for (const each of [bare, wrapped]) await each.requests(CHUNK)
        const cpu = [cpuMs(bare.pid), cpuMs(wrapped.pid)]
        const took = [0, 0]
        let count = 0
        posts = 0
        const until = performance.now() + seconds * 4_000
        while (performance.now() < until) {
          took[0] += await bare.requests(CHUNK)
          took[1] += await wrapped.requests(CHUNK)
          count += CHUNK
        }
        const statsNow = async () => (await fetch(new URL('/stats', wrapped.url))).json()
        // the last requests linger for others to share a post with
        let stats = await statsNow()
        for (let times = 0; stats.waiting > 0 && times < 100; times++) {
          await sleep(20)
          stats = await statsNow()
        }
        if (stats.served !== count + 3 * CHUNK || stats.waiting > 0 || Object.keys(stats.dropped).length > 0) {
          throw new Error(`bench: the Worker did not send all: ${JSON.stringify(stats)}`)
        }
        const perRequest = (total) => (total * 1000) / count
        const [bareCpu, wrappedCpu] = [bare, wrapped].map(({ pid }, index) => cpuMs(pid) - cpu[index])
        return {
          'bare, time': perRequest(took[0] * 1000),
          'added time': perRequest((took[1] - took[0]) * 1000),
          'bare, CPU': perRequest(bareCpu),
          'added CPU': perRequest(wrappedCpu - bareCpu),
          'requests to a post': count / posts,
        }
      } finally {
        await Promise.all([bare.stop(), wrapped.stop()])
        gateway.close()
        gateway.closeAllConnections()
      }
    },
  },
  rows: [
    { measured: ['instrumented Worker', 'added time'], unit: 'µs', target: { atMost: 50 } },
    { measured: ['instrumented Worker', 'bare, time'], unit: 'µs' },
    { measured: ['instrumented Worker', 'added CPU'], unit: 'µs', target: { atMost: 50 } },
    { measured: ['instrumented Worker', 'bare, CPU'], unit: 'µs' },
    { measured: ['instrumented Worker', 'requests to a post'], unit: 'requests' },
  ],
}
