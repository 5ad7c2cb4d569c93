import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { InvalidFrameError } from '../../../client/errors.ts'
import { Sum, createAggregate, decodeAggregate, mergeAggregate, typeOf } from '../../../client/sketch/aggregate.ts'
import { Distribution } from '../../../client/sketch/distribution.ts'
import { Gauge } from '../../../client/sketch/gauge.ts'
import { Members } from '../../../client/sketch/members.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { TYPE_CODE, TYPES } from '../../../client/wire/series.ts'
import { randomAggregate, seeded } from '../random.ts'

function encoded(aggregate: { encode(writer: Writer): void }): Uint8Array {
  const writer = new Writer()
  aggregate.encode(writer)
  return writer.bytes()
}

/** Bytes of heap that `count` calls leave behind, after the code has warmed up. */
function garbageOf(count: number, call: (index: number) => void): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const run = (): void => {
    for (let index = 0; index < count; index++) call(index)
  }
  for (let round = 0; round < 5; round++) run()
  collect()
  const before = process.memoryUsage().heapUsed
  run()
  return process.memoryUsage().heapUsed - before
}

describe('aggregates', () => {
  it('are one class per type, found by its code', () => {
    expect(TYPES.slice(1).map((type) => typeOf(TYPE_CODE[type as 'counter']))).toEqual(TYPES.slice(1))
    const classes = [Sum, Sum, Gauge, Distribution, Distribution, Members]
    classes.forEach((each, index) => expect(createAggregate(index + 1)).toBeInstanceOf(each))
  })

  it.each([1, 2, 3, 4, 5, 6])('of type %d come back from their bytes and merge as their bytes do', (type) => {
    const random = seeded(type)
    for (let round = 0; round < 50; round++) {
      const one = randomAggregate(random, type, 1500)
      const other = randomAggregate(random, type, 1500)
      const back = createAggregate(type)
      decodeAggregate(type, new Reader(encoded(one)), back)
      expect(encoded(back)).toEqual(encoded(one))
      decodeAggregate(type, new Reader(encoded(other)), back)
      mergeAggregate(one, other)
      expect(encoded(back).length).toBe(encoded(one).length)
    }
  })

  it('leave the reader behind their last byte when they are only checked', () => {
    const random = seeded(9)
    for (let round = 0; round < 120; round++) {
      const type = 1 + (round % 6)
      const bytes = encoded(randomAggregate(random, type))
      const reader = new Reader(Uint8Array.from([...bytes, 1, 2, 3]), 0, bytes.length)
      decodeAggregate(type, reader, undefined)
      expect(reader.offset).toBe(bytes.length)
    }
  })

  it.each([0, 7, 255])('of the unknown type %d are refused', (type) => {
    expect(() => decodeAggregate(type, new Reader(new Uint8Array(99)), undefined)).toThrow(InvalidFrameError)
  })

  it('sum up, and stay readable when the sum overflows', () => {
    const sum = new Sum(1.7e308)
    sum.add(1.7e308)
    const back = new Sum()
    Sum.decode(new Reader(encoded(sum)), back)
    expect(back.value).toBe(Number.MAX_VALUE)
    sum.clear()
    sum.merge(new Sum(3))
    expect(sum.value).toBe(3)
  })

  it('take values without leaving garbage', () => {
    const distribution = new Distribution()
    const members = new Members()
    const texts = Array.from({ length: 256 }, (_, index) => `member ${index} ü`)
    const count = 200_000
    expect(garbageOf(count, (index) => distribution.add(0.001 * (1 + (index % 1000))))).toBeLessThan(count * 2)
    expect(garbageOf(count, (index) => members.add(texts[index % 256] ?? ''))).toBeLessThan(count * 2)
  })
})
