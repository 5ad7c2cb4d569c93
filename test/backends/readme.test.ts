import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { type Server, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tempDirectories } from './temp.ts'

const temp = tempDirectories()
const root = fileURLToPath(new URL('../../', import.meta.url))
let server: Server
let bodies: unknown[][] = []
let status = 200

beforeEach(async () => {
  bodies = []
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (status === 200) bodies.push(JSON.parse(Buffer.concat(chunks).toString()) as unknown[])
      response.writeHead(status).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
})

// what a user of the package would write; the built package is stood in for by a bundle of the sources
const RUN = `
import { openBackend } from 'zibrato/backends'
import { rollupsOfEveryType, sampleWindow } from 'zibrato/testing'
const backend = await openBackend(process.argv[2])
await backend.connect?.()
const flush = backend.flush(sampleWindow(rollupsOfEveryType()), new AbortController().signal)
console.log(await flush.then(() => 'taken', (error) => error.name + ' ' + error.message))
await backend.close?.()
`

async function run(name: string, code: string): Promise<string> {
  const directory = await temp()
  const home = join(directory, 'node_modules/zibrato')
  await mkdir(home, { recursive: true })
  await build({
    entryPoints: { backends: join(root, 'backends/index.ts'), testing: join(root, 'backends/testing.ts') },
    outdir: home,
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  })
  const exports = { './backends': './backends.js', './testing': './testing.js' }
  await writeFile(join(home, 'package.json'), JSON.stringify({ type: 'module', exports }))
  await writeFile(join(directory, 'package.json'), '{"type":"module"}')
  await writeFile(join(directory, name), code)
  await writeFile(join(directory, 'run.js'), RUN)
  const url = `module:./${name}?to=http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`
  const child = spawn(process.execPath, ['run.js', url], { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  await once(child, 'close')
  return output.trim()
}

test.each([
  [200, 'taken', [6]],
  [429, 'RetryLaterError webhook: told to wait', []],
  [401, 'PermanentError webhook: answered 401', []],
  [503, 'Error webhook: answered 503', []],
])('the example of the README, told %d, says: %s', async (answer, said, lengths) => {
  status = answer
  const readme = await readFile(join(root, 'backends/README.md'), 'utf8')
  const [, name] = /Save this as `([^`]+)`/.exec(readme) as unknown as [string, string]
  const [, code] = /```js\n(import .*?)```/s.exec(readme) as unknown as [string, string]
  expect(await run(name, code)).toBe(said)
  expect(bodies.map((body) => body.length)).toEqual(lengths)
})
