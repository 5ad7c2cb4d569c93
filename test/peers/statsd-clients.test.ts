import { join } from 'node:path'
import StatsD from 'hot-shots'
import { afterEach, expect, test } from 'vitest'
import { Playground, type Program } from '../flow/processes.ts'
import { until } from '../until.ts'
import { PYTHON, PythonPublisher, connected, zibrato } from './python.ts'

const ROUNDS = 40
const TIMES = 25

let ground = new Playground()

afterEach(async () => {
  await ground[Symbol.asyncDispose]()
  ground = new Playground()
})

/** Writes a line to a program and resolves once it has answered. */
async function tell(program: Program, line: string): Promise<void> {
  const told = program.stdout.split('\n').length
  program.child.stdin?.write(`${line}\n`)
  await program.output(({ stdout }) => stdout.split('\n').length > told || undefined, 'an answer')
}

test('python3-statsd, hot-shots, dd-trace and Zibrato 0.2 feed one counter at once, and its sum is exact', async () => {
  const up = await zibrato(
    ground,
    'up',
    '--port',
    '0',
    '--http',
    '0',
    '--udp',
    '0',
    '--flush',
    '1',
    '--to',
    'file:out.jsonl',
  )
  const python = ground.start(PYTHON, [join(import.meta.dirname, 'statsd_client.py'), String(up.udpPort)])
  const datadog = ground.start(process.execPath, [join(import.meta.dirname, 'dogstatsd.mjs'), String(up.udpPort)])
  const hotShots = new StatsD({ host: '127.0.0.1', port: up.udpPort, maxBufferSize: 1_000, bufferFlushInterval: 5 })
  const lines = new PythonPublisher(ground, up.port)
  await connected(lines, up)
  let values = 0
  for (let round = 0; round < ROUNDS; round++) {
    for (let count = 0; count < TIMES; count++) hotShots.increment('orders', 5)
    await Promise.all([
      tell(python, String(TIMES)),
      tell(datadog, String(TIMES)),
      lines.publish({ times: TIMES, mtype: 'Counter', name: 'orders', value: 7, source: 'python' }),
    ])
    // dd-trace adds up what it sends; of UDP, no more at once than the kernel holds
    values += 2 * TIMES + 1
    await until(async () => (await up.figure('zibrato_gateway_statsd_values_total')) >= values)
  }
  hotShots.close()
  await lines.close()
  const expected = ROUNDS * TIMES * (2 + 3 + 5 + 7)
  await until(() => ground.sums('out.jsonl').get('orders') === expected, `${expected} orders at the backend`, 30_000)
  await up.program.stop()
  expect(ground.sums('out.jsonl').get('orders')).toBe(expected)
  const series = ground
    .rollups('out.jsonl')
    .filter(({ name }) => name === 'orders')
    .map(({ type, source, tags }) => `${type} ${source} ${tags['client'] ?? ''}`)
  // StatsD's lines have no source, and dd-trace's have tags
  expect(new Set(series)).toEqual(
    new Set(['counter not_specified ', 'counter not_specified dd-trace', 'counter python ']),
  )
})
