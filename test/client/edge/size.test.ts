import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { expect, test } from 'vitest'

const EDGE = fileURLToPath(new URL('../../../client/edge.ts', import.meta.url))

const PROGRAM = `
  import { Zibrato } from ${JSON.stringify(EDGE)}
  const z = new Zibrato({ url: 'https://metrics.example.com' })
  const hits = z.counter('hits'), open = z.gauge('open'), work = z.timer('work')
  export default {
    async fetch(request, env, ctx) {
      hits.inc()
      open.set(1)
      const answer = await work.time(async () => new Response('ok'))
      ctx.waitUntil(z.flush())
      return answer
    },
  }
`
const INSTRUMENTED = `
  import { Zibrato, instrument } from ${JSON.stringify(EDGE)}
  export default instrument(new Zibrato(), { fetch: () => new Response('ok') })
`

test.each([
  ['counters, gauges, timers and the fetch transport', PROGRAM, 7_850],
  ['an instrumented Worker', INSTRUMENTED, 8_470],
])('a program with %s takes few bytes to load', async (what, contents, most) => {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: '/' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    metafile: true,
  })
  const text = outputFiles[0]?.text ?? ''
  const bytes = gzipSync(text, { level: 9 }).length
  const parts = Object.entries(Object.values(metafile.outputs)[0]?.inputs ?? {})
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .sort(([, left], [, right]) => right.bytesInOutput - left.bytesInOutput)
    .map(([file, { bytesInOutput }]) => `${file.slice(file.indexOf('client/'))} ${bytesInOutput}`)
  console.log(`${what}: ${bytes} bytes gzipped, ${text.length} minified; most in ${parts.slice(0, 6).join(', ')}`)
  // neither what decodes and merges nor anything of Node
  const heavy = /sketch\/(distribution|members|gauge|aggregate)|replay-filter|transport\/http|platform\/node/
  expect(parts.filter((part) => heavy.test(part))).toEqual([])
  expect(bytes).toBeLessThanOrEqual(most)
})
