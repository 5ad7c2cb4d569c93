import { afterEach, describe, expect, test } from 'vitest'
import { Registry } from '../../client/registry/index.ts'
import type { Reporter } from '../../client/reporters/index.ts'
import { until } from '../until.ts'

/** A reporter, and the place that it reports to. */
export interface Destination {
  readonly reporter: Reporter
  /** What is known there of the counter or timer of a name: its sum, or how many values it had; undefined for nothing. */
  count(name: string): Promise<number | undefined>
  close(): Promise<void>
}

/** A place that may fail, of a reporter that reports by itself, every 20 ms. */
export interface ReportedTo extends Destination {
  /** Has it take nothing, and waits until that showed, after `record`. */
  fail(record: () => void): Promise<void>
  mend(): Promise<void>
}

type SetUp<Place extends Destination> = () => Promise<{ registry: Registry; destination: Place; reporter: Reporter }>

/** Opens what a test asks for, and closes it behind the test. */
function opening<Place extends Destination>(open: (registry: Registry) => Promise<Place>): SetUp<Place> {
  const opened: Destination[] = []
  afterEach(async () => {
    for (const destination of opened.splice(0)) {
      await destination.reporter.stop()
      await destination.close()
    }
  })
  return async () => {
    const registry = new Registry()
    const destination = await open(registry)
    opened.push(destination)
    return { registry, destination, reporter: destination.reporter }
  }
}

/** What every reporter has to do. */
export function reporterContract(name: string, open: (registry: Registry) => Promise<Destination>): void {
  describe(`${name}, as a reporter`, () => {
    const setUp = opening(open)

    test('tells of counters and timers what was recorded, no more and no less, over many reports', async () => {
      const { registry, destination, reporter } = await setUp()
      await reporter.start()
      const orders = registry.counter('orders')
      const db = registry.timer('db')
      for (let round = 1; round <= 5; round++) {
        orders.inc(round)
        orders.dec(0.5)
        db.record(round)
        const sum = (round * (round + 1)) / 2 - round / 2
        await until(async () => (await destination.count('orders')) === sum, `orders came to ${sum}`)
        await until(async () => (await destination.count('db')) === round, `db came to ${round}`)
      }
      expect([await destination.count('orders'), await destination.count('db')]).toEqual([12.5, 5])
    })

    test('may be started and stopped twice, and started again', async () => {
      const { registry, destination, reporter } = await setUp()
      await reporter.stop()
      await Promise.all([reporter.start(), reporter.start()])
      await reporter.start()
      registry.counter('orders').inc()
      await until(async () => (await destination.count('orders')) === 1)
      await Promise.all([reporter.stop(), reporter.stop()])
      await reporter.stop()
      registry.counter('orders').inc()
      await reporter.start()
      await until(async () => (await destination.count('orders')) === 2)
      expect(await destination.count('orders')).toBe(2)
    })

    test('reports another registry when it is given one while it is stopped', async () => {
      const { destination, reporter } = await setUp()
      const other = new Registry()
      reporter.registry = other
      other.counter('others').inc(3)
      await reporter.start()
      other.counter('others').inc(4)
      await until(async () => (await destination.count('others')) === 7)
      expect(await destination.count('orders')).toBeUndefined()
    })

    test('is stopped by `await using`', async () => {
      const { destination, reporter, registry } = await setUp()
      {
        await using held = reporter
        await held.start()
        registry.counter('orders').inc(2)
        await until(async () => (await destination.count('orders')) === 2)
      }
      registry.counter('orders').inc(5)
      // nothing reports any more; where one has to ask, nobody answers
      expect((await destination.count('orders').catch(() => undefined)) ?? 2).toBe(2)
    })

    test('tells of names, tags and values of any kind, and goes on', async () => {
      const { registry, destination, reporter } = await setUp()
      const names = ['with space', 'a:b|c@d#e', '"q" \\', 'größe 温度 🚀', '__proto__', 'constructor', 'x'.repeat(255)]
      for (const each of names) {
        registry.counter(each, { tags: { [each.slice(0, 30)]: each } }).inc()
        registry.gauge(`${each.slice(0, 200)}.g`).set(-1e300)
        registry.histogram(`${each.slice(0, 200)}.h`).record(0)
        registry.unique(`${each.slice(0, 200)}.u`).add(each)
        registry.meter(`${each.slice(0, 200)}.m`).mark(1e15)
      }
      registry.gauge('unset')
      registry.histogram('empty')
      registry.gauge('throws', () => {
        throw new Error('no')
      })
      await reporter.start()
      registry.counter('orders').inc()
      await until(async () => (await destination.count('orders')) === 1)
      expect(registry.size).toBe(5 * names.length + 4)
    })
  })
}

/** What those have to do as well that report by themselves, and are not asked. */
export function scheduledReporterContract(name: string, open: (registry: Registry) => Promise<ReportedTo>): void {
  reporterContract(name, open)
  describe(`${name}, which reports by itself,`, () => {
    const setUp = opening(open)

    test('reports a last time when it is stopped', async () => {
      const { registry, destination, reporter } = await setUp()
      await reporter.start()
      registry.counter('orders').inc(3)
      registry.timer('db').record(1)
      await reporter.stop()
      await until(async () => (await destination.count('orders')) === 3)
      await until(async () => (await destination.count('db')) === 1)
      expect(await destination.count('orders')).toBe(3)
    })

    test('survives a destination that fails, and tells it all once it is back', async () => {
      const { registry, destination, reporter } = await setUp()
      await reporter.start()
      registry.counter('orders').inc()
      await until(async () => (await destination.count('orders')) === 1)
      await destination.fail(() => registry.counter('orders').inc(10))
      await destination.mend()
      registry.counter('orders').inc(100)
      await until(async () => (await destination.count('orders')) === 111)
      await reporter.stop()
      expect(await destination.count('orders')).toBe(111)
    })
  })
}
