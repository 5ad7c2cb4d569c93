import { afterEach, describe, expect, test } from 'vitest'
import { Zibrato } from '../../client/index.ts'
import type { ZibratoOptions } from '../../client/options.ts'
import { Playground, type Program } from '../flow/processes.ts'
import { until } from '../until.ts'
import { PROGRAM, PYTHON, PythonPublisher, PythonWorker, connected, zibrato } from './python.ts'

let ground = new Playground()
const clients: Zibrato[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((each) => each.close()))
  await ground[Symbol.asyncDispose]()
  ground = new Playground()
})

function client(port: number, options: ZibratoOptions): Zibrato {
  const created = new Zibrato({ url: `tcp://127.0.0.1:${port}`, exitHooks: false, ...options })
  clients.push(created)
  return created
}

/** A double as Python's `float.hex()` names it, by which both sides can be compared to the bit. */
function hex(value: number): string {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  const high = view.getUint32(0)
  const exponent = (high >>> 20) & 0x7ff
  const fraction = (high & 0xfffff).toString(16).padStart(5, '0') + view.getUint32(4).toString(16).padStart(8, '0')
  const sign = high >>> 31 === 1 ? '-' : ''
  if (value === 0) return `${sign}0x0.0p+0`
  const power = exponent === 0 ? -1022 : exponent - 1023
  return `${sign}0x${exponent === 0 ? 0 : 1}.${fraction}p${power < 0 ? '' : '+'}${power}`
}

describe('programs with Zibrato 0.2', () => {
  test('are counted exactly at a backend of zibrato up', async () => {
    const up = await zibrato(
      ground,
      'up',
      '--port',
      '0',
      '--http',
      '0',
      '--udp',
      'off',
      '--flush',
      '1',
      '--to',
      'file:out.jsonl',
    )
    const publishers = [1, 2, 3].map(() => new PythonPublisher(ground, up.port))
    for (const publisher of publishers) await connected(publisher, up)
    await Promise.all(
      publishers.map(async (publisher, index) => {
        for (let round = 0; round < 10; round++) {
          await publisher.publish({ times: 300, mtype: 'Counter', name: 'orders', value: index + 1, source: 'shop' })
          await publisher.publish({ times: 7, mtype: 'timers', name: 'db', value: 0.25, level: 'debug' })
          await publisher.publish({ mtype: 'Counter', name: 'orders', value: 'five' })
        }
        await publisher.publish({ mtype: 'Gauge', name: `queue.${index}`, value: 0 })
        await publisher.close()
      }),
    )
    await until(() => ground.sums('out.jsonl').get('db') === 210)
    expect(await up.figure('zibrato_broker_bad_lines_total{reason="value"}')).toBe(30)
    await up.program.stop()
    const rollups = ground.rollups('out.jsonl')
    expect(ground.sums('out.jsonl').get('orders')).toBe(300 * 10 * (1 + 2 + 3))
    expect(ground.sums('out.jsonl').get('db')).toBe(210)
    expect(rollups.filter(({ name }) => name === 'orders').map(({ source, type }) => `${type} ${source}`)).toContain(
      'counter shop',
    )
    const times = rollups.filter(({ name }) => name === 'db')
    expect(times.map(({ type, source, p50 }) => [type, source, p50])).toContainEqual(['timer', 'not_specified', 0.25])
    expect(times.reduce((sum, { sum: each }) => sum + (each ?? 0), 0)).toBe(52.5)
    for (const name of ['queue.0', 'queue.1', 'queue.2']) {
      expect(rollups.find((rollup) => rollup.name === name)).toMatchObject({ type: 'gauge', value: 0, count: 1 })
    }
    expect(up.program.stderr).toContain('forwarded but not counted')
  })

  test('are counted exactly over restarts of a worker, killed and told to stop, and of a broker that is told to stop', async () => {
    const worker = (): Promise<unknown> =>
      ground.zibrato(
        'worker',
        '--broker',
        `tcp://127.0.0.1:${broker.port}`,
        '--state',
        'file:state',
        '--flush',
        '1',
        '--to',
        'file:out.jsonl',
      )
    let broker = await zibrato(ground, 'broker', '--port', '0', '--http', '0')
    let working = (await worker()) as { program: Program }
    const publisher = new PythonPublisher(ground, broker.port)
    let expected = 0
    const publish = async (): Promise<void> => {
      await connected(publisher, broker)
      const before = await broker.figure('zibrato_broker_text_lines_total')
      await publisher.publish({ times: 2_000, mtype: 'Counter', name: 'orders', value: 1 })
      expected += 2_000
      // a PUB socket sends to whom it is connected: what the broker has not got when it stops is lost
      await until(async () => (await broker.figure('zibrato_broker_text_lines_total')) >= before + 2_000)
    }
    await publish()
    await working.program.stop('SIGKILL')
    await publish()
    working = (await worker()) as { program: Program }
    await publish()
    await broker.program.stop('SIGTERM')
    broker = await zibrato(ground, 'broker', '--port', String(broker.port), '--http', '0')
    await publish()
    await working.program.stop('SIGTERM')
    await publish()
    working = (await worker()) as { program: Program }
    await until(() => ground.sums('out.jsonl').get('orders') === expected, `${expected} orders at the backend`, 60_000)
    await publisher.close()
    await working.program.stop()
    await broker.program.stop()
    expect(ground.sums('out.jsonl').get('orders')).toBe(expected)
  })
})

describe('workers of Zibrato 0.2', () => {
  test('see the lines of their levels and nothing else, byte for byte, while frames of these levels pass', async () => {
    const up = await zibrato(
      ground,
      'up',
      '--port',
      '0',
      '--http',
      '0',
      '--udp',
      'off',
      '--flush',
      '1',
      '--to',
      'file:out.jsonl',
    )
    const worker = new PythonWorker(ground, up.subscribersPort, 'warm-up', 'info', 'crit')
    const publisher = new PythonPublisher(ground, up.port)
    await connected(publisher, up)
    await until(async () => {
      await publisher.publish({ level: 'warm-up', name: 'warm-up', value: 1 })
      return worker.received.length > 0
    })
    const frames = client(up.port, { flushInterval: 20 })
    for (let round = 0; round < 50; round++) {
      frames.counter('frames').inc()
      frames.counter('frames', { level: 'crit' }).inc()
      await publisher.publish({ mtype: 'Counter', name: 'größe', value: round, source: 'a b' })
      await publisher.publish({ level: 'debug', mtype: 'Counter', name: 'unheard', value: 1 })
      await publisher.publish({ level: 'crit', name: 'odd', value: 'no number' })
      await frames.flush()
    }
    await until(() => worker.lines.length === 100)
    expect(worker.lines.every(({ parts }) => parts.length === 1)).toBe(true)
    const lines = worker.lines.map(({ parts }) => parts[0] ?? '')
    for (let round = 0; round < 50; round++) {
      expect(lines[2 * round]).toMatch(new RegExp(`^info\\|Counter\\|größe\\|${round}\\|\\d{10}\\|a b$`))
      expect(lines[2 * round + 1]).toMatch(/^crit\|Gauge\|odd\|no number\|\d{10}\|not_specified$/)
    }
    await until(() => ground.sums('out.jsonl').get('frames') === 100)
  })

  const values = [0, 1, -1.5, 0.1, 1 / 3, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, 123_456_789.123_456_78, 2 ** 53]

  test("read a client with format: 'text', through the broker and through the one of 0.2", async () => {
    const up = await zibrato(
      ground,
      'up',
      '--port',
      '0',
      '--http',
      '0',
      '--udp',
      'off',
      '--flush',
      '1',
      '--to',
      'file:out.jsonl',
    )
    const forwarder = ground.start(PYTHON, [PROGRAM, 'forward'])
    const [publishers, workers] = await forwarder.output(
      ({ stdout }) => (stdout.includes('\n') ? (JSON.parse(stdout) as [number, number]) : undefined),
      'the ports of the forwarder',
    )
    for (const [port, subscribersPort] of [
      [up.port, up.subscribersPort],
      [publishers, workers],
    ] as const) {
      const worker = new PythonWorker(ground, subscribersPort, 'info')
      const z = client(port, { format: 'text', source: 'node', flushInterval: 60_000 })
      // once this comes, all subscriptions are where they belong
      await until(() => {
        z.timer('warm-up').record(1)
        return worker.received.length > 0
      })
      const orders = z.counter('orders')
      for (let count = 0; count < 1_000; count++) orders.inc(0.5)
      for (const value of values) z.timer('db').record(value)
      z.gauge('queue').set(0)
      z.counter('unheard', { level: 'debug' }).inc()
      await z.flush()
      await until(() => worker.lines.length === values.length + 2)
      expect(worker.received.filter(({ error, parts }) => error !== undefined || parts.length !== 1)).toEqual([])
      const read = (name: string): (string | undefined)[] =>
        worker.lines.filter(({ parts }) => parts[0]?.split('|')[2] === name).map(({ value }) => value)
      expect(read('db')).toEqual(values.map(hex))
      expect(read('orders')).toEqual([hex(500)])
      expect(read('queue')).toEqual([hex(0)])
      expect(worker.lines.map(({ parts }) => parts[0]?.split('|').at(-1))).toEqual(worker.lines.map(() => 'node'))
      for (const { timestamp = 0 } of worker.lines) expect(Math.abs(timestamp - Date.now() / 1000)).toBeLessThan(60)
    }
    // lines are measurements here, too
    await until(() => ground.sums('out.jsonl').get('orders') === 500)
    expect(ground.sums('out.jsonl').get('unheard')).toBe(1)
  })
})
