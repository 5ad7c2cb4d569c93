import { afterEach, describe, expect, it } from 'vitest'
import { MemoryState } from '../../../backends/state/memory.ts'
import { BrokerFeed } from '../../../backends/worker/broker-feed.ts'
import { Inbox, type Received } from '../../../backends/worker/inbox.ts'
import { Source, type SourceOptions, subscribersUrl } from '../../../backends/worker/source.ts'
import { UsageError } from '../../../client/errors.ts'
import { decodeFrame } from '../../../client/wire/frame.ts'
import { SHARDS } from '../../../client/wire/series.ts'
import { frameTopic, shardTopic, watchTopic } from '../../../client/wire/topic.ts'
import { Broker } from '../../../gateway/broker/index.ts'
import { until } from '../../until.ts'
import { KeptLog } from './collecting.ts'
import { counter, frame, keyIn } from './frames.ts'
import { HandMade } from './hand-made.ts'

const ALL = Array.from({ length: SHARDS }, (_, shard) => shard)
const brokers: Broker[] = []
const sources: Source[] = []
const publishers: HandMade[] = []

afterEach(async () => {
  await Promise.all(sources.splice(0).map((source) => source.stop()))
  for (const { socket } of publishers.splice(0)) socket.close()
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()))
})

async function startBroker(port = 0): Promise<Broker> {
  const broker = new Broker({ port })
  await broker.start()
  brokers.push(broker)
  return broker
}

function publisher(broker: Broker): HandMade {
  const made = new HandMade(broker.port)
  publishers.push(made)
  return made
}

async function startSource(
  options: Partial<SourceOptions> & { readonly at: readonly Broker[] },
  shards: readonly number[] = ALL,
  replay = false,
): Promise<{ source: Source; received: Received[] }> {
  const received: Received[] = []
  const { at, ...rest } = options
  const source = new Source({
    brokers: at.map(({ port }) => `tcp://127.0.0.1:${port}`),
    onBundle: async (one) => void received.push(one),
    ...rest,
  })
  sources.push(source)
  await source.start(shards, replay)
  return { source, received }
}

const bytes = (shard: number, level: string, seq = 1): Uint8Array =>
  frame({ seq, level, shard }, counter(keyIn(shard, 'c'), 1))

describe('the address of a broker', () => {
  it.each([
    ['tcp://127.0.0.1:5550', 'tcp://127.0.0.1:5551'],
    ['tcp://broker.example:1', 'tcp://broker.example:2'],
    ['tcp://[::1]:65534', 'tcp://[::1]:65535'],
  ])('%s has its subscribers at %s', (broker, subscribers) => {
    expect(subscribersUrl(broker)).toBe(subscribers)
  })

  it.each([
    '127.0.0.1:5550',
    'tcp://127.0.0.1',
    'http://127.0.0.1:5550',
    'tcp://:5550',
    'tcp://a:65535',
    'tcp://a:0',
    '',
  ])('is not %j', (broker) => {
    expect(() => new Source({ brokers: [broker], onBundle: async () => {} })).toThrow(UsageError)
    expect(() => subscribersUrl(broker)).toThrow(/tcp:\/\/127\.0\.0\.1:5550/)
  })
})

describe('a source', () => {
  it('receives the bundles of its shards, at all levels, and no others', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    const { received, source } = await startSource({ at: [broker] }, [5, 31])
    await from.subscribed(shardTopic(5))
    await from.subscribed(shardTopic(31))
    for (const [shard, level] of [
      [4, 'info'],
      [5, 'info'],
      [31, 'crit'],
      [5, 'debug'],
    ] as const) {
      await from.send(shard, level, bytes(shard, level))
    }
    await until(() => received.length === 3)
    expect(received.map(({ shard }) => shard)).toEqual([5, 31, 5])
    expect(source.strange).toBe(0)
    expect(source.connections).toBe(1)
  })

  it('receives the levels that it was told to', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    const { received } = await startSource({ at: [broker], levels: ['crit', 'warn'] }, [5])
    await from.subscribed(frameTopic(5, 'crit'))
    await from.subscribed(frameTopic(5, 'warn'))
    for (const level of ['info', 'crit', 'criti', 'warn']) await from.send(5, level, bytes(5, level))
    await until(() => received.length === 2)
    expect(received.map(({ bundle }) => decodeFrame(bundle, 1).level)).toEqual(['crit', 'warn'])
  })

  it('sees what comes of a shard that it watches, at its levels, and takes the shard when it is added', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    const { source, received } = await startSource({ at: [broker], levels: ['crit', 'wörn'] }, [])
    source.watch(5)
    source.watch(6)
    await from.subscribed(watchTopic(5))
    for (const level of ['info', 'crit', 'criti', 'wörn']) await from.send(5, level, bytes(5, level))
    await until(() => received.length === 2)
    expect(received.map(({ bundle }) => decodeFrame(bundle, 1).level)).toEqual(['crit', 'wörn'])
    expect([source.strange, from.requests]).toEqual([0, []])
    source.remove(6)
    source.add(5)
    await until(() => from.requests.length === 1)
    // from here on by its levels, each once
    await from.subscribed(frameTopic(5, 'wörn'))
    await until(() => !from.topics.has(watchTopic(5)) && !from.topics.has(watchTopic(6)))
    await from.send(6, 'crit', bytes(6, 'crit'))
    await from.send(5, 'crit', bytes(5, 'crit', 2))
    await until(() => received.length === 3)
    expect(received[2]?.shard).toBe(5)
  })

  it('counts messages that are none of its own', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    const { source, received } = await startSource({ at: [broker] }, [5])
    await from.subscribed(shardTopic(5))
    // a line that looks like a subscription's topic; the broker lets lines pass
    await from.socket.send('#05|counter|orders|1|1700000000|web')
    await from.send(5, 'info', bytes(5, 'info'))
    await until(() => received.length === 1)
    expect(source.strange).toBeLessThanOrEqual(1)
  })

  it('asks for replays at its start when it is told to, and then again whenever it is connected anew', async () => {
    const broker = await startBroker()
    const { port } = broker
    const first = publisher(broker)
    const { source } = await startSource({ at: [broker] }, [5, 6], true)
    await until(() => first.requests.length === 2)
    expect(first.requests.map((topic) => topic.slice(0, 4)).toSorted()).toEqual(['?05|', '?06|'])
    await broker.stop()
    await until(() => source.connections === 0)
    const second = publisher(await startBroker(port))
    await until(() => second.requests.length === 2)
    expect(source.connections).toBe(1)
  })

  it('asks for none at its start otherwise, but when it is connected anew', async () => {
    const broker = await startBroker()
    const { port } = broker
    const first = publisher(broker)
    const { source } = await startSource({ at: [broker] }, [5, 6], false)
    await first.subscribed(shardTopic(6))
    source.requestReplay(6)
    await until(() => first.requests.length === 1)
    expect(first.requests[0]).toMatch(/^\?06\|[0-9a-f]{16}$/)
    await broker.stop()
    await until(() => source.connections === 0)
    const second = publisher(await startBroker(port))
    await until(() => new Set(second.requests.map((topic) => topic.slice(0, 4))).size === 2)
  })

  it('asks anew with another topic, so that no broker takes it for the same', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    const { source } = await startSource({ at: [broker] }, [5])
    await from.subscribed(shardTopic(5))
    source.requestReplay(5)
    await until(() => from.requests.length === 1)
    source.requestReplay(5)
    await until(() => from.requests.length === 2)
    expect(new Set(from.requests).size).toBe(2)
  })

  it('takes nothing more while what it received is not taken', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    let release = (): void => {}
    const taken: number[] = []
    await startSource({
      at: [broker],
      onBundle: ({ shard }) => {
        taken.push(shard)
        return new Promise<void>((resolve) => (release = resolve))
      },
    })
    for (const shard of [1, 2, 3]) await from.subscribed(shardTopic(shard))
    for (const shard of [1, 2, 3]) await from.send(shard, 'info', bytes(shard, 'info'))
    for (let count = 1; count <= 3; count++) {
      await until(() => taken.length === count)
      release()
    }
    expect(taken).toEqual([1, 2, 3])
  })

  it('that was never started can be stopped', async () => {
    const source = new Source({ brokers: [], onBundle: async () => {} })
    await source.stop()
    expect(source.connections).toBe(0)
  })
})

describe('the inbox', () => {
  const item = (size: number): Received => ({ shard: 1, bundle: new Uint8Array(size) })

  it('gives what arrived first, up to a size, and one that is larger alone', async () => {
    const inbox = new Inbox()
    for (const size of [10, 20, 30, 100]) await inbox.put(item(size))
    expect(inbox.bytes).toBe(160)
    expect(inbox.take(59).map(({ bundle }) => bundle.length)).toEqual([10, 20])
    expect(inbox.take(1).map(({ bundle }) => bundle.length)).toEqual([30])
    expect(inbox.take(1).map(({ bundle }) => bundle.length)).toEqual([100])
    expect(inbox.take(1)).toEqual([])
    expect(inbox.bytes).toBe(0)
  })

  it('holds those up who put in more than it has room for, until some was taken', async () => {
    const inbox = new Inbox(100)
    await inbox.put(item(100))
    let room = false
    const put = inbox.put(item(50))?.then(() => (room = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(room).toBe(false)
    inbox.take(100)
    await put
    expect(inbox.bytes).toBe(50)
  })

  it('holds nobody up any more once it is closed', async () => {
    const inbox = new Inbox(10)
    const put = inbox.put(item(50))
    expect(put).toBeInstanceOf(Promise)
    inbox.close()
    await put
    expect(inbox.put(item(50))).toBeUndefined()
    expect(inbox.bytes).toBe(100)
  })

  it('wakes who waits for something, and does not hold up who finds something there', async () => {
    const inbox = new Inbox()
    const waiting = inbox.wait(60_000)
    await inbox.put(item(1))
    await waiting
    await inbox.wait(60_000)
    expect(inbox.take(1)).toHaveLength(1)
    const again = inbox.wait(60_000)
    inbox.wake()
    await again
    await inbox.wait(1)
  })

  it('lets who waits for more than a little have it once that much is there, or when woken', async () => {
    const inbox = new Inbox()
    let gathered = false
    const waiting = inbox.wait(60_000, 100).then(() => (gathered = true))
    await inbox.put(item(99))
    await new Promise((resolve) => setImmediate(resolve))
    expect(gathered).toBe(false)
    await inbox.put(item(1))
    await waiting
    await inbox.wait(60_000, 100)
    const more = inbox.wait(60_000, 101)
    inbox.wake()
    await more
    await inbox.wait(1, 101)
    expect(inbox.bytes).toBe(100)
  })
})

describe('what brokers forward', () => {
  it('is not appended for a shard that was lost, until that is this worker’s again and read to its end', async () => {
    const broker = await startBroker()
    const from = publisher(broker)
    const state = new MemoryState()
    await state.open({ group: 'g', backends: [] })
    await state.acquire(1)
    const feed = new BrokerFeed({
      brokers: [`tcp://127.0.0.1:${broker.port}`],
      state,
      log: new KeptLog(),
      givesUp: () => false,
    })
    await feed.start([1], false)
    try {
      await from.subscribed(shardTopic(1))
      await from.send(1, 'info', bytes(1, 'info'))
      await until(() => feed.bytes > 0)
      feed.remove(1)
      feed.expect([1])
      expect(await feed.next(1)).toEqual([])
      expect(feed.bytes).toBe(0)
      feed.add(1)
      expect((await feed.next(1_000)).map(({ shard }) => shard)).toEqual([1])
    } finally {
      await feed.stop()
      await state.close()
    }
  })
})
