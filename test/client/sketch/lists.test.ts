import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Zibrato } from '../../../client/edge.ts'
import { createAggregate, decodeAggregate } from '../../../client/sketch/aggregate.ts'
import type { Entries } from '../../../client/sketch/aggregates.ts'
import { Distribution } from '../../../client/sketch/distribution.ts'
import { LISTS } from '../../../client/sketch/lists.ts'
import { Members } from '../../../client/sketch/members.ts'
import { MemoryMetrics } from '../../../client/testing.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { TYPE_CODE, encodeKey } from '../../../client/wire/series.ts'

const KEY = encodeKey('name\0source\0')

/** What a decoder makes of all entries of a list, and how many there were. */
function merged(type: number, drain: (entries: Entries) => void): [Distribution | Members, number] {
  const into = createAggregate(type) as Distribution | Members
  let count = 0
  drain({
    add(_, key, aggregate) {
      expect(key).toBe(KEY)
      const writer = new Writer()
      aggregate.encode(writer)
      const reader = new Reader(writer.bytes())
      decodeAggregate(type, reader, undefined)
      expect(reader.offset).toBe(reader.end)
      decodeAggregate(type, new Reader(writer.bytes()), into)
      count++
    },
  })
  return [into, count]
}

const value = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }), fc.integer())
const weight = fc.oneof(fc.constant(1), fc.double({ min: 1e-3, max: 1e3, noNaN: true }))

describe('values in a list', () => {
  it('merge to what a sketch that took them encodes, and are gone then', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(value, weight), { minLength: 1, maxLength: 300, size: 'max' }), (taken) => {
        const list = LISTS.samples(() => {})
        const sketch = new Distribution()
        for (const [each, times] of taken) {
          list.add(each, times)
          sketch.add(each, times)
        }
        const [made, entries] = merged(TYPE_CODE.timer, (into) => list.drain(into, TYPE_CODE.timer, KEY))
        const [expected] = merged(TYPE_CODE.timer, (into) => sketch.drain(into, TYPE_CODE.timer, KEY))
        const [left, right] = [made as Distribution, expected as Distribution]
        expect(entries).toBe(Math.ceil(taken.length / 64))
        expect([left.min, left.max, left.sketched]).toEqual([right.min, right.max, right.sketched])
        for (const q of [0, 0.5, 0.9, 0.99, 1]) expect(left.quantile(q)).toBe(right.quantile(q))
        const size = taken.reduce((sum, [each, times]) => sum + Math.abs(each * times), 0)
        expect(left.count).toBeCloseTo(right.count, 6)
        expect(Math.abs(left.sum - right.sum)).toBeLessThanOrEqual(size * 1e-9)
        expect(Math.abs(left.sumOfSquares - right.sumOfSquares)).toBeLessThanOrEqual(right.sumOfSquares * 1e-9)
        const [, none] = merged(TYPE_CODE.timer, (into) => list.drain(into, TYPE_CODE.timer, KEY))
        expect(none).toBe(0)
      }),
    )
  })
})

describe('members in a list', () => {
  it('merge to the same bytes as those of a set, each once', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 8 }), { minLength: 1 }), (taken) => {
        const list = LISTS.members(() => {})
        const set = new Members()
        for (const member of taken) {
          list.add(member)
          set.add(member)
        }
        const [made] = merged(TYPE_CODE.set, (into) => list.drain(into, TYPE_CODE.set, KEY))
        const [left, right] = [new Writer(), new Writer()]
        made.encode(left)
        set.encode(right)
        expect(left.bytes()).toEqual(right.bytes())
      }),
    )
  })
})

describe('a client that records into lists', () => {
  it('makes frames before it is flushed of what would grow without end, and loses none of it', async () => {
    const metrics = new MemoryMetrics()
    const z = new Zibrato({ transport: metrics, linger: 0 })
    const timer = z.timer('t')
    const users = z.unique('u')
    for (let index = 0; index < 10_000; index++) {
      timer.record(index)
      users.add(index)
    }
    expect(metrics.frames).toHaveLength(2 + 9)
    await z.flush()
    expect(metrics.frames).toHaveLength(2 + 9 + 2)
    expect([metrics.count('t'), metrics.sum('t')]).toEqual([10_000, (9_999 * 10_000) / 2])
    expect(Math.abs(metrics.quantile('t', 0.99) - 9_899) / 9_899).toBeLessThan(0.01)
    expect(Math.abs(metrics.distinct('u') - 10_000) / 10_000).toBeLessThan(0.03)
  })
})
