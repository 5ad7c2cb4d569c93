// Three kinds of programs at once, and no cloud: a Worker in workerd, a Lambda function under an emulator, and a server with Hono
// on ZeroMQ count orders, in one series of one `zibrato up`.
//
//   npm run example
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LambdaEmulator } from './lambda/emulator.ts'
import { startWorker } from './worker/workerd.ts'

const ROUNDS = 10
const PATIENCE_MS = 5_000
const TIMEOUT_MS = 60_000

interface Rollup {
  readonly name: string
  readonly source: string
  readonly value: number
  readonly total: number
}

const folder = mkdtempSync(join(tmpdir(), 'zibrato-example-'))
const stops: (() => PromiseLike<unknown>)[] = []
try {
  const flags = ['--port', '0', '--http', '0', '--udp', 'off', '--state', 'memory:', '--flush', '1s']
  const up = program(at('../dist/bin/zibrato.js'), ['up', ...flags, '--to', `file:${join(folder, 'rollups.jsonl')}`])
  const { broker, http } = JSON.parse(await up.said(/^.*"msg":"listening".*$/m)) as {
    broker: { publishers: string }
    http: string
  }
  console.log(`zibrato up listens at ${http} and ${broker.publishers}`)

  const worker = await startWorker({ env: { ZIBRATO_URL: http } })
  stops.push(() => worker.stop())
  const lambda = await LambdaEmulator.start({
    folder: at('lambda'),
    handler: 'orders.handler',
    env: { ZIBRATO_URL: http, ZIBRATO_SOURCE: 'shop' },
  })
  stops.push(() => lambda[Symbol.asyncDispose]())
  const server = program(at('hono.mjs'), [], { PORT: '0', ZIBRATO_URL: broker.publishers })
  const serverUrl = await server.said(/^http:\S+/m)

  let orders = 0
  const orderFromFunctions = async (): Promise<void> => {
    await (await fetch(worker.url)).text()
    await lambda.invoke({ item: 'book', total: 1 })
    await lambda.idle()
    orders += 2
  }
  for (let round = 0; round < ROUNDS; round++) {
    await orderFromFunctions()
    await (await fetch(`${serverUrl}/orders`, { method: 'POST' })).text()
    orders++
  }
  console.log(`${orders} orders were taken by a Worker, a Lambda function and a server`)

  const deadline = performance.now() + TIMEOUT_MS
  for (let lastMs = performance.now(); counted() < orders && performance.now() < deadline;) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    if (performance.now() - lastMs < PATIENCE_MS) continue
    // what a Worker or function could not send in the time it has, on a busy machine, goes with its next request; a server
    // sends by itself every 5 s, so one that took orders as often would always have some in hand
    await orderFromFunctions()
    lastMs = performance.now()
  }
  await server.stop()
  await up.stop()
  for (const rollup of rollups()) console.log(JSON.stringify(rollup))
  const { total } = rollups().at(-1) ?? { total: 0 }
  console.log(`${total} of ${orders} orders, in one series`)
  process.exitCode = total === orders ? 0 : 1
} finally {
  await Promise.all(stops.map((stop) => stop()))
  rmSync(folder, { recursive: true, force: true })
}

function at(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

/** A program of its own, whose output is waited for. */
function program(
  path: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): { said(what: RegExp): Promise<string>; stop(): Promise<void> } {
  const child = spawn(process.execPath, [path, ...args], { env: { ...process.env, ...env } })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (text += data.toString()))
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = (): Promise<void> => {
    child.kill('SIGTERM')
    return ended
  }
  stops.push(stop)
  return {
    stop,
    said: async (what) => {
      for (const deadline = performance.now() + TIMEOUT_MS; ;) {
        const found = what.exec(text)?.[0]
        if (found !== undefined) return found
        if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${path} did not start:\n${text}`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
  }
}

/** The rollups of orders so far, oldest first. */
function rollups(): Rollup[] {
  let text = ''
  try {
    text = readFileSync(join(folder, 'rollups.jsonl'), 'utf8')
  } catch {
    // no window has ended yet
  }
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Rollup)
    .filter(({ name, source }) => name === 'orders' && source === 'shop')
}

function counted(): number {
  return rollups().reduce((sum, { value }) => sum + value, 0)
}
