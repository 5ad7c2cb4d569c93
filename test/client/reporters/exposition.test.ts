import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Zibrato } from '../../../client/platform/node.ts'
import { Registry } from '../../../client/registry/index.ts'
import { jsonText, prometheusText } from '../../../client/reporters/index.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import { type ParsedFamily, parseExposition } from '../../backends/prometheus/parser.ts'

const TYPES = ['counter', 'meter', 'gauge', 'timer', 'histogram', 'unique'] as const

async function families(registry: Registry): Promise<ParsedFamily[]> {
  return parseExposition(await prometheusText(registry), 'text')
}

function record(registry: Registry, type: (typeof TYPES)[number], name: string, tags: Record<string, string>): void {
  if (type === 'counter') registry.counter(name, { tags }).inc(2)
  else if (type === 'meter') registry.meter(name, { tags }).mark(2)
  else if (type === 'gauge') registry.gauge(name, { tags }).set(2)
  else if (type === 'unique') registry.unique(name, { tags }).add('a')
  else registry[type](name, { tags }).record(2)
}

describe('Prometheus’ text of a registry', () => {
  test('has the names of the backends: totals, rates, summaries with their unit, labels of tags and source', async () => {
    const registry = new Registry()
    registry.counter('orders', { source: 'web' }).with({ 'a-b': 'x"y' }).inc(3)
    registry.meter('hits').mark(2)
    registry.gauge('queue.size').set(-1.5)
    registry.unique('users').add('u1')
    registry.timer('db').record(0.25)
    registry.histogram('size')
    expect((await families(registry)).map(({ name, type }) => `${name} ${type}`)).toEqual([
      'orders_total counter',
      'hits_total counter',
      'hits_m1 gauge',
      'hits_m5 gauge',
      'hits_m15 gauge',
      'queue_size gauge',
      'users gauge',
      'db_seconds summary',
      'size summary',
    ])
    const text = await prometheusText(registry)
    expect(text).toContain('orders_total{a_b="x\\"y",source="web"} 3\n')
    expect(text).toContain('db_seconds{quantile="0.99"} 0.25\n')
    expect(text).toContain('db_seconds_count 1\n')
    expect(text).toContain('size{quantile="0.5"} NaN\n')
    expect(text).toContain('size_count 0\n')
  })

  test('calls a counter that went down a gauge, also one that a client publishes', async () => {
    const registry = new Registry()
    await using _ = new Zibrato({ registry, transport: new MemoryMetrics() })
    registry.counter('a').inc(5)
    expect((await families(registry))[0]?.type).toBe('counter')
    registry.counter('a').dec(6)
    expect((await families(registry))[0]?.type).toBe('gauge')
  })

  test('keeps apart what comes to the same name or the same labels', async () => {
    const registry = new Registry()
    registry.timer('a.b').record(1)
    registry.gauge('a_b.seconds.count').set(7)
    registry.counter('a.c').inc(1)
    registry.counter('a_c').inc(2)
    registry.counter('d').with({ 'x-y': '1' }).inc(1)
    registry.counter('d').with({ x_y: '1' }).inc(2)
    const samples = (await families(registry)).flatMap((family) => family.samples)
    const valuesOf = (name: RegExp): number[] =>
      samples.filter((sample) => name.test(sample.name)).map(({ value }) => value)
    expect(valuesOf(/^a_b_seconds_count/)).toEqual([1, 7])
    expect(valuesOf(/^a_c.*_total$/)).toEqual([1, 2])
    // the one without tags too
    expect(valuesOf(/^d_total$/)).toEqual([0, 1, 2])
  })

  test('is what a strict reader takes, and loses no series, whatever names and tags are', async () => {
    const text = fc
      .oneof(
        fc.constantFrom('a', 'b.c', 'b_c', 'a_total', 'a.seconds', 'le', 'quantile', 'source', '__x', '1'),
        fc.string(),
      )
      .map((any) => any.replaceAll(/[\0\r\n]/g, '_').toWellFormed())
      .filter((any) => any !== '' && any.length < 60)
    const series = fc.record({
      type: fc.constantFrom(...TYPES),
      name: text,
      tags: fc.dictionary(text, text, { maxKeys: 2 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(series, { maxLength: 12 }), async (all) => {
        const registry = new Registry()
        const types = new Map<string, string>()
        for (const { type, name, tags } of all) {
          if ((types.get(name) ?? type) !== type) continue
          types.set(name, type)
          record(registry, type, name, tags)
        }
        const parsed = await families(registry)
        const first = parsed.flatMap(({ name, type, samples }) => {
          if (/_m(1|5|15)(_[0-9a-f]{8})?$/.test(name) && type === 'gauge') return []
          return type === 'summary' ? samples.filter((sample) => sample.name.endsWith('_count')) : samples
        })
        expect(first.length).toBeGreaterThanOrEqual(
          // those that are told of under a name like that of a rate
          registry.size - all.filter(({ name }) => /[^A-Za-z0-9:]m(1|5|15)$/.test(name)).length,
        )
        expect(JSON.parse(await jsonText(registry))).toEqual(JSON.parse(JSON.stringify(registry.getStats())))
      }),
      { numRuns: 60 },
    )
  })
})
