import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { Publisher, Subscriber, XPublisher, XSubscriber, curveKeyPair } from 'zeromq'
import type { Socket } from 'zeromq'
import { UsageError } from '../../client/errors.ts'
import { encodeBundle } from '../../client/wire/bundle.ts'
import { BEAT, BROKER_TOPIC } from '../../client/wire/topic.ts'
import { frameTopic, replayTopic, shardTopic } from '../../client/wire/topic.ts'
import { Broker, type BrokerOptions } from '../../gateway/broker/index.ts'
import { until } from '../until.ts'
import { counterFrame } from './fake-sink.ts'

const brokers: Broker[] = []
const sockets: Socket[] = []
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const socket of sockets.splice(0)) socket.close()
  await Promise.all(brokers.splice(0).map((broker) => broker.stop()))
})

async function start(options: BrokerOptions = {}): Promise<Broker> {
  const broker = new Broker({ port: 0, ...options })
  brokers.push(broker)
  await broker.start()
  return broker
}

/** A publisher that sees subscriptions, as clients are. */
class Source {
  readonly socket = new XPublisher({ linger: 0, verbosity: 'allSubs', sendHighWaterMark: 0 })
  /** Whose subscriptions came, the broker's own left out. */
  readonly seen: string[] = []
  /** Greetings of the broker itself, and what else it says. */
  greetings = 0
  readonly heard: string[] = []

  constructor(port: number, options: { curveServerKey?: string } = {}) {
    sockets.push(this.socket)
    if (options.curveServerKey !== undefined) {
      const { publicKey, secretKey } = curveKeyPair()
      Object.assign(this.socket, { ...options, curvePublicKey: publicKey, curveSecretKey: secretKey })
    }
    this.socket.connect(`tcp://127.0.0.1:${port}`)
    void this.#watch()
  }

  subscribed(prefix: string): Promise<void> {
    return until(() => this.seen.includes(`+${prefix}`), `a subscription to ${prefix}`)
  }

  async #watch(): Promise<void> {
    for await (const [message] of this.socket) {
      const [added, topic] = [message?.[0] === 1, String(message?.subarray(1))]
      // the broker itself asks for text lines, by the first byte of their level
      if (topic === BROKER_TOPIC) this.greetings++
      else if (message?.[0] === 1 && message.length === 2 && message[1] !== 0x23) continue
      else if (message?.[0] === 0x21) this.heard.push(String(message))
      else this.seen.push((added ? '+' : '-') + topic)
    }
  }
}

class Taker {
  readonly socket = new Subscriber({ linger: 0, receiveHighWaterMark: 0 })
  readonly messages: Buffer[][] = []

  constructor(port: number | undefined, ...prefixes: string[]) {
    sockets.push(this.socket)
    if (port !== undefined) this.socket.connect(`tcp://127.0.0.1:${port}`)
    for (const prefix of prefixes) this.socket.subscribe(prefix)
    void this.#take()
  }

  topics(): string[] {
    return this.messages.map(([topic]) => String(topic))
  }

  async #take(): Promise<void> {
    for await (const parts of this.socket) this.messages.push(parts)
  }
}

describe('a broker', () => {
  test('forwards bundles as the bytes they are, and counts them', async () => {
    const broker = await start()
    const taker = new Taker(broker.subscribersPort, '#')
    const source = new Source(broker.port)
    await source.subscribed('#')
    const bundle = encodeBundle([counterFrame(), counterFrame({ seq: 2 })])
    await source.socket.send([frameTopic(10, 'info'), bundle])
    await source.socket.send([frameTopic(31, 'crit'), bundle])
    await until(() => taker.messages.length === 2)
    expect(taker.topics()).toEqual(['#0a|info|', '#1f|crit|'])
    expect(taker.messages[0]?.[1]?.equals(bundle)).toBe(true)
    expect(broker.stats()).toMatchObject({
      messages: 2,
      bytes: 2 * (9 + bundle.length),
      frames: { info: 2, crit: 2 },
      publishers: 1,
      subscribers: 1,
      subscriptions: 1,
      invalid: 0,
      droppedForSlow: 0,
    })
    expect(broker.metrics()).toContain('zibrato_broker_frames_total{level="info"} 2\n')
  })

  test('keeps the order of a publisher through thousands of messages', async () => {
    const broker = await start()
    const taker = new Taker(broker.subscribersPort, '#')
    const source = new Source(broker.port)
    await source.subscribed('#')
    for (let seq = 0; seq < 5_000; seq++) await source.socket.send([frameTopic(seq % 32, 'info'), String(seq)])
    await until(() => taker.messages.length === 5_000)
    expect(taker.messages.map(([, body]) => Number(body))).toEqual(Array.from({ length: 5_000 }, (_, seq) => seq))
  })

  test('gives each subscriber its shards and levels only', async () => {
    const broker = await start()
    const info = new Taker(broker.subscribersPort, '#0a|info|')
    const shard = new Taker(broker.subscribersPort, shardTopic(10))
    const text = new Taker(broker.subscribersPort, 'info|')
    const source = new Source(broker.port)
    for (const prefix of ['#0a|info|', '#0a|', 'info|']) await source.subscribed(prefix)
    const bundle = encodeBundle([counterFrame()])
    for (const topic of ['#0a|information|', '#0a|infer|', '#0b|info|', '#0a|info|'])
      await source.socket.send([topic, bundle])
    await source.socket.send('info|counter|orders|5|1700000000|web')
    await until(() => shard.messages.length === 3 && info.messages.length === 1 && text.messages.length === 1)
    expect(info.topics()).toEqual(['#0a|info|'])
    expect(shard.topics()).toEqual(['#0a|information|', '#0a|infer|', '#0a|info|'])
    expect(text.messages.map(String)).toEqual(['info|counter|orders|5|1700000000|web'])
    expect(broker.stats().textLines).toBe(1)
  })

  test('passes every subscription upstream, a second group’s identical one and replay requests too', async () => {
    const broker = await start()
    const source = new Source(broker.port)
    const first = new Taker(broker.subscribersPort, '#0a|')
    await source.subscribed('#0a|')
    const second = new Taker(broker.subscribersPort, '#0a|')
    await until(() => source.seen.filter((seen) => seen === '+#0a|').length === 2)
    first.socket.subscribe(replayTopic(10, 'one'))
    second.socket.subscribe(replayTopic(10, 'two'))
    await source.subscribed('?0a|one')
    await source.subscribed('?0a|two')
    expect(broker.stats()).toMatchObject({ subscriptions: 3, subscriptionsSeen: 4 })
  })

  test('tells publishers when nobody takes a topic any more, after however many did', async () => {
    const broker = await start()
    const source = new Source(broker.port)
    const takers = [1, 2, 3].map(() => new Taker(broker.subscribersPort, '#0a|'))
    await until(() => source.seen.length === 3)
    for (const taker of takers) taker.socket.close()
    await until(() => source.seen.includes('-#0a|'))
    expect(source.seen).toEqual(['+#0a|', '+#0a|', '+#0a|', '-#0a|'])
    await until(() => broker.stats().subscribers === 0)
    expect(broker.stats().subscriptions).toBe(0)
  })

  test('greets publishers on every connection and shows them again and again that it lives', async () => {
    const broker = await start()
    const source = new Source(broker.port)
    await until(() => source.greetings === 1 && source.heard.includes(BEAT))
    expect(source.seen).toEqual([])
    const { port } = broker
    await broker.stop()
    await start({ port })
    await until(() => source.greetings === 2)
  })

  test('answers a ping once it has forwarded what was sent before, and passes the ping to nobody', async () => {
    const broker = await start()
    const taker = new Taker(broker.subscribersPort, '')
    const source = new Source(broker.port)
    await source.subscribed('')
    await source.socket.send(['#0a|info|', encodeBundle([counterFrame()])])
    await source.socket.send('!zibrato|1|ping|abc')
    await source.socket.send('!zibrato|1|ping|def')
    await until(() => source.heard.some((message) => message.startsWith('!pong|')))
    expect(source.heard.filter((message) => message !== BEAT)).toEqual(['!pong|abc,def'])
    await until(() => taker.messages.length > 0)
    expect(taker.topics()).toEqual(['#0a|info|'])
  })

  test('tells a publisher that connects late of all subscriptions', async () => {
    const broker = await start()
    new Taker(broker.subscribersPort, '#00|', '#01|')
    new Taker(broker.subscribersPort, '#00|')
    await until(() => broker.stats().subscriptionsSeen === 3)
    const late = new Source(broker.port)
    await late.subscribed('#00|')
    await late.subscribed('#01|')
    expect(late.seen).toHaveLength(2)
  })

  test('forwards nothing that is no message, of however many parts, and goes on', async () => {
    const warnings: string[] = []
    const broker = await start({ onWarning: (message) => warnings.push(message) })
    const taker = new Taker(broker.subscribersPort, '')
    const source = new Source(broker.port)
    await source.subscribed('')
    const bundle = encodeBundle([counterFrame()])
    const garbage: (string | Uint8Array)[][] = [
      [''],
      ['#'],
      ['#0a|info|'],
      ['?0a|x'],
      ['', bundle],
      ['info', bundle],
      ['#0a|info', bundle],
      ['#0a||', bundle],
      ['#0a|a|b|', bundle],
      ['#0g|info|', bundle],
      ['#2a|info|', bundle],
      ['#0A|info|', bundle],
      ['#0a|?x|', bundle],
      [`#0a|${'x'.repeat(65)}|`, bundle],
      ['#0a|info|', bundle, ''],
      Array.from({ length: 1_000 }, () => 'x'),
    ]
    for (const parts of garbage) await source.socket.send(parts)
    await source.socket.send(['#0a|info|', new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])])
    await source.socket.send(['#0a|info|', bundle])
    await until(() => taker.messages.length === 2)
    expect(broker.stats()).toMatchObject({ invalid: garbage.length, messages: 2, frames: { info: 1 } })
    expect(warnings).toHaveLength(1)
  })

  test('tells a bounded number of levels apart', async () => {
    const broker = await start()
    const taker = new Taker(broker.subscribersPort, '#')
    const source = new Source(broker.port)
    await source.subscribed('#')
    const bundle = encodeBundle([counterFrame()])
    for (let level = 0; level < 1_000; level++) await source.socket.send([frameTopic(0, `level${level}`), bundle])
    await until(() => taker.messages.length === 1_000)
    const { frames } = broker.stats()
    expect(Object.keys(frames)).toHaveLength(257)
    expect(frames['(other)']).toBe(744)
  })

  test('survives what does not speak ZeroMQ, at both ports', async () => {
    const broker = await start()
    for (const port of [broker.port, broker.subscribersPort]) {
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      // these read as ZMTP 1.0 and as 2.0 and later, both with nonsense behind
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(10))
      const second = connect(port, '127.0.0.1').on('error', () => {})
      second.write(Buffer.concat([Buffer.from('ff00000000000000017f03', 'hex'), Buffer.alloc(500, 0xee)]))
      second.resume()
      await until(() => second.closed, 'the connection to be closed')
      socket.destroy()
    }
    // a peer that sends upstream what is no subscription
    const peer = new XSubscriber({ linger: 0 })
    sockets.push(peer)
    peer.connect(`tcp://127.0.0.1:${broker.subscribersPort}`)
    await peer.send('hello')
    await until(() => broker.stats().invalid === 1)
    const source = new Source(broker.port)
    const taker = new Taker(broker.subscribersPort, '#')
    await source.subscribed('#')
    await source.socket.send([frameTopic(0, 'info'), encodeBundle([counterFrame()])])
    await until(() => taker.messages.length > 0)
    expect(taker.topics()).toEqual(['#00|info|'])
  })

  test('is not stalled by a subscriber that was stopped, and counts that it was', async () => {
    const warnings: string[] = []
    const broker = await start({ sendHighWaterMark: 100, onWarning: (message) => warnings.push(message) })
    const child = spawn(process.execPath, [
      new URL('slow-subscriber.mjs', import.meta.url).pathname,
      String(broker.subscribersPort),
    ])
    children.push(child)
    const taker = new Taker(broker.subscribersPort, '#')
    const source = new Source(broker.port)
    await source.subscribed('#')
    await source.subscribed('')
    const taking = once(child.stdout, 'data')
    const message = [frameTopic(0, 'info'), Buffer.alloc(16_000, 1)]
    let sent = 0
    const send = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) await source.socket.send(message)
      sent += count
      await until(() => taker.messages.length === sent, 'every message at the subscriber that lives')
    }
    await send(1)
    await taking
    child.kill('SIGSTOP')
    while (broker.stats().droppedForSlow === 0) await send(50)
    for (let turn = 0; turn < 10; turn++) await send(50)
    expect(warnings.filter((warning) => warning.includes('takes less than it subscribed to'))).toHaveLength(1)
    child.kill('SIGCONT')
    await send(10)
  })

  test('says in one line that a port is taken, which and what to do', async () => {
    // with the port before it free, which only a broker's pair shows
    const pair = await start()
    const port = pair.subscribersPort
    await pair.stop()
    const other = createServer().listen(port, '127.0.0.1')
    await once(other, 'listening')
    for (const wanted of [port, port - 1]) {
      await expect(start({ port: wanted })).rejects.toMatchObject({
        code: 'ERR_LISTEN',
        message: `broker: cannot listen on 127.0.0.1:${port}: port ${port} is taken; stop whoever holds it or choose another with --port`,
      })
    }
    other.close()
  })

  test('says in one line that its host is none of this machine, or has no address', async () => {
    await expect(start({ host: '192.0.2.1', insecure: true })).rejects.toThrow(
      /^broker: cannot listen on 192\.0\.2\.1:\d+: the host is not an address of this machine; choose one that is with --host$/,
    )
    await expect(start({ host: 'no such host' })).rejects.toThrow(UsageError)
    expect(() => new Broker({ port: 65_535 })).toThrow(UsageError)
    expect(() => new Broker({ curveSecretKey: 'short' })).toThrow(UsageError)
  })

  test('does not listen beyond loopback without CURVE keys, unless told to', async () => {
    await expect(start({ host: '0.0.0.0' })).rejects.toThrow(/CURVE.*--insecure/)
    await start({ host: '0.0.0.0', insecure: true })
    await start({ host: '0.0.0.0', curveSecretKey: curveKeyPair().secretKey })
    await start({ host: 'localhost' })
  })

  test('with CURVE keys lets in only who knows the public one', async () => {
    const { publicKey, secretKey } = curveKeyPair()
    const broker = await start({ curvePublicKey: publicKey, curveSecretKey: secretKey })
    const taker = new Taker(undefined)
    const keys = curveKeyPair()
    taker.socket.curveServerKey = publicKey
    taker.socket.curvePublicKey = keys.publicKey
    taker.socket.curveSecretKey = keys.secretKey
    taker.socket.subscribe('#')
    taker.socket.connect(`tcp://127.0.0.1:${broker.subscribersPort}`)
    const source = new Source(broker.port, { curveServerKey: publicKey })
    await source.subscribed('#')
    new Source(broker.port)
    new Source(broker.port, { curveServerKey: curveKeyPair().publicKey })
    await until(() => broker.stats().refusedPeers > 0)
    await source.socket.send([frameTopic(0, 'info'), encodeBundle([counterFrame()])])
    await until(() => taker.messages.length > 0)
    expect(taker.topics()).toEqual(['#00|info|'])
  })

  test('can be stopped and another started on the same ports, to which everyone comes back', async () => {
    const first = await start()
    const { port } = first
    const taker = new Taker(first.subscribersPort, '#')
    const source = new Source(port)
    await source.subscribed('#')
    await first.stop()
    await first.stop()
    source.seen.length = 0
    await start({ port })
    await source.subscribed('#')
    await source.socket.send([frameTopic(0, 'info'), encodeBundle([counterFrame()])])
    await until(() => taker.messages.length > 0)
    expect(taker.topics()).toEqual(['#00|info|'])
  })

  test('forwards what it has received before it stops, and serves publishers that are still there for the grace given', async () => {
    const broker = await start()
    const taker = new Taker(broker.subscribersPort, '#')
    const source = new Publisher({ linger: 5_000, sendHighWaterMark: 0 })
    source.connect(`tcp://127.0.0.1:${broker.port}`)
    await until(async () => {
      await source.send([frameTopic(0, 'info'), 'x'])
      return taker.messages.length > 0
    })
    let stopped = false
    const stopping = broker.stop({ graceMs: 30_000 }).then(() => (stopped = true))
    for (let count = 0; count < 1_000; count++) await source.send([frameTopic(0, 'last'), 'x'])
    await until(() => taker.topics().includes('#00|last|'))
    expect(stopped).toBe(false)
    source.close()
    await stopping
    await until(() => taker.topics().filter((topic) => topic === '#00|last|').length === 1_000)
  })
})
