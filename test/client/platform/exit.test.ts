import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { until } from '../../until.ts'
import { BrokerDouble } from '../transport/broker-double.ts'
import { httpServer } from '../transport/http-server.ts'

const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url))
const started: { kill(): void }[] = []

afterEach(() => {
  for (const each of started.splice(0)) each.kill()
})

async function broker(): Promise<BrokerDouble> {
  const double = await new BrokerDouble().start('#')
  started.push(double)
  return double
}

async function run(
  url: string,
  way: string,
): Promise<{ child: ChildProcess; ended: Promise<[number | null, string | null]> }> {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, url, way], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  started.push({ kill: () => child.kill('SIGKILL') })
  const ended = once(child, 'exit') as Promise<[number | null, string | null]>
  let output = ''
  child.stdout?.on('data', (data) => (output += String(data)))
  await until(() => output.includes('ready'), `a program that ${way}`)
  return { child, ended }
}

describe('a program with an open client', () => {
  test('ends by itself, and what it recorded last arrives', async () => {
    const double = await broker()
    const { ended } = await run(double.url, 'ends')
    expect(await ended).toEqual([0, null])
    await until(() => double.sum('orders') === 7)
  })

  test.each(['SIGTERM', 'SIGINT'] as const)('flushes on %s and then ends by it', async (signal) => {
    const double = await broker()
    const { child, ended } = await run(double.url, 'waits')
    child.kill(signal)
    expect(await ended).toEqual([null, signal])
    await until(() => double.sum('orders') === 7)
  })

  test('ends by itself where another kind of server answers, an HTTP server for instance', async () => {
    const server = await httpServer()
    started.push({ kill: () => void server.stop() })
    const { ended } = await run(`tcp://127.0.0.1:${server.port}`, 'ends')
    expect(await ended).toEqual([0, null])
    expect(server.refused).toBeGreaterThan(0)
  })

  test('ends once, when it has two clients, and both flush', async () => {
    const double = await broker()
    const { child, ended } = await run(double.url, 'two')
    child.kill('SIGTERM')
    expect(await ended).toEqual([null, 'SIGTERM'])
    await until(() => double.sum('orders') === 37)
  })

  test('that listens for the signal itself decides how it ends', async () => {
    const double = await broker()
    const { child, ended } = await run(double.url, 'own')
    child.kill('SIGTERM')
    expect(await ended).toEqual([3, null])
    await until(() => double.sum('orders') === 107)
  })

  test('that goes on for a while after the signal still records', async () => {
    const double = await broker()
    const { child, ended } = await run(double.url, 'late')
    child.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
    await until(() => double.sum('orders') === 107)
  })

  test('ends at once when it is asked a second time', async () => {
    const double = await broker()
    double.kill()
    const { child, ended } = await run(double.url, 'stubborn')
    let over = false
    void ended.then(() => (over = true))
    child.kill('SIGINT')
    // it waits 30 s for its broker; signals it does not see before it handles the first are one
    await until(() => {
      if (!over) child.kill('SIGINT')
      return over
    })
    expect(await ended).toEqual([null, 'SIGINT'])
  })
})
