import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { DIST } from '../tools/dist.js'

const ROOT = new URL('../../../', import.meta.url).pathname
const EDGE = JSON.stringify(join(DIST, 'client/edge.js'))

const PROGRAMS = {
  'zibrato/edge': `
    import { Zibrato } from ${EDGE}
    const z = new Zibrato({ url: 'https://metrics.example.com' })
    z.counter('c').inc(); z.gauge('g').set(1); z.timer('t').record(1); await z.flush()`,
  'zibrato/edge, instrument': `
    import { Zibrato, instrument } from ${EDGE}
    export default instrument(new Zibrato(), { fetch: () => new Response('ok') })`,
  'hot-shots': `
    import { StatsD } from 'hot-shots'
    const c = new StatsD({}); c.increment('c'); c.gauge('g', 1); c.timing('t', 1)`,
  'prom-client': `
    import { Counter, Gauge, Histogram, register } from 'prom-client'
    new Counter({ name: 'c', help: 'c' }).inc(); new Gauge({ name: 'g', help: 'g' }).set(1)
    new Histogram({ name: 't', help: 't' }).observe(1); console.log(await register.metrics())`,
  'OpenTelemetry SDK': `
    import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
    import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
    const readers = [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter({ url: 'https://metrics.example.com' }) })]
    const meter = new MeterProvider({ readers }).getMeter('m')
    meter.createCounter('c').add(1); meter.createGauge('g').record(1); meter.createHistogram('t').record(1)`,
}

/** @param {string} contents @param {'browser' | 'node'} platform */
async function measure(contents, platform) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: ROOT },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform,
    write: false,
    logLevel: 'silent',
  })
  const { contents: code } = outputFiles[0]
  return { gzipped: gzipSync(code, { level: 9 }).length / 1024, minified: code.length / 1024 }
}

/** Those that run on Node alone. */
const ON_NODE = ['hot-shots', 'prom-client']

/** @type {import('../case.js').Case} */
export default {
  name: 'size',
  title: 'What a client adds to a bundle',
  method: `A program that counts, sets a gauge, times and sends, bundled by esbuild: minified, an ES2022 module, then gzipped at level 9. Of hot-shots and
prom-client, which need Node, what Node brings along is left out; OpenTelemetry is its metrics SDK with the OTLP exporter over HTTP, as browsers load it.
1 kB is 1,024 bytes.`,
  rounds: () => 1,
  contenders: Object.fromEntries(
    Object.entries(PROGRAMS).map(([name, contents]) => [
      name,
      () => measure(contents, ON_NODE.includes(name) ? 'node' : 'browser'),
    ]),
  ),
  rows: [
    { measured: ['zibrato/edge', 'gzipped'], unit: 'kB', target: { atMost: 6 } },
    ...Object.keys(PROGRAMS)
      .slice(2)
      .map((peer) => ({ measured: ['zibrato/edge', 'gzipped'], peer: [peer, 'gzipped'], unit: 'kB' })),
    { measured: ['zibrato/edge, instrument', 'gzipped'], unit: 'kB' },
    { measured: ['zibrato/edge', 'minified'], unit: 'kB' },
  ],
}
