import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Zibrato as EdgeZibrato } from '../../../client/edge.ts'
import { InvalidMeasurementError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import type { Measurement } from '../../../client/measurement.ts'

function client(): { z: Zibrato; metrics: MemoryMetrics } {
  const metrics = new MemoryMetrics()
  return {
    z: new Zibrato({ transport: metrics, tags: { tenant: 'nobody', region: 'eu' }, flushInterval: '1h' }),
    metrics,
  }
}

describe('withTags', () => {
  test('tags the handles that are obtained inside, also later and asynchronously', async () => {
    const { z, metrics } = client()
    const answer = await z.withTags({ tenant: 'a' }, async () => {
      z.counter('orders').inc()
      await setImmediate()
      z.counter('orders').inc(2)
      await Promise.all([1, 2].map(async () => z.timer('db').record(1)))
      return 'done'
    })
    z.counter('orders').inc(10)
    await z.flush()
    expect(answer).toBe('done')
    expect(metrics.sum('orders', { tags: { tenant: 'a', region: 'eu' } })).toBe(3)
    expect(metrics.count('db', { tags: { tenant: 'a' } })).toBe(2)
    expect(metrics.sum('orders', { tags: { tenant: 'nobody' } })).toBe(10)
  })

  test('leaves handles alone that were obtained outside, and keeps those obtained inside', async () => {
    const { z, metrics } = client()
    const outside = z.counter('orders')
    const inside = z.withTags({ tenant: 'a' }, () => {
      outside.inc()
      return z.counter('orders')
    })
    inside.inc(5)
    await z.flush()
    expect(metrics.sum('orders', { tags: { tenant: 'nobody' } })).toBe(1)
    expect(metrics.sum('orders', { tags: { tenant: 'a' } })).toBe(5)
    expect(z.counter('orders', { tags: { tenant: 'a' } })).toBe(inside)
  })

  test('goes between the tags of the client and those of the instrument, and adds up in scopes', async () => {
    const { z, metrics } = client()
    z.withTags({ tenant: 'a', region: 'us' }, () => {
      z.withTags({ region: 'ap', plan: 'free' }, () => z.counter('n', { tags: { plan: 'gold' } }).inc())
      z.withTags({ region: undefined }, () => z.counter('n').inc(100))
      z.counter('n').inc(10)
    })
    await z.flush()
    expect(metrics.sum('n', { tags: { tenant: 'a', region: 'ap', plan: 'gold' } })).toBe(1)
    expect(metrics.sum('n', { tags: { tenant: 'a', region: 'us' } })).toBe(10)
    expect(metrics.series().find(({ tags }) => !('region' in tags))?.tags).toEqual({ tenant: 'a' })
  })

  test('holds for children and their decorators too, and for no other client', async () => {
    const { z, metrics } = client()
    const other = client()
    const child = z.child({ tags: { part: 'cart' } })
    child.withTags({ tenant: 'a' }, () => {
      z.counter('z').inc()
      child.child({ level: 'crit' }).counter('grandchild').inc()
      class Cart {
        @child.countMe({ name: 'pay' })
        pay(): void {}
      }
      new Cart().pay()
      other.z.counter('other').inc()
    })
    await Promise.all([z.flush(), other.z.flush()])
    expect(metrics.sum('z', { tags: { tenant: 'a' } })).toBe(1)
    expect(metrics.sum('grandchild', { tags: { tenant: 'a', part: 'cart' }, level: 'crit' })).toBe(1)
    expect(metrics.sum('pay', { tags: { tenant: 'a', part: 'cart' } })).toBe(1)
    expect(other.metrics.sum('other', { tags: { tenant: 'nobody' } })).toBe(1)
  })

  test('tags one-shot measurements, and takes none that makes no sense', async () => {
    const { z, metrics } = client()
    const odd = [
      null,
      { type: 'counter', name: 'n', value: 1, tags: 'text' },
      { type: 'counter', name: 'n', value: 1, tags: null },
      Object.defineProperty({}, 'tags', {
        get() {
          throw new Error('unreadable')
        },
      }),
    ] as unknown as Measurement[]
    z.withTags({ tenant: 'a' }, () => {
      expect(z.record({ type: 'counter', name: 'n', value: 1, tags: { kind: 'x' } })).toBe(true)
      expect(z.record({ type: 'counter', name: 'n', value: 2, tags: { tenant: 'own' } })).toBe(true)
      expect(odd.map((each) => z.record(each))).toEqual([false, false, false, false])
    })
    await z.flush()
    expect(metrics.sum('n', { tags: { tenant: 'a', kind: 'x' } })).toBe(1)
    expect(metrics.sum('n', { tags: { tenant: 'own' } })).toBe(2)
    expect(metrics.sum('n')).toBe(3)
    expect(z.stats().dropped).toEqual({ invalid: 4 })
  })

  test('refuses tags that no series may have, and passes on what the function throws', () => {
    const { z } = client()
    expect(() => z.withTags({ tenant: 'a\0b' }, () => {})).toThrow(InvalidMeasurementError)
    expect(() =>
      z.withTags({ tenant: 'a' }, () => {
        throw new TypeError('of its own')
      }),
    ).toThrow(new TypeError('of its own'))
    z.counter('n').inc()
    expect(z.stats().series).toBe(1)
  })

  test('keeps scopes apart, however they interleave', async () => {
    const jobs = fc.array(fc.record({ tenant: fc.integer({ min: 0, max: 5 }), turns: fc.integer({ min: 0, max: 4 }) }))
    await fc.assert(
      fc.asyncProperty(jobs, async (all) => {
        const { z, metrics } = client()
        await Promise.all(
          all.map(async ({ tenant, turns }) =>
            z.withTags({ tenant }, async () => {
              for (let turn = 0; turn < turns; turn++) {
                await setImmediate()
                z.counter('turns').inc()
              }
            }),
          ),
        )
        await z.flush()
        for (let tenant = 0; tenant <= 5; tenant++) {
          const expected = all.reduce((sum, job) => sum + (job.tenant === tenant ? job.turns : 0), 0)
          expect(metrics.sum('turns', { tags: { tenant } })).toBe(expected)
        }
      }),
      { numRuns: 30 },
    )
  })

  test('is not there where the runtime has no such scopes', () => {
    expect('withTags' in new EdgeZibrato({ transport: new MemoryMetrics() })).toBe(false)
  })
})
