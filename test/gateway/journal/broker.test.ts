import { afterEach, describe, expect, test } from 'vitest'
import { Subscriber, XPublisher } from 'zeromq'
import { ZmqTransport } from '../../../client/transport/zmq.ts'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { decodeFrame, readHeader } from '../../../client/wire/frame.ts'
import { JOURNAL_PREFIX, PING_PREFIX, PONG_PREFIX, frameTopic, shardTopic } from '../../../client/wire/topic.ts'
import { Broker } from '../../../gateway/broker/index.ts'
import { Journal } from '../../../gateway/journal/journal.ts'
import { until } from '../../until.ts'
import { counterFrame } from '../fake-sink.ts'
import { FakeServer } from './fake-server.ts'
import { useRedis } from './redis.ts'

const redis = useRedis()
const open: { close(): unknown }[] = []

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close()
})

async function startBroker(journal?: Journal): Promise<Broker> {
  const broker = new Broker({ port: 0, ...(journal === undefined ? {} : { journal }) })
  open.push(broker)
  await broker.start()
  return broker
}

/** A publisher that hears what the broker says. */
class Publisher {
  readonly socket = new XPublisher({ linger: 0, verbosity: 'allSubs' })
  readonly heard: string[] = []

  constructor(broker: Broker) {
    open.push(this.socket)
    this.socket.connect(`tcp://127.0.0.1:${broker.port}`)
    void this.#hear()
  }

  async #hear(): Promise<void> {
    for await (const [message] of this.socket) this.heard.push(String(message))
  }
}

class Taker {
  readonly socket = new Subscriber({ linger: 0 })
  readonly messages: Buffer[][] = []

  constructor(broker: Broker, ...prefixes: string[]) {
    open.push(this.socket)
    this.socket.connect(`tcp://127.0.0.1:${broker.subscribersPort}`)
    for (const prefix of prefixes) this.socket.subscribe(prefix)
    void this.#take()
  }

  async #take(): Promise<void> {
    for await (const parts of this.socket) this.messages.push(parts)
  }
}

const bundleOf = (...seqs: number[]): Uint8Array => encodeBundle(seqs.map((seq) => counterFrame({ seq })))
const SHARD = decodeFrame(counterFrame()).shard
const TOPIC = frameTopic(SHARD, 'info')

describe('a broker with a journal', () => {
  test('asks publishers for everything, and tells which journal it writes', async () => {
    const space = await redis.space()
    const journal = await space.journal()
    const publisher = new Publisher(await startBroker(journal))
    await until(() => publisher.heard.includes('\x01#'))
    await until(() => publisher.heard.includes(`\x01${JOURNAL_PREFIX}${journal.fingerprint}`))
    // frames that were sent before it came, too
    expect(publisher.heard.filter((text) => text.startsWith('\x01?'))).toHaveLength(32)
    expect(publisher.heard.join()).not.toContain(journal.token)
  })

  test('writes what publishers send, as it is, and forwards it', async () => {
    const space = await redis.space()
    const broker = await startBroker(await space.journal())
    const publisher = new Publisher(broker)
    // the broker's own first: a new connection is told but once what two have subscribed to before
    await until(() => publisher.heard.includes('\x01#'))
    const taker = new Taker(broker, '#')
    await until(() => publisher.heard.filter((text) => text === '\x01#').length === 2)
    await publisher.socket.send([TOPIC, bundleOf(1, 2)])
    await publisher.socket.send([TOPIC, bundleOf(3)])
    await until(async () => (await space.bundle(SHARD)).equals(bundleOf(1, 2, 3)))
    await until(() => taker.messages.length === 2)
    expect(taker.messages.map(([, bundle]) => bundle)).toEqual([Buffer.from(bundleOf(1, 2)), Buffer.from(bundleOf(3))])
    expect(broker.metrics()).toContain('zibrato_broker_journal_up 1\n')
  })

  test("forwards what has the journal's mark without it, and does not write it again", async () => {
    const space = await redis.space()
    const journal = await space.journal()
    const broker = await startBroker(journal)
    const publisher = new Publisher(broker)
    // the broker's own first: a new connection is told but once what two have subscribed to before
    await until(() => publisher.heard.includes('\x01#'))
    const taker = new Taker(broker, '#')
    await until(() => publisher.heard.filter((text) => text === '\x01#').length === 2)
    await publisher.socket.send([TOPIC, bundleOf(1), journal.token as string])
    await publisher.socket.send([TOPIC, bundleOf(2)])
    await until(async () => (await space.length()) > 0)
    await until(() => taker.messages.length === 2)
    expect(taker.messages.map((parts) => parts.length)).toEqual([2, 2])
    expect(await space.bundle(SHARD)).toEqual(Buffer.from(bundleOf(2)))
    expect(broker.stats().journal).toMatchObject({ marked: 1, clearedMarks: 0 })
  })

  test('writes what has any other mark as if it had none, and counts it', async () => {
    const space = await redis.space()
    const journal = await space.journal()
    const broker = await startBroker(journal)
    const publisher = new Publisher(broker)
    // the broker's own first: a new connection is told but once what two have subscribed to before
    await until(() => publisher.heard.includes('\x01#'))
    const taker = new Taker(broker, '#')
    await until(() => publisher.heard.filter((text) => text === '\x01#').length === 2)
    const forged = ['', 'x', journal.fingerprint as string, `${journal.token}x`, 'f'.repeat(32)]
    for (const [index, mark] of forged.entries()) await publisher.socket.send([TOPIC, bundleOf(index + 1), mark])
    const all = Buffer.from(bundleOf(1, 2, 3, 4, 5))
    await until(async () => (await space.bundle(SHARD)).equals(all))
    await until(() => taker.messages.length === 5)
    expect(taker.messages.every((parts) => parts.length === 2)).toBe(true)
    expect(broker.stats().journal).toMatchObject({ marked: 0, clearedMarks: 5 })
    expect(broker.metrics()).toContain('zibrato_broker_cleared_marks_total 5\n')
  })

  test('joins bundles without letting a broken one swallow its neighbours', async () => {
    const space = await redis.space()
    const broker = await startBroker(await space.journal())
    const publisher = new Publisher(broker)
    await until(() => publisher.heard.includes('\x01#'))
    const broken = Buffer.concat([bundleOf(2), Buffer.from([0x80 | 100, 1, 1, 2, 3])])
    for (const bundle of [bundleOf(1), broken, Buffer.from([200]), bundleOf(3)])
      await publisher.socket.send([TOPIC, bundle])
    await until(async () => (await space.bundle(SHARD)).equals(bundleOf(1, 2, 3)))
    expect(broker.stats().journal?.broken).toBe(2)
  })

  test('writes what text lines say', async () => {
    const space = await redis.space()
    const broker = await startBroker(await space.journal())
    const publisher = new Publisher(broker)
    await until(() => publisher.heard.includes('\x01i'))
    await publisher.socket.send('info|counter|orders|5|1700000000|web')
    await until(async () => (await space.bundle(SHARD)).length > 0)
    const bundle = await space.bundle(SHARD)
    expect(decodeFrame(bundle, 1).entries[0]?.series.name).toBe('orders')
    expect(readHeader(bundle, 1).seq).toBe(1)
  })

  test('confirms only what is written', async () => {
    const server = new FakeServer()
    const journal = new Journal({ connect: () => Promise.resolve(server) })
    open.push(journal)
    await journal.start()
    const publisher = new Publisher(await startBroker(journal))
    await until(() => publisher.heard.includes('\x01#'))
    let release = (): void => {}
    server.gate = new Promise((resolve) => (release = resolve))
    await publisher.socket.send([TOPIC, bundleOf(1)])
    await publisher.socket.send(`${PING_PREFIX}a1`)
    await until(() => server.writes === 1)
    // beats go on, by which it is known that an answer would have come
    const beats = (): number => publisher.heard.filter((text) => text === '!beat').length
    await until(() => beats() > 0)
    expect(publisher.heard).not.toContain(`${PONG_PREFIX}a1`)
    release()
    await until(() => publisher.heard.includes(`${PONG_PREFIX}a1`))
  })

  test('falls silent while the journal takes nothing, so that publishers keep what they have, and goes on after', async () => {
    const server = new FakeServer()
    const journal = new Journal({ connect: () => Promise.resolve(server) })
    open.push(journal)
    await journal.start()
    const broker = await startBroker(journal)
    const transport = new ZmqTransport({ url: `tcp://127.0.0.1:${broker.port}`, warn: () => {} })
    open.push({ close: () => transport.close(0) })
    await until(() => transport.journal === journal.fingerprint)
    let release = (): void => {}
    server.gate = new Promise((resolve) => (release = resolve))
    const frame = (seq: number) => ({ bytes: counterFrame({ seq }), level: 'info', shard: SHARD, seq, closedMs: 0 })
    transport.send([frame(1)])
    await until(() => server.writes === 1)
    // subscriptions of others would tell that it lives
    await until(() => !transport.connected(), 'the publisher takes it for dead', 20_000)
    const taker = new Taker(broker, shardTopic(SHARD))
    transport.send([frame(2)])
    expect(transport.stats()).toMatchObject({ waiting: 2 })
    expect(transport.connected()).toBe(false)
    release()
    await until(() => transport.connected() && transport.stats().waiting === 0, 'it goes on')
    const key = journal.keys.stream(SHARD)
    await until(() => server.bytes(key).includes(Buffer.from(bundleOf(2))), 'all is written')
    await until(() => taker.messages.length > 0)
  }, 40_000)
})

test('a broker without a journal does not forward what has a mark, and says why', async () => {
  const warnings: string[] = []
  const broker = new Broker({ port: 0, onWarning: (message) => warnings.push(message) })
  open.push(broker)
  await broker.start()
  const taker = new Taker(broker, '#')
  const publisher = new Publisher(broker)
  await until(() => publisher.heard.includes('\x01#'))
  await publisher.socket.send([TOPIC, bundleOf(1), 'f'.repeat(32)])
  await publisher.socket.send([TOPIC, bundleOf(2)])
  await until(() => taker.messages.length === 1)
  expect(broker.stats()).toMatchObject({ invalid: 1, messages: 1 })
  expect(warnings[0]).toMatch(/a gateway has --journal, so start this broker with --journal/)
  expect(publisher.heard.some((text) => text.includes(JOURNAL_PREFIX))).toBe(false)
})
