import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Zibrato } from '../../../client/edge.ts'
import { type Aggregate, createAggregate, decodeAggregate } from '../../../client/sketch/aggregate.ts'
import { COMBINES } from '../../../client/sketch/combine.ts'
import type { Distribution } from '../../../client/sketch/distribution.ts'
import type { Members } from '../../../client/sketch/members.ts'
import { LISTS } from '../../../client/sketch/lists.ts'
import { SKETCHES } from '../../../client/sketch/sketches.ts'
import { MemoryMetrics } from '../../../client/testing.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { TYPE_CODE } from '../../../client/wire/series.ts'

type Listed = (entry: (payload: readonly number[]) => void) => void
type Sketched = (entry: () => Writer) => void

/** The payloads of a list's entries. */
function payloads(drain: Listed): Uint8Array[] {
  const made: Uint8Array[] = []
  drain((payload) => made.push(Uint8Array.from(payload)))
  return made
}

/** The one payload of a sketch. */
function sketched(drain: Sketched): Uint8Array {
  const writer = new Writer()
  drain(() => writer)
  return writer.bytes()
}

/** What a decoder makes of some payloads, each of which it has to read to its last byte. */
function merged(type: number, made: readonly Uint8Array[]): Aggregate {
  const into = createAggregate(type)
  for (const bytes of made) {
    const reader = new Reader(bytes)
    decodeAggregate(type, reader, undefined)
    expect(reader.offset).toBe(reader.end)
    decodeAggregate(type, new Reader(bytes), into)
  }
  return into
}

// a list does not tell -0 from 0
const value = fc
  .oneof(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }), fc.integer())
  .map((each) => each + 0)
const weight = fc.oneof(fc.constant(1), fc.double({ min: 1e-3, max: 1e3, noNaN: true }))

describe('values in a list', () => {
  it('merge to what a sketch that took them encodes, and are gone then', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(value, weight), { minLength: 1, maxLength: 300, size: 'max' }), (taken) => {
        const list = LISTS.samples()
        const sketch = SKETCHES.samples()
        for (const [each, times] of taken) {
          list.add(each, times)
          sketch.add(each, times)
        }
        const entries = payloads((entry) => list.drain(entry))
        expect(entries.length).toBe(Math.ceil(taken.length / 64))
        const left = merged(TYPE_CODE.timer, entries) as Distribution
        const right = merged(TYPE_CODE.timer, [sketched((entry) => sketch.drain(entry))]) as Distribution
        expect([left.min, left.max, left.sketched]).toEqual([right.min, right.max, right.sketched])
        for (const q of [0, 0.5, 0.9, 0.99, 1]) expect(left.quantile(q)).toBe(right.quantile(q))
        const size = taken.reduce((sum, [each, times]) => sum + Math.abs(each * times), 0)
        expect(left.count).toBeCloseTo(right.count, 6)
        expect(Math.abs(left.sum - right.sum)).toBeLessThanOrEqual(size * 1e-9)
        expect(Math.abs(left.sumOfSquares - right.sumOfSquares)).toBeLessThanOrEqual(right.sumOfSquares * 1e-9)
        expect(payloads((entry) => list.drain(entry))).toEqual([])
      }),
    )
  })
})

describe('readings in a list', () => {
  it('are the bytes of those that are kept by second, and are gone then', () => {
    const timeMs = fc.oneof(fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }), fc.nat(3_000))
    const readings = fc.array(fc.tuple(value, timeMs), { minLength: 1, maxLength: 200, size: 'max' })
    fc.assert(
      fc.property(readings, fc.integer({ min: 0, max: COMBINES.length - 1 }), (taken, combine) => {
        const list = LISTS.readings()
        const kept = SKETCHES.readings()
        for (const [each, time] of taken) {
          list.add(each, time)
          kept.add(each, time)
        }
        const expected = sketched((entry) => kept.drain(entry, combine))
        expect(payloads((entry) => list.drain(entry, combine))).toEqual([expected])
        expect(payloads((entry) => list.drain(entry, combine))).toEqual([])
      }),
    )
  })
})

describe('members in a list', () => {
  it('merge to the same bytes as those of a set, each once', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 8 }), { minLength: 1 }), (taken) => {
        const list = LISTS.members()
        const set = SKETCHES.members()
        for (const member of taken) {
          list.add(member)
          set.add(member)
        }
        const made = merged(
          TYPE_CODE.set,
          payloads((entry) => list.drain(entry)),
        ) as Members
        const writer = new Writer()
        made.encode(writer)
        expect(writer.bytes()).toEqual(sketched((entry) => set.drain(entry)))
      }),
    )
  })
})

describe('a sum', () => {
  it('is the bytes that a counter of a long-lived program has, also when it overflowed', () => {
    const sums = fc.oneof(fc.double(), fc.constantFrom(0, Infinity, -Infinity, Number.NaN, 1.7e308, 2 ** 53))
    fc.assert(
      fc.property(sums, (sum) => {
        const expected = sketched((entry) => SKETCHES.sum(entry, sum))
        expect(payloads((entry) => LISTS.sum(entry, sum))).toEqual([expected])
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
    const level = z.gauge('g')
    for (let index = 0; index < 10_000; index++) {
      timer.record(index)
      users.add(index)
      level.set(index)
    }
    expect(metrics.frames).toHaveLength(2 + 2 + 2)
    await z.flush()
    expect(metrics.frames).toHaveLength(6 + 3)
    expect([metrics.count('t'), metrics.sum('t')]).toEqual([10_000, (9_999 * 10_000) / 2])
    expect(Math.abs(metrics.quantile('t', 0.99) - 9_899) / 9_899).toBeLessThan(0.01)
    expect(Math.abs(metrics.distinct('u') - 10_000) / 10_000).toBeLessThan(0.03)
    expect([metrics.count('g'), metrics.last('g')]).toEqual([10_000, 9_999])
  })
})
