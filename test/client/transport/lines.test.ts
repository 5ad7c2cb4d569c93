import { afterEach, describe, expect, test } from 'vitest'
import { Proxy, Subscriber, XPublisher, XSubscriber } from 'zeromq'
import type { Socket } from 'zeromq'
import { UsageError } from '../../../client/errors.ts'
import type { ZibratoOptions } from '../../../client/options.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import { LINES_CARRY, LineBacklog } from '../../../client/transport/lines.ts'
import { MemoryMetrics } from '../../../client/testing.ts'
import { Recorder } from '../../../client/registry/recorder.ts'
import type { Warning } from '../../../client/warning.ts'
import { until } from '../../until.ts'
import { BrokerDouble } from './broker-double.ts'

const brokers: BrokerDouble[] = []
const clients: Zibrato[] = []
const sockets: Socket[] = []
const warnings: Warning[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  for (const broker of brokers.splice(0)) broker.kill()
  for (const socket of sockets.splice(0)) socket.close()
  warnings.length = 0
})

async function openBroker(greets: boolean, ...prefixes: string[]): Promise<BrokerDouble> {
  const double = new BrokerDouble(greets)
  brokers.push(double)
  return double.start(...prefixes)
}

/** A client whose clock stands at one time. */
function openClient(url: string, options: ZibratoOptions = {}): Zibrato {
  const z = new Zibrato({
    url,
    format: 'text',
    source: 'shop',
    flushInterval: 60_000,
    closeTimeout: 1_000,
    exitHooks: false,
    clock: { now: () => 1_700_000_000_900, elapsed: () => performance.now() },
    onWarning: (warning) => warnings.push(warning),
    ...options,
  })
  clients.push(z)
  return z
}

describe("a client with format: 'text'", () => {
  test('says what it measured in lines that Zibrato for Python would have written', async () => {
    const double = await openBroker(true, '#', 'i', 'c')
    const z = openClient(double.url)
    const orders = z.counter('orders')
    for (let count = 0; count < 1_000; count++) orders.inc(0.5)
    z.gauge('queue', { level: 'crit' }).set(0)
    z.record({ type: 'gauge', name: 'temperature', value: -3.25, timestamp: 1_600_000_000.5, source: 'roof' })
    for (let value = 1; value <= 100; value++) z.timer('db').record(value / 1_000)
    z.histogram('size').record(512)
    await z.flush()
    const expected = [
      'info|Counter|orders|500|1700000000|shop',
      'crit|Gauge|queue|0|1700000000|shop',
      'info|Gauge|temperature|-3.25|1600000000|roof',
      'info|Gauge|size|512|1700000000|shop',
      ...Array.from({ length: 100 }, (_, index) => `info|Timer|db|${(index + 1) / 1_000}|1700000000|shop`),
    ]
    // flushed is what the broker has
    expect(double.topics.toSorted()).toEqual(expected.toSorted())
    expect(double.frames).toEqual([])
    expect(z.stats()).toMatchObject({ sent: 104, waiting: 0, replayed: 0, dropped: {} })
    expect(warnings).toEqual([])
  })

  test('sends a timer’s values at once and in order, and what is summed with the flush', async () => {
    const double = await openBroker(true, 'i')
    const z = openClient(double.url)
    const orders = z.counter('orders')
    orders.inc()
    for (let value = 0; value < 200; value++) z.timer('db').record(value)
    await until(() => double.topics.length === 200)
    expect(double.topics.map((line) => Number(line.split('|')[3]))).toEqual(Array.from({ length: 200 }, (_, at) => at))
    orders.inc()
    await z.flush()
    expect(double.topics.at(-1)).toBe('info|Counter|orders|2|1700000000|shop')
  })

  test('reaches subscribers of a broker that only forwards', async () => {
    const [xsub, xpub] = [new XSubscriber({ linger: 0 }), new XPublisher({ linger: 0 })]
    await xsub.bind('tcp://127.0.0.1:*')
    await xpub.bind('tcp://127.0.0.1:*')
    const proxy = new Proxy(xsub, xpub)
    const running = proxy.run()
    const subscriber = new Subscriber({ linger: 0 })
    sockets.push(subscriber)
    subscriber.connect(xpub.lastEndpoint as string)
    subscriber.subscribe('info')
    const received: string[] = []
    void (async (): Promise<void> => {
      for await (const parts of subscriber) received.push(parts.map(String).join(' / '))
    })()
    const z = openClient(xsub.lastEndpoint as string)
    const orders = z.counter('orders')
    await until(() => z.connected())
    for (let round = 0; round < 10; round++) {
      orders.inc(2)
      z.counter('unheard', { level: 'debug' }).inc()
      await z.flush()
    }
    await until(() => received.length === 10)
    expect(new Set(received)).toEqual(new Set(['info|Counter|orders|2|1700000000|shop']))
    // nobody takes that level, so it waits
    expect(z.stats()).toMatchObject({ sent: 10, waiting: 10 })
    await z.close()
    expect(z.stats().dropped).toEqual({ unsubscribed: 10 })
    proxy.terminate()
    await running
  })

  test('waits for a broker that is not there yet, and says what did not go out when it closes without one', async () => {
    const double = await openBroker(true)
    double.kill()
    const z = openClient(double.url, { closeTimeout: 100 })
    z.counter('orders').inc(3)
    await z.flush()
    expect(z.stats()).toMatchObject({ sent: 0, waiting: 1 })
    await double.start('i')
    await until(() => z.connected())
    await until(() => double.topics.length === 1)
    double.kill()
    const lonely = openClient(double.url, { closeTimeout: 50 })
    lonely.counter('orders').inc()
    await lonely.close()
    expect(lonely.stats().dropped).toEqual({ closed: 1 })
    expect(warnings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^closed with 1 lines for tcp:.* did not go out: no connection$/),
    ])
  })

  test('never says anything twice, to a broker that was away neither', async () => {
    const double = await openBroker(true, 'i')
    const z = openClient(double.url)
    z.counter('orders').inc(1)
    await z.flush()
    double.kill()
    await double.start('i')
    await until(() => {
      z.timer('alive').record(1)
      return double.topics.some((line) => line.includes('alive'))
    })
    await z.flush()
    expect(double.topics.filter((line) => line.includes('orders'))).toHaveLength(1)
  })

  test('refuses what no line can say where it is asked for, with the way out', () => {
    const z = openClient('tcp://127.0.0.1:1', { closeTimeout: 0 })
    expect(() => z.meter('events')).toThrow(/"events": text lines have no meter; use a counter/)
    expect(() => z.unique('users')).toThrow(/"users": text lines have no unique/)
    expect(() => z.counter('a|b')).toThrow(/name "a\|b" holds "\|"/)
    expect(() => z.counter('a', { source: 'b|c' })).toThrow(/source "b\|c"/)
    expect(() => z.counter('a', { tags: { region: 'eu' } })).toThrow(/"a": text lines have no tags/)
    expect(() => z.gauge('g', { combine: 'sum' })).toThrow(/cannot combine by "sum"/)
    expect(() => z.timeMe({ name: 'a|b' })).toThrow(/name "a\|b"/)
    expect(z.record({ type: 'set', name: 'users', value: 'u17' })).toBe(false)
    expect(z.record({ type: 'counter', name: 'a', value: 1, tags: { region: 'eu' } })).toBe(false)
    expect(z.stats().dropped).toEqual({ invalid: 2 })
    for (const options of [
      { format: 'xml' as 'text' },
      { url: 'https://127.0.0.1' },
      { transport: new MemoryMetrics() },
      { tags: { region: 'eu' } },
      { source: 'a|b' },
    ]) {
      expect(() => openClient('tcp://127.0.0.1:1', options), JSON.stringify(options)).toThrow(UsageError)
    }
  })

  test('leaves out tags and takes the measurement, and takes no sampled times; both counted and said once', async () => {
    const double = await openBroker(true, 'i')
    const z = openClient(double.url)
    const hits = z.counter('hits')
    for (let count = 0; count < 3; count++) hits.with({ route: '/pay' }).inc()
    z.record({ type: 'timer', name: 'db', value: 1, rate: 0.1 })
    z.record({ type: 'timer', name: 'db', value: 2, rate: 0.1 })
    z.record({ type: 'timer', name: 'db', value: 3 })
    z.record({ type: 'counter', name: 'sampled', value: 1, rate: 0.1 })
    await z.flush()
    expect(double.topics.toSorted()).toEqual([
      'info|Counter|hits|3|1700000000|shop',
      'info|Counter|sampled|10|1700000000|shop',
      'info|Timer|db|3|1700000000|shop',
    ])
    expect(z.stats().dropped).toEqual({ tag: 3, rate: 2 })
    expect(warnings.map(({ code }) => code)).toEqual(['ZIBRATO_DROPPED', 'ZIBRATO_DROPPED'])
  })
})

describe('a backlog of lines', () => {
  function setUp(waitingBytes?: number): {
    backlog: LineBacklog
    count: (name: string, level?: string) => void
    turn: (ms: number) => void
  } {
    let nowMs = 0
    const backlog = new LineBacklog({ waitingBytes, now: () => nowMs, warn: () => {} })
    const recorder = new Recorder({
      carries: LINES_CARRY,
      onFrame: () => {},
      clock: { now: () => 1_700_000_000_000 },
      random: (bytes) => bytes,
      warn: () => {},
    })
    return {
      backlog,
      count(name, level = 'info') {
        recorder.handle('counter', { name, source: 's', level, tags: {}, combine: 'last' }).inc()
        backlog.push(recorder.seal())
      },
      turn: (ms) => (nowMs += ms),
    }
  }
  const line = (name: string, level = 'info'): string => `${level}|Counter|${name}|1|1700000000|s`
  const takeAll = (backlog: LineBacklog): string[] => {
    const lines: string[] = []
    for (let taken = backlog.take(); taken !== undefined; taken = backlog.take()) {
      lines.push(taken.parts.map((part) => Buffer.from(part).toString()).join(' / '))
    }
    return lines
  }

  test('hands out in order what somebody takes, and goes on where a socket refused', () => {
    const { backlog, count } = setUp()
    count('a')
    count('b')
    count('c', 'débug')
    expect(takeAll(backlog)).toEqual([])
    expect(backlog).toMatchObject({ ready: false, subscribed: false, waiting: 3, pressing: 0 })
    for (const prefix of ['#0a|', '?0a|x', 'infor']) backlog.subscribe(prefix)
    expect(backlog).toMatchObject({ ready: false, waiting: 3 })
    backlog.subscribe('info|Counter|a')
    const refused = backlog.take()
    expect(backlog).toMatchObject({ ready: true, waiting: 2 })
    if (refused !== undefined) backlog.untake(refused)
    expect(takeAll(backlog)).toEqual([line('a'), line('b')])
    // what a broker's one byte of a longer character reads as
    backlog.subscribe('\ufffd')
    expect(takeAll(backlog)).toEqual([])
    backlog.subscribe('d')
    expect(takeAll(backlog)).toEqual([line('c', 'débug')])
    count('d', 'größe')
    count('e', 'übel')
    expect(takeAll(backlog)).toEqual([line('e', 'übel')])
    expect(backlog.stats()).toMatchObject({ sent: 4, waiting: 1 })
  })

  test('keeps what was taken once, and lets go of what nobody ever took after 15 s', () => {
    const { backlog, count, turn } = setUp()
    backlog.subscribe('info')
    count('kept')
    backlog.unsubscribe('info')
    count('kept too')
    count('untaken', 'debug')
    turn(14_999)
    backlog.expire()
    expect(backlog).toMatchObject({ waiting: 3, pressing: 2, ready: false })
    turn(1)
    backlog.expire()
    expect(backlog).toMatchObject({ waiting: 2, pressing: 2 })
    turn(600_000)
    backlog.expire()
    backlog.subscribe('')
    expect(takeAll(backlog)).toEqual([line('kept'), line('kept too')])
    backlog.disconnect()
    backlog.resend()
    count('waits')
    expect(takeAll(backlog)).toEqual([])
    backlog.abandon(true)
    expect(backlog.stats()).toMatchObject({
      sent: 2,
      waiting: 0,
      waitingBytes: 0,
      dropped: { unsubscribed: 1, closed: 1 },
    })
  })

  test('drops the oldest beyond its bytes, whatever their level', () => {
    const { backlog, count, turn } = setUp(3 * line('a').length)
    for (const [name, level] of [
      ['a', 'warn'],
      ['b', 'info'],
      ['c', 'warn'],
      ['d', 'info'],
    ] as const) {
      turn(1)
      count(name, level)
    }
    expect(backlog).toMatchObject({ full: true, waiting: 3 })
    expect(backlog.stats()).toMatchObject({ waitingBytes: 3 * line('a').length, dropped: { overflow: 1 } })
    backlog.subscribe('')
    expect(takeAll(backlog).toSorted()).toEqual([line('b'), line('d'), line('c', 'warn')])
  })
})
