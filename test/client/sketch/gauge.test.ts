import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { COMBINES, type Combine, Gauge, MAX_READINGS } from '../../../client/sketch/gauge.ts'
import { Readings } from '../../../client/sketch/readings.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'

/** One set, or a repeat of an earlier one. */
interface Read {
  readonly timeMs: number
  readonly value: number
  readonly repeat: boolean
}

const START = 1_700_000_000_000

// few seconds and few values make ties, many seconds push the oldest out
const reads = fc.oneof(
  readsWithin(3_000, 10),
  readsWithin(20_000, 30),
  readsWithin(300_000, 150),
  readsWithin(68_000, 150),
)

function readsWithin(spanMs: number, maxLength: number): fc.Arbitrary<Read[]> {
  const read = fc.record({
    timeMs: fc.oneof(
      fc.integer({ min: START, max: START + spanMs }),
      fc.integer({ min: 0, max: spanMs / 500 }).map((half) => START + half * 500),
    ),
    value: fc
      .oneof(fc.integer({ min: -3, max: 3 }), fc.double({ min: -1e9, max: 1e9, noNaN: true }))
      .map((value) => value + 0),
    repeat: fc.constant(false),
  })
  return fc.array(read, { minLength: 1, maxLength, size: 'max' })
}

const withRepeats = reads.chain((list) =>
  fc
    .array(fc.nat(3), { minLength: list.length, maxLength: list.length })
    .map((draws) => list.map((read, index) => ({ ...read, repeat: draws[index] === 0 }))),
)

/** What a gauge must answer, from all readings at once: of two at one time the larger, or the one that comes last. */
function model(
  list: readonly Read[],
  tie: 'larger' | 'last' = 'larger',
): { readings: [number, number][]; count: number; min: number; max: number } {
  const best = new Map<number, Read>()
  for (const read of list) {
    const second = Math.floor(read.timeMs / 1000)
    const kept = best.get(second)
    const isBetter =
      kept === undefined ||
      read.timeMs > kept.timeMs ||
      (read.timeMs === kept.timeMs && (tie === 'last' || read.value > kept.value))
    if (isBetter) best.set(second, read)
  }
  const readings = [...best.values()]
    .sort((left, right) => left.timeMs - right.timeMs)
    .slice(-MAX_READINGS)
    .map(({ timeMs, value }): [number, number] => [timeMs, value])
  const counted = list.filter(({ repeat }) => !repeat).map(({ value }) => value)
  return { readings, count: counted.length, min: Math.min(...counted), max: Math.max(...counted) }
}

function take(gauge: Gauge, read: Read): void {
  if (!read.repeat) {
    gauge.set(read.value, read.timeMs)
    return
  }
  const writer = new Writer()
  Gauge.encodeRepeat(writer, 'last', read.value, read.timeMs)
  Gauge.decode(new Reader(writer.bytes()), gauge)
}

function of(list: readonly Read[], combine: Combine = 'last'): Gauge {
  const gauge = new Gauge(combine)
  for (const read of list) take(gauge, read)
  return gauge
}

function encoded(gauge: Gauge): Uint8Array {
  const writer = new Writer()
  gauge.encode(writer)
  return writer.bytes()
}

function decoded(bytes: Uint8Array, into: Gauge = new Gauge()): Gauge {
  const reader = new Reader(bytes)
  Gauge.decode(reader, into)
  expect(reader.offset).toBe(bytes.length)
  return into
}

function expectModel(gauge: Gauge, list: readonly Read[]): void {
  const { readings, count, min, max } = model(list)
  expect(gauge.readings()).toEqual(readings)
  expect(gauge.length).toBe(readings.length)
  expect([gauge.time, gauge.value]).toEqual(readings.at(-1))
  expect([gauge.count, gauge.min, gauge.max]).toEqual([count, min, max])
  const sum = list.reduce((total, read) => total + (read.repeat ? 0 : read.value), 0)
  const size = list.reduce((total, read) => total + Math.abs(read.value), 0)
  expect(Math.abs(gauge.sum - sum)).toBeLessThanOrEqual(size * 1e-12)
}

describe('a gauge', () => {
  it('keeps the newest reading of each of the newest 64 seconds, whatever the order of arrival', () => {
    fc.assert(
      fc.property(reads, (list) => expectModel(of(list), list)),
      { numRuns: 300 },
    )
  })

  it('counts a repeat for nothing, and yet takes its time and value', () => {
    fc.assert(fc.property(withRepeats, (list) => expectModel(of(list), list)))
    const gauge = of([{ timeMs: START, value: 5, repeat: true }])
    expect([gauge.count, gauge.sum, gauge.value, gauge.time]).toEqual([0, 0, 5, START])
  })

  it('comes back from its bytes, repeats included, and its bytes from that', () => {
    fc.assert(
      fc.property(fc.oneof(reads, withRepeats), fc.constantFrom(...COMBINES), (list, combine) => {
        const gauge = of(list, combine)
        const back = decoded(encoded(gauge))
        expectModel(back, list)
        expect(back.combine).toBe(combine)
        expect(encoded(back)).toEqual(encoded(gauge))
      }),
    )
  })

  it('merges to the gauge of all readings, in memory and through bytes, associatively and commutatively', () => {
    const group = fc.oneof(reads, withRepeats)
    fc.assert(
      fc.property(group, group, group, (a, b, c) => {
        const all = [...a, ...b, ...c]
        const leftFirst = of(a)
        leftFirst.merge(of(b))
        leftFirst.merge(of(c))
        expectModel(leftFirst, all)
        const rightFirst = of(b)
        rightFirst.merge(of(c))
        expectModel(decoded(encoded(of(a)), rightFirst), all)
        const reversed = decoded(encoded(of(c)))
        decoded(encoded(of(b)), reversed)
        expectModel(decoded(encoded(of(a)), decoded(encoded(reversed))), all)
      }),
      { numRuns: 200 },
    )
  })

  it('combines the way that stands later of last, sum, min, max when two differ', () => {
    for (const [left, one] of COMBINES.entries()) {
      for (const [right, other] of COMBINES.entries()) {
        const gauge = of([{ timeMs: START, value: 1, repeat: false }], one)
        const second = of([{ timeMs: START, value: 2, repeat: false }], other)
        const viaBytes = decoded(encoded(second), of([{ timeMs: START, value: 1, repeat: false }], one))
        gauge.merge(second)
        expect(gauge.combine).toBe(COMBINES[Math.max(left, right)])
        expect(viaBytes.combine).toBe(gauge.combine)
        expect(gauge.value).toBe(2)
      }
    }
  })

  it('is empty after clear, but combines as before', () => {
    const gauge = of([{ timeMs: START, value: 1, repeat: true }], 'sum')
    gauge.clear()
    expect([gauge.length, gauge.count, gauge.sum, gauge.time, gauge.combine]).toEqual([0, 0, 0, 0, 'sum'])
    expect(gauge.value).toBeNaN()
    gauge.set(3, START + 400)
    gauge.set(4, START + 2_400)
    // the summary is left out where the readings say it all
    expect(encoded(gauge).length).toBe(2 + 6 + 8 + 2 + 8)
  })

  it('takes times that are no whole numbers, negative or absurd, and stays readable', () => {
    const gauge = new Gauge()
    for (const timeMs of [-5, 0.4, 1999.7, 2000.2, 1e300]) gauge.set(timeMs, timeMs)
    const back = decoded(encoded(gauge))
    expect(back.readings()).toEqual(gauge.readings())
    expect(back.count).toBe(5)
    const writer = new Writer()
    Gauge.encodeRepeat(writer, 'sum', 1, 2000.7)
    expect(decoded(writer.bytes()).time).toBe(2001)
  })

  it('stays readable when its sum overflows', () => {
    const gauge = new Gauge()
    for (let index = 0; index < 3; index++) gauge.set(1.7e308, START + index)
    expect(decoded(encoded(gauge)).sum).toBe(Number.MAX_VALUE)
  })
})

describe('the readings of a handle', () => {
  it('are those of a gauge, but of two at one time the one that came last, and begin anew with each frame', () => {
    fc.assert(
      fc.property(fc.array(reads, { minLength: 1, maxLength: 3 }), fc.constantFrom(...COMBINES), (lists, combine) => {
        const kept = new Readings()
        for (const list of lists) {
          for (const { value, timeMs } of list) kept.add(value, timeMs)
          expect(kept.newest).toEqual(model(list, 'last').readings.at(-1))
          const writer = new Writer()
          kept.drain(() => writer, COMBINES.indexOf(combine))
          expect(kept.newest).toEqual([0, Number.NaN])
          const gauge = decoded(writer.bytes())
          const { readings, count, min, max } = model(list, 'last')
          expect(gauge.readings()).toEqual(readings)
          expect([gauge.count, gauge.min, gauge.max, gauge.combine]).toEqual([count, min, max, combine])
        }
      }),
      { numRuns: 300 },
    )
  })
})
