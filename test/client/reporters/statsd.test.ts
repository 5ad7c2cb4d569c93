import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../../client/clock.ts'
import { UsageError } from '../../../client/errors.ts'
import { Registry } from '../../../client/registry/index.ts'
import { StatsdReporter, type StatsdReporterOptions } from '../../../client/reporters/index.ts'
import { PacketReceiver } from '../../backends/statsd-receiver.ts'
import { until } from '../../until.ts'

let receiver: PacketReceiver

beforeEach(async () => {
  receiver = new PacketReceiver()
  await receiver.listen()
})

afterEach(() => receiver.stop())

function reporter(registry: Registry, options: StatsdReporterOptions = {}): StatsdReporter {
  return new StatsdReporter({ registry, port: Number(new URL(receiver.url).port), ...options })
}

/** Reports once, and answers the lines of that. */
async function report(of: StatsdReporter, lines: number): Promise<string[]> {
  receiver.lines.length = 0
  await of.report(AbortSignal.timeout(10_000))
  await until(() => receiver.lines.length >= lines, `${lines} lines came`)
  return receiver.lines.map(({ text }) => text)
}

describe('a StatsD reporter', () => {
  test('sends what Tapes did, under its names: counters as what was added, times in milliseconds', async () => {
    const clock = new ManualClock()
    const registry = new Registry({ clock })
    registry.counter('orders').inc(3)
    registry.gauge('temperature').set(-5)
    registry.unique('users').add('u1')
    registry.meter('hits').mark(10)
    registry.histogram('size').record(512)
    registry.timer('db').record(0.25)
    clock.advance(5_000)
    const spread = (name: string, value: number, stddev = 0): string[] => [
      `${name}.min:${value}|ms`,
      `${name}.max:${value}|ms`,
      `${name}.mean:${value}|ms`,
      `${name}.stddev:${stddev}|ms`,
      ...['p50', 'p75', 'p90', 'p95', 'p98', 'p99', 'p999'].map((percentile) => `${name}.${percentile}:${value}|ms`),
    ]
    const statsd = reporter(registry, { prefix: 'app.' })
    expect(await report(statsd, 33)).toEqual([
      'app.orders.value:3|c',
      // a sign would make it a change
      'app.temperature.value:0|g',
      'app.temperature.value:-5|g',
      'app.users.value:1|g',
      'app.hits.total:10|g',
      'app.hits.m1_rate:2|ms',
      'app.hits.m5_rate:2|ms',
      'app.hits.m15_rate:2|ms',
      'app.size.total:1|g',
      ...spread('app.size', 512),
      'app.db.total:1|g',
      'app.db.m1_rate:0.2|ms',
      'app.db.m5_rate:0.2|ms',
      'app.db.m15_rate:0.2|ms',
      ...spread('app.db', 250),
    ])
    registry.counter('orders').dec(1)
    expect((await report(statsd, 33))[0]).toBe('app.orders.value:-1|c')
    expect((await report(statsd, 32)).filter((line) => line.endsWith('|c'))).toEqual([])
  })

  test('says tags as asked', async () => {
    const registry = new Registry({ source: 'web' })
    registry.counter('a').with({ route: '/pay.x' }).inc()
    const lines = async (tags: 'name' | 'dogstatsd' | 'drop'): Promise<string[]> => {
      return (await report(reporter(registry, { tags }), 2)).filter((line) => line.includes(':1|c'))
    }
    registry.counter('b').inc()
    expect((await lines('name')).at(0)).toBe('a.source.web.route./pay_x.value:1|c')
    expect((await lines('dogstatsd')).at(0)).toBe('a.value:1|c|#source:web,route:/pay.x')
    expect((await lines('drop')).at(0)).toBe('a.value:1|c')
  })

  test('fills packets, and none beyond the size it is told', async () => {
    const registry = new Registry()
    for (let index = 0; index < 200; index++) registry.counter(`counter.number.${index}`).inc()
    receiver.packets.length = 0
    await report(reporter(registry, { mtu: 512 }), 200)
    expect(Math.max(...receiver.packets)).toBeLessThanOrEqual(512)
    expect(receiver.packets.length).toBeLessThan(20)
  })

  test('names the option that makes no sense', () => {
    expect(() => reporter(new Registry(), { port: 0 })).toThrow(UsageError)
    expect(() => reporter(new Registry(), { mtu: 3 })).toThrow('mtu 3 must lie from 64 to 65000')
    expect(() => reporter(new Registry(), { tags: 'all' as 'drop' })).toThrow('tags "all" is none of')
  })
})
