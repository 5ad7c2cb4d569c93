import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { Publisher, Subscriber, XPublisher } from 'zeromq'
import type { Socket } from 'zeromq'
import { Zibrato } from '../../client/index.ts'
import { Sum } from '../../client/sketch/aggregate.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { Gauge } from '../../client/sketch/gauge.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { utf8 } from '../../client/wire/bytes.ts'
import { type Frame, decodeFrame } from '../../client/wire/frame.ts'
import { TextReader } from '../../client/wire/text.ts'
import { BROKER_TOPIC, replayTopic } from '../../client/wire/topic.ts'
import { Broker, type BrokerOptions } from '../../gateway/broker/index.ts'
import { Playground, type Program } from '../flow/processes.ts'
import { until } from '../until.ts'

const brokers: Broker[] = []
const sockets: Socket[] = []

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close()
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()))
})

async function start(options: BrokerOptions = {}): Promise<Broker> {
  const broker = new Broker({ port: 0, ...options })
  brokers.push(broker)
  await broker.start()
  return broker
}

/** A PUB socket as Python programs have, connected and asked for text lines. */
async function publisher(broker: Pick<Broker, 'port' | 'stats'>): Promise<Publisher> {
  const socket = new Publisher({ linger: 5_000, sendHighWaterMark: 0 })
  sockets.push(socket)
  socket.connect(`tcp://127.0.0.1:${broker.port}`)
  const before = broker.stats().textLines
  await until(async () => {
    await socket.send('warm-up|Counter|warm-up|1|1700000000|test')
    return broker.stats().textLines > before
  })
  return socket
}

/** A SUB socket and what it got. */
class Taker {
  readonly socket = new Subscriber({ linger: 0, receiveHighWaterMark: 0 })
  readonly messages: Buffer[][] = []

  constructor(port: number, ...prefixes: string[]) {
    sockets.push(this.socket)
    this.socket.connect(`tcp://127.0.0.1:${port}`)
    for (const prefix of prefixes) this.socket.subscribe(prefix)
    void this.#take()
  }

  /** Every frame that came, repeated ones too. */
  get frames(): Frame[] {
    const frames: Frame[] = []
    for (const [, bundle] of this.messages) {
      if (bundle !== undefined) eachFrame(bundle, (from, end) => frames.push(decodeFrame(bundle, from, end)))
    }
    return frames
  }

  /** Sums of counters by name, each frame counted once. */
  get sums(): Record<string, number> {
    const seen = new Set<string>()
    const sums: Record<string, number> = {}
    for (const { publisher: id, level, shard, seq, entries } of this.frames) {
      const frame = `${id} ${level} ${shard} ${seq}`
      if (seen.has(frame)) continue
      seen.add(frame)
      for (const { series, aggregate } of entries) {
        if (aggregate instanceof Sum) sums[series.name] = (sums[series.name] ?? 0) + aggregate.value
      }
    }
    return sums
  }

  lines(): string[] {
    return this.messages.map((parts) => parts.map(String).join(' / '))
  }

  async #take(): Promise<void> {
    for await (const parts of this.socket) this.messages.push(parts)
  }
}

async function taker(broker: Broker, ...prefixes: string[]): Promise<Taker> {
  const { subscriptionsSeen } = broker.stats()
  const created = new Taker(broker.subscribersPort, ...prefixes)
  await until(() => broker.stats().subscriptionsSeen >= subscriptionsSeen + prefixes.length)
  return created
}

describe('text lines at a broker', () => {
  test('go on as they are, and become frames of a publisher of its own with seqs without gaps', async () => {
    const broker = await start()
    const text = await taker(broker, 'info')
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    const lines: string[] = []
    for (let index = 0; index < 1_000; index++) {
      lines.push(`info|Counter|orders.${index % 10}|${(index % 3) + 0.5}|17000000${index % 90}|shop ${index % 7}`)
    }
    for (const line of lines) await socket.send(line)
    await until(() => text.messages.length === lines.length)
    expect(text.lines()).toEqual(lines)
    const expected: Record<string, number> = {}
    for (const line of lines) {
      const [, , name = '', value] = line.split('|')
      expected[name] = (expected[name] ?? 0) + Number(value)
    }
    await until(() => Object.keys(frames.sums).filter((name) => name.startsWith('orders')).length === 10)
    await until(() => Object.entries(expected).every(([name, sum]) => frames.sums[name] === sum))
    const info = frames.frames.filter(({ level }) => level === 'info')
    expect(new Set(info.map(({ publisher: id }) => id)).size).toBe(1)
    for (const shard of new Set(info.map((frame) => frame.shard))) {
      const seqs = info.filter((frame) => frame.shard === shard).map(({ seq }) => seq)
      expect(seqs).toEqual(seqs.map((_, index) => index + 1))
    }
    expect(info[0]?.entries[0]?.series).toMatchObject({ type: 'counter', source: expect.stringMatching(/^shop \d$/) })
    const { textLines, badLines, lineFrames } = broker.stats()
    expect(textLines).toBeGreaterThan(1_000)
    expect(Object.values(badLines)).toEqual([0, 0, 0, 0, 0, 0, 0])
    expect(lineFrames).toMatchObject({ sent: frames.frames.length, replayed: 0, waiting: 0, dropped: {} })
  })

  test('keep the value of a gauge at 0, a timer in seconds, and the time at which they came', async () => {
    const broker = await start()
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    const before = Date.now()
    await socket.send('info|Gauge|queue|0|1000000000|')
    await socket.send('info|timers|db|0.25|1000000000|web')
    await socket.send('info|timer|db|0.125|1000000000|web')
    await until(() => frames.frames.filter(({ level }) => level === 'info').length === 2)
    const aggregates = new Map(
      frames.frames.flatMap(({ entries }) =>
        entries.map(({ series, aggregate }) => [series.name, { series, aggregate }]),
      ),
    )
    const queue = aggregates.get('queue')
    expect(queue?.series).toEqual({ type: 'gauge', name: 'queue', source: 'not_specified', tags: {} })
    const [[time, value] = []] = queue?.aggregate instanceof Gauge ? queue.aggregate.readings() : []
    expect(value).toBe(0)
    expect(time).toBeGreaterThanOrEqual(before)
    expect(time).toBeLessThanOrEqual(Date.now())
    const db = aggregates.get('db')
    expect(db?.series.type).toBe('timer')
    expect(db?.aggregate instanceof Distribution ? [...db.aggregate.values] : undefined).toEqual([0.25, 0.125])
  })

  test('that say nothing are forwarded, counted by what is wrong and told of once with a sample; their neighbours count', async () => {
    const warnings: string[] = []
    const broker = await start({ onWarning: (message) => warnings.push(message) })
    const text = await taker(broker, 'info', 'x'.repeat(65))
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    const bad = [
      'info',
      'info|Counter|orders|5',
      'info|Counter|a|b|5|1700000000|shop',
      'info|Set|orders|5|1700000000|shop',
      'info|Counter||5|1700000000|shop',
      'info|Counter|orders|five|1700000000|shop',
      'info|Counter|orders|nan|1700000000|shop',
      'info|Counter|orders|5|today|shop',
      'info|Counter|orders|5|1700000000|a\nb',
      `${'x'.repeat(65)}|Counter|orders|5|1700000000|shop`,
    ]
    for (const line of bad) {
      await socket.send('info|Counter|orders|1|1700000000|shop')
      await socket.send(line)
    }
    await until(() => text.messages.length === 2 * bad.length)
    expect(text.lines().filter((line) => !line.startsWith('info|Counter|orders|1|'))).toEqual(bad)
    await until(() => frames.sums['orders'] === bad.length)
    const { badLines, invalid } = broker.stats()
    expect(badLines).toEqual({ parts: 3, level: 1, type: 1, name: 1, value: 2, timestamp: 1, source: 1 })
    expect(invalid).toBe(0)
    expect(warnings).toEqual([
      'broker: 1 text line was forwarded but not counted so far, such as "info": ' +
        'it is not level|type|name|value|timestamp|source, or over 1,024 bytes long',
    ])
    expect(broker.metrics()).toContain('zibrato_broker_bad_lines_total{reason="value"} 2\n')
  })

  test('reach a subscriber of a level and nothing else does, while frames of that level pass', async () => {
    const broker = await start()
    const text = await taker(broker, 'info')
    const frames = await taker(broker, '#')
    const client = new Zibrato({ url: `tcp://127.0.0.1:${broker.port}`, flushInterval: 20, exitHooks: false })
    const socket = await publisher(broker)
    const sent: string[] = []
    // ZeroMQ matches prefixes, so a level takes those along that start like it
    for (let index = 0; index < 200; index++) {
      client.counter('from.client').inc()
      for (const level of ['info', 'debug', 'information']) {
        const line = `${level}|Counter|from.python|1|1700000000|${index}`
        if (level !== 'debug') sent.push(line)
        await socket.send(line)
      }
      if (index % 20 === 0) await client.flush()
    }
    await client.close()
    await until(() => text.messages.length === sent.length)
    await until(() => frames.sums['from.python'] === 600)
    expect(frames.sums['from.client']).toBe(200)
    expect(text.lines()).toEqual(sent)
    expect(text.messages.every((parts) => parts.length === 1)).toBe(true)
  })

  test('are asked for from every publisher, and frames are not', async () => {
    const broker = await start()
    const socket = new XPublisher({ linger: 0, verbosity: 'allSubs' })
    sockets.push(socket)
    socket.connect(`tcp://127.0.0.1:${broker.port}`)
    const asked: Buffer[] = []
    void (async (): Promise<void> => {
      for await (const [message] of socket) if (message?.[0] === 1) asked.push(message.subarray(1))
    })()
    await until(() => asked.some((prefix) => prefix[0] === 0xf4))
    // by it, a new connection is known: so first of all
    expect(String(asked[0])).toBe(BROKER_TOPIC)
    const isAsked = (line: string): boolean =>
      asked.some((prefix) => utf8(line)[0] === prefix[0] && prefix.length === 1)
    for (const level of ['info', 'Z', '0', '-', '_', '~', '"', 'é', '中', '😀'])
      expect(isAsked(level), level).toBe(true)
    for (const topic of ['#0a|info|', '?0a|x', '|']) expect(isAsked(topic), topic).toBe(false)
  })

  test('wait as frames until somebody takes them, and are sent once more to whom asks, as the same bytes', async () => {
    const broker = await start()
    const socket = await publisher(broker)
    for (let count = 0; count < 100; count++) await socket.send(`info|Counter|waited|1|1700000000|${count % 40}`)
    await until(() => broker.stats().lineFrames.waiting > 0)
    expect(broker.stats().lineFrames.sent).toBe(0)
    const first = await taker(broker, '#')
    await until(() => first.sums['waited'] === 100)
    const bundles = (messages: readonly Buffer[][]): string[] =>
      messages.map(([topic, bundle]) => `${String(topic)} ${bundle?.toString('hex') ?? ''}`).sort()
    const sent = bundles(first.messages)
    // a worker that was away: it asks for each shard
    const second = await taker(broker, '#')
    for (let shard = 0; shard < 32; shard++) second.socket.subscribe(replayTopic(shard, randomBytes(4).toString('hex')))
    await until(() => second.sums['waited'] === 100)
    await until(() => broker.stats().lineFrames.replayed === broker.stats().lineFrames.sent)
    expect(bundles(second.messages)).toEqual(sent)
    expect(first.sums['waited']).toBe(100)
  })

  test('that came before it stops are sent before it does', async () => {
    const broker = await start()
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    for (let count = 0; count < 5_000; count++) await socket.send('info|Counter|last|1|1700000000|web')
    const { textLines } = broker.stats()
    await until(() => broker.stats().textLines > textLines)
    socket.close()
    await broker.stop({ graceMs: 10_000 })
    await until(() => frames.sums['last'] === 5_000)
    expect(broker.stats().lineFrames).toMatchObject({ waiting: 0, dropped: {} })
  })

  test('of two series whose names share a hash are told apart', async () => {
    const reader = new TextReader()
    const seen = new Map<number, string>()
    let pair: [string, string] | undefined
    for (let index = 0; pair === undefined; index++) {
      const name = `n${index}`
      reader.read(utf8(`info|Counter|${name}|1|1|s`))
      const other = seen.get(reader.hash)
      if (other !== undefined) pair = [other, name]
      seen.set(reader.hash, name)
    }
    const [left, right] = pair
    const broker = await start()
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    for (let count = 0; count < 50; count++) {
      await socket.send(`info|Counter|${left}|1|1700000000|s`)
      await socket.send(`info|Counter|${right}|2|1700000000|s`)
    }
    await until(() => frames.sums[left] === 50 && frames.sums[right] === 100)
    expect(broker.stats().textLines).toBeGreaterThanOrEqual(100)
  })

  test('of more series than are held between ticks count exactly', async () => {
    const broker = await start()
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 25_000; index++) await socket.send(`info|Counter|many|1|1700000000|${index}`)
      await until(() => (frames.sums['many'] ?? 0) >= (round + 1) * 25_000)
      expect(frames.sums['many']).toBe((round + 1) * 25_000)
    }
  })

  test('of a bounded number of levels become frames', async () => {
    const warnings: string[] = []
    const broker = await start({ onWarning: (message) => warnings.push(message) })
    const frames = await taker(broker, '#')
    const socket = await publisher(broker)
    // the one that the publisher used is the first
    for (let level = 0; level < 1_010; level++) await socket.send(`level${level}|Counter|a|1|1700000000|s`)
    await until(() => frames.sums['a'] === 999)
    await socket.send('level5|Counter|a|1|1700000000|other')
    await until(() => frames.sums['a'] === 1_000)
    expect(broker.stats().badLines['level']).toBe(11)
    expect(warnings.join()).toContain('over 1000 levels')
  })
})

describe('a worker', () => {
  test('counts text lines exactly over restarts of broker and worker', async () => {
    await using ground = new Playground()
    const started = await ground.zibrato('broker', '--port', '0', '--http', '0')
    let broker = started.program
    const { listening } = started
    const publishers = listening.broker?.publishers as string
    const port = Number(publishers.split(':').pop())
    const work = async (): Promise<Program> => {
      const { program } = await ground.zibrato(
        'worker',
        '--broker',
        publishers,
        '--state',
        'file:state',
        '--to',
        'file:out.jsonl',
        '--flush',
        '1',
      )
      return program
    }
    let worker = await work()
    const socket = new Publisher({ linger: 5_000, sendHighWaterMark: 0 })
    sockets.push(socket)
    socket.connect(publishers)
    let http = listening.http as string
    const lines = async (): Promise<number> =>
      Number(/text_lines_total (\d+)/.exec(await (await fetch(`${http}/metrics`)).text())?.[1])
    const warm = async (): Promise<void> => {
      const before = await lines()
      await until(async () => {
        await socket.send('other|Gauge|warm-up|1|1700000000|test')
        return (await lines()) > before
      })
    }
    await warm()
    let expected = 0
    const publish = async (): Promise<void> => {
      const before = await lines()
      for (let count = 0; count < 1_000; count++) await socket.send('info|Counter|python|1|1700000000|web')
      expected += 1_000
      // those of the warm-up that were underway come on top
      await until(async () => (await lines()) >= before + 1_000)
    }
    await publish()
    // the broker has them, perhaps nobody else yet: a worker killed, and another that asks for them
    await worker.stop('SIGKILL')
    await publish()
    worker = await work()
    await publish()
    await broker.stop('SIGTERM')
    const again = await ground.zibrato('broker', '--port', String(port), '--http', '0')
    broker = again.program
    http = again.listening.http as string
    await warm()
    await publish()
    await until(() => ground.sums('out.jsonl').get('python') === expected, `${expected} at the backend`, 30_000)
    await worker.stop()
    await broker.stop()
    expect(ground.sums('out.jsonl').get('python')).toBe(expected)
  })
})
