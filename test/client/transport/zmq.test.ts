import { curveKeyPair } from 'zeromq'
import { afterEach, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import type { ZibratoOptions } from '../../../client/options.ts'
import type { Warning } from '../../../client/warning.ts'
import { frameTopic, replayTopic, shardTopic } from '../../../client/wire/topic.ts'
import { freePort } from '../../free-port.ts'
import { until } from '../../until.ts'
import { BrokerDouble } from './broker-double.ts'
import { httpServer } from './http-server.ts'

const brokers: BrokerDouble[] = []
const clients: Zibrato[] = []
const warnings: Warning[] = []

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  for (const broker of brokers.splice(0)) broker.kill()
  warnings.length = 0
})

async function openBroker(greets: boolean, ...prefixes: string[]): Promise<BrokerDouble> {
  const double = new BrokerDouble(greets)
  brokers.push(double)
  return double.start(...prefixes)
}

function openClient(url: string, options: ZibratoOptions = {}): Zibrato {
  const z = new Zibrato({
    url,
    flushInterval: 10,
    closeTimeout: 300,
    exitHooks: false,
    onWarning: (warning) => warnings.push(warning),
    ...options,
  })
  clients.push(z)
  return z
}

describe('a client over ZeroMQ', () => {
  test('sends a bundle of frames by topic', async () => {
    const double = await openBroker(true, '#')
    const z = openClient(double.url)
    const orders = z.counter('orders')
    orders.inc(3)
    z.counter('orders', { level: 'crit' }).inc(4)
    await until(() => double.sum('orders') === 7)
    const { shard } = orders.key
    expect(new Set(double.topics)).toEqual(new Set([frameTopic(shard, 'info'), frameTopic(shard, 'crit')]))
    expect(z.connected()).toBe(true)
    expect(z.stats()).toMatchObject({ sent: 2, waiting: 0, replayed: 0, unknown: 0, dropped: {} })
  })

  test('sends nothing to a server of another kind, and all to a broker that comes there later', async () => {
    const port = await freePort()
    const server = await httpServer(port)
    const z = openClient(`tcp://127.0.0.1:${port}`)
    z.counter('orders').inc(3)
    await until(() => server.refused > 0 && z.stats().waiting === 1)
    expect(z.connected()).toBe(false)
    expect(z.stats()).toMatchObject({ sent: 0, waiting: 1 })
    await server.stop()
    const double = new BrokerDouble(true, port)
    brokers.push(double)
    await double.start('#')
    // libzmq by itself has given up
    await until(() => double.sum('orders') === 3)
  })

  test.each(['serverKey', 'publicKey', 'secretKey'] as const)('is not made with a wrong %s', (name) => {
    const keys = curveKeyPair()
    const curve = { serverKey: keys.publicKey, ...keys }
    for (const wrong of [undefined, 'short', 'é'.repeat(40), ' '.repeat(40)]) {
      const make = (): Zibrato => new Zibrato({ curve: { ...curve, [name]: wrong as string } })
      expect(make).toThrow(
        new UsageError(`curve: ${name} is no CURVE key; give the 40 characters that zeromq's curveKeyPair() makes`),
      )
    }
  })

  test('can start before its broker', async () => {
    const double = await openBroker(true)
    double.kill()
    const z = openClient(double.url)
    z.counter('orders').inc(3)
    await until(() => z.stats().waiting === 1)
    expect(z.connected()).toBe(false)
    await double.start('#')
    await until(() => double.sum('orders') === 3)
    expect(z.connected()).toBe(true)
  })

  test('counts what a broker that is gone has not confirmed at the end, and says so', async () => {
    const double = await openBroker(true, '#')
    const z = openClient(double.url)
    const orders = z.counter('orders')
    orders.inc()
    await until(() => double.sum('orders') === 1)
    await z.flush()
    double.kill()
    orders.inc()
    await until(() => z.stats().sent === 2)
    await z.close()
    const { waiting, unknown } = z.stats()
    expect(waiting).toBe(0)
    // the second one, and the first, which is too young to be told apart
    expect(unknown).toBe(2)
    expect(warnings.map(({ message }) => message)).toContainEqual(expect.stringContaining('does not answer'))
  })

  test('sends only what somebody takes, and the rest does not hold up its end', async () => {
    const double = await openBroker(true, '#00|nobody|')
    const z = openClient(double.url, { closeTimeout: 30_000 })
    z.counter('orders', { level: 'debug' }).inc()
    await until(() => z.connected() && z.stats().waiting === 1)
    const started = performance.now()
    await z.close()
    expect(performance.now() - started).toBeLessThan(10_000)
    expect(double.frames).toEqual([])
    expect(z.stats()).toMatchObject({ sent: 0, waiting: 0, dropped: { unsubscribed: 1 } })
    expect(warnings).toEqual([])
  })

  test.each([true, false])(
    'sends the last 15 s again to a broker that was killed and is back (one of ours: %s)',
    async (greets) => {
      const double = await openBroker(greets, '#')
      const z = openClient(double.url)
      const orders = z.counter('orders')
      let recorded = 0
      for (let round = 0; round < 3; round++) {
        orders.inc()
        recorded++
        await until(() => double.sum('orders') === recorded)
        expect(z.stats()).toMatchObject({ waiting: 0, dropped: {} })
        double.kill()
        double.frames.length = 0
        orders.inc(10)
        recorded += 10
        await z.flush()
        await double.start('#')
        await until(() => double.sum('orders') === recorded, `${recorded} after round ${round}`)
      }
      expect(z.stats()).toMatchObject({ waiting: 0, unknown: 0, dropped: {} })
      expect(z.stats().replayed).toBeGreaterThanOrEqual(3)
      const seqs = new Set(double.frames.map(({ seq }) => seq))
      expect(seqs).toEqual(new Set(Array.from(seqs, (__, index) => index + 1)))
    },
  )

  test('sends nothing again to a broker that only lost its subscribers for a while', async () => {
    const double = await openBroker(true, '#')
    const z = openClient(double.url)
    const orders = z.counter('orders')
    orders.inc()
    await until(() => double.sum('orders') === 1)
    await double.unsubscribe('#')
    await until(async () => {
      orders.inc(0)
      await new Promise((resolve) => setTimeout(resolve, 15))
      return z.stats().waiting > 0
    }, 'frames wait for a subscriber')
    expect(z.connected()).toBe(true)
    orders.inc(5)
    await double.subscribe('#')
    await until(() => double.sum('orders') === 6 && z.stats().waiting === 0)
    expect(z.stats().replayed).toBe(0)
    expect(new Set(double.frames.map(({ seq }) => seq)).size).toBe(double.frames.length)
  })

  test('answers a replay request with its ring for that shard, oldest first and before newer frames', async () => {
    const double = await openBroker(true, '#')
    const z = openClient(double.url, { flushInterval: 0 })
    const orders = z.counter('orders')
    const other = Array.from({ length: 50 }, (_, index) => z.counter(`other${index}`)).find(
      ({ key }) => key.shard !== orders.key.shard,
    )
    for (let times = 0; times < 4; times++) {
      orders.inc()
      other?.inc()
    }
    await until(() => double.frames.length === 8)
    await double.subscribe(replayTopic(orders.key.shard, 'a1b2'))
    await until(() => z.stats().replayed === 4)
    orders.inc()
    await until(() => double.frames.length === 13)
    const again = double.frames.slice(8)
    expect(again.map(({ shard }) => shard)).toEqual(again.map(() => orders.key.shard))
    expect(again.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
    await double.subscribe(replayTopic(orders.key.shard, 'c3d4'))
    await until(() => double.frames.length === 18)
  })

  test('sends to one shard’s owner and to two', async () => {
    const double = await openBroker(false)
    const z = openClient(double.url)
    const orders = z.counter('orders')
    await double.subscribe(shardTopic(orders.key.shard))
    orders.inc()
    await until(() => double.sum('orders') === 1)
    // a second one of the same prefix: the first may then leave
    await double.subscribe(frameTopic(orders.key.shard, 'info'))
    await double.unsubscribe(shardTopic(orders.key.shard))
    orders.inc()
    await until(() => double.sum('orders') === 2)
    expect(double.frames).toHaveLength(2)
  })

  test('keeps up with measurements that are sent at once, for as long as they come', async () => {
    const double = await openBroker(true, '#')
    const z = openClient(double.url, { flushInterval: 0 })
    const orders = z.counter('orders')
    let recorded = 0
    await until(() => z.connected())
    // each comes sooner than a timer put off by the one before could fire
    await until(async () => {
      orders.inc()
      recorded++
      await new Promise((resolve) => setImmediate(resolve))
      return double.frames.length >= 20
    })
    await until(() => double.sum('orders') === recorded)
    expect(z.stats()).toMatchObject({ waiting: 0, dropped: {} })
  })

  test('drops its oldest frames when no broker is there for long, and counts them', async () => {
    const double = await openBroker(true)
    double.kill()
    const z = openClient(double.url, { flushInterval: 0, waitingBytes: 2_000 })
    for (let times = 0; times < 500; times++) z.counter('orders').inc()
    const { waiting, waitingBytes, dropped } = z.stats()
    expect(waitingBytes).toBeLessThanOrEqual(2_000)
    expect(waiting + (dropped['unsubscribed'] ?? 0)).toBe(500)
    await double.start('#')
    await until(() => double.sum('orders') === waiting)
    // the newest are those that are left
    expect(double.frames.at(-1)?.seq).toBe(500)
  })

  test('closes in time without a broker, and says and counts what did not go out', async () => {
    // a port that nobody listens at
    const url = 'tcp://127.0.0.1:1'
    const z = openClient(url)
    z.counter('orders').inc()
    const started = performance.now()
    await Promise.all([z.close(), z.close()])
    expect(performance.now() - started).toBeLessThan(5_000)
    expect(z.stats()).toMatchObject({ waiting: 0, dropped: { closed: 1 } })
    expect(warnings).toEqual([
      { code: 'ZIBRATO_TRANSPORT', message: `closed with 1 frames for ${url} that did not go out: no connection` },
    ])
    z.counter('orders').inc()
    await z.flush()
    expect(z.stats().dropped).toEqual({ closed: 2 })
  })

  test('delivers what was recorded just before it is closed', async () => {
    const double = await openBroker(true, '#')
    for (let round = 1; round <= 5; round++) {
      await using z = openClient(double.url, { flushInterval: 60_000, closeTimeout: 10_000 })
      z.counter('orders').inc()
    }
    await until(() => double.sum('orders') === 5)
    expect(new Set(double.frames.map(({ publisher }) => publisher)).size).toBe(5)
  })

  test('says so when a url has no host', async () => {
    const z = openClient('tcp://no such host:1')
    await until(() => warnings.length > 0)
    expect(warnings[0]?.code).toBe('ZIBRATO_TRANSPORT')
    await z.close()
  })
})
