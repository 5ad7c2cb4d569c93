import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Distribution } from '../../client/sketch/distribution.ts'
import { Sum } from '../../client/sketch/aggregate.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { MemoryMetrics } from '../../client/transport/metrics.ts'
import { observed } from './observed.ts'
import { below, seeded } from './random.ts'

/** Also keeps frames as they were sent. */
class Recording extends MemoryMetrics {
  readonly sealed: SealedFrame[] = []
  override send(frames: readonly SealedFrame[]): boolean {
    this.sealed.push(...frames)
    return super.send(frames)
  }
}

const TYPES = ['counter', 'meter', 'timer', 'histogram'] as const

test('decoded frames add up to exactly what was recorded, and each shard’s seq counts 1, 2, 3', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.constantFrom(0, 50),
      fc.constantFrom(20, 5_000),
      async (seed, flushInterval, maxSeries) => {
        const random = seeded(seed)
        const metrics = new Recording()
        const { z } = observed({ transport: metrics, flushInterval: flushInterval === 0 ? 0 : '1h', maxSeries })
        const expected = { counter: 0, meter: 0, timer: 0, histogram: 0 }
        const counts = { timer: 0, histogram: 0 }
        for (let step = 0; step < 400; step++) {
          const type = TYPES[below(random, 4)] ?? 'counter'
          const level = ['info', 'debug', 'crit'][below(random, 3)] ?? 'info'
          const name = `name${below(random, 12)}`
          const tags = random() < 0.5 ? {} : { tag: below(random, 8), other: random() < 0.5 }
          // eighths add up without rounding
          const value = (below(random, 2_000) - 1_000) / 8
          if (random() < 0.3) z.record({ type, level, name, value, tags })
          else if (type === 'counter') z.counter(name, { level }).with(tags).inc(value)
          else if (type === 'meter') z.meter(name, { level }).with(tags).mark(value)
          else if (type === 'timer') z.timer(name, { level, tags }).record(value)
          else z.histogram(name, { level, tags }).record(value)
          expected[type] += value
          if (type === 'timer' || type === 'histogram') counts[type]++
          if (random() < 0.02) await z.flush()
        }
        await z.close()
        const found = { counter: 0, meter: 0, timer: 0, histogram: 0 }
        const foundCounts = { timer: 0, histogram: 0 }
        for (const { series, aggregate } of metrics.frames.flatMap(({ entries }) => entries)) {
          const type = series.type as keyof typeof found
          if (aggregate instanceof Sum) found[type] += aggregate.value
          else if (aggregate instanceof Distribution) {
            found[type] += aggregate.sum
            foundCounts[type as 'timer'] += aggregate.count
          }
        }
        expect(found).toEqual(expected)
        expect(foundCounts).toEqual(counts)
        expect(new Set(metrics.frames.map(({ publisher }) => publisher)).size).toBe(1)
        const seqs = new Map<string, number>()
        for (const { level, shard, seq } of metrics.frames) {
          const topic = `${shard} ${level}`
          expect(seq).toBe((seqs.get(topic) ?? 0) + 1)
          seqs.set(topic, seq)
        }
      },
    ),
    { numRuns: 40 },
  )
})

test('frames stay below 64 kB however many series there are', async () => {
  const metrics = new Recording()
  const { z } = observed({ transport: metrics, maxSeries: 100_000 })
  for (let index = 0; index < 40_000; index++)
    z.counter(`a.rather.long.name.of.a.counter.${index}`, { tags: { index } }).inc()
  await z.flush()
  const sum = metrics.frames
    .flatMap(({ entries }) => entries)
    .reduce((left, { aggregate }) => left + (aggregate as Sum).value, 0)
  expect(sum).toBe(40_000)
  expect(metrics.sealed.length).toBeGreaterThan(32)
  expect(Math.max(...metrics.sealed.map(({ bytes }) => bytes.length))).toBeLessThan(65_536)
})
