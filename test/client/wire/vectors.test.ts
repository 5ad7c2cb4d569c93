import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { InvalidFrameError } from '../../../client/errors.ts'
import { createAggregate, decodeAggregate } from '../../../client/sketch/aggregate.ts'
import { binOf, valueOf } from '../../../client/sketch/bins.ts'
import { eachFrame } from '../../../client/wire/bundle.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { checkFrame, decodeFrame } from '../../../client/wire/frame.ts'
import { hashMember } from '../../../client/wire/hash.ts'
import { encodeKey, hashIfKey, parseKey, seriesKey } from '../../../client/wire/series.ts'
import { vectors } from '../../fixtures/frames/generate.ts'
import * as independent from '../../fixtures/frames/independent.ts'

function load<Vector>(name: string): Vector[] {
  return JSON.parse(readFileSync(new URL(`../../fixtures/frames/${name}`, import.meta.url), 'utf8')) as Vector[]
}

const hex = (bytes: Uint8Array | readonly number[]): string => Buffer.from(bytes).toString('hex')
const fromHex = (digits: string): Uint8Array => Uint8Array.from(Buffer.from(digits, 'hex'))

const keys = load<independent.PlainSeries & { key: string; hash: string; shard: number }>('keys.json')
const members = load<{ member: string; hash: string }>('members.json')
const bins = load<{ value: number; bin: number; middle: number }>('bins.json')
const bounds = load<{ bin: number; bound: number }>('bounds.json')
const frames = load<{ title: string; frame: independent.PlainFrame; hex: string }>('frames.json')
const invalid = load<{ reason: string; hex: string }>('invalid.json')
const bundles = load<{ frames: string[]; hex: string }>('bundles.json')

describe('the vectors of frame version 1', () => {
  it.each(vectors())('in %s are what the generator writes', (name, text) => {
    expect(readFileSync(new URL(`../../fixtures/frames/${name}`, import.meta.url), 'utf8')).toBe(text)
  })

  it('name the keys, hashes and shards that the code and an independent writer make', () => {
    for (const { name, source, tags, key, hash, shard } of keys) {
      const made = encodeKey(seriesKey(name, source, tags))
      expect([hex(made.bytes), made.hash, made.shard]).toEqual([key, Number.parseInt(hash, 16), shard])
      expect(hashIfKey(made.bytes, 0, made.bytes.length)).toBe(made.hash)
      expect(parseKey('counter', new TextDecoder().decode(fromHex(key)))).toEqual({
        type: 'counter',
        name,
        source,
        tags,
      })
      const plain = independent.keyOf({ name, source, tags })
      expect([hex(plain), independent.hashOf(plain).toString(16).padStart(8, '0')]).toEqual([key, hash])
    }
  })

  it('name the hashes of members that the code and an independent writer make', () => {
    const into = { high: 0, low: 0 }
    for (const { member, hash } of members) {
      hashMember(member, into)
      expect([into.high >>> 0, into.low >>> 0]).toEqual(
        [hash.slice(0, 8), hash.slice(8)].map((half) => Number.parseInt(half, 16)),
      )
      expect(independent.memberHashOf(member).toString(16).padStart(16, '0')).toBe(hash)
    }
  })

  it('name the bins of values and the bounds of bins that the code and an independent writer find', () => {
    for (const { value, bin, middle } of bins) {
      expect([binOf(value), valueOf(bin), independent.binOf(value)]).toEqual([bin, middle, bin])
    }
    for (const { bin, bound } of bounds) {
      // the bound itself is the last value of the bin below
      expect([binOf(bound), binOf(bound * (1 + Number.EPSILON))]).toEqual([bin - 1, bin])
      expect(independent.binOf(bound)).toBe(bin - 1)
    }
  })

  it.each(frames)('hold $title, as an independent writer makes it of plain values', ({ frame, hex: digits }) => {
    expect(hex(independent.encodeFrame(frame))).toBe(digits)
  })

  it.each(frames)('hold $title, which the code reads', ({ frame, hex: digits }) => {
    const bytes = fromHex(digits)
    const read = decodeFrame(bytes)
    const { entries, ...header } = frame
    expect(read).toMatchObject(header)
    expect(read.entries.map(({ series }) => series)).toEqual(
      entries.map(({ type, name, source, tags }) => ({ type, name, source, tags })),
    )
    // a payload, merged into nothing and written again, is the same payload
    const reader = new Reader(bytes, checkFrame(bytes, 0, bytes.length, true).entries)
    for (const entry of entries) {
      const type = reader.u8()
      reader.skip(4)
      reader.sized()
      const start = reader.offset
      const aggregate = createAggregate(type)
      decodeAggregate(type, reader, aggregate)
      const writer = new Writer()
      // what was merged is no longer a repeat
      if ('repeat' in entry) writer.raw(bytes.subarray(start, reader.offset))
      else aggregate.encode(writer)
      expect(hex(writer.bytes())).toBe(hex(bytes.subarray(start, reader.offset)))
    }
  })

  it.each(invalid)('hold $reason, which the code refuses', ({ hex: digits }) => {
    const bytes = fromHex(digits)
    expect(() => checkFrame(bytes, 0, bytes.length, true)).toThrow(InvalidFrameError)
    expect(() => decodeFrame(bytes)).toThrow(InvalidFrameError)
  })

  it('hold bundles, which the code takes apart and an independent writer puts together', () => {
    for (const { frames: titles, hex: digits } of bundles) {
      const bundle = fromHex(digits)
      const parts: string[] = []
      eachFrame(bundle, (start, end) => parts.push(hex(bundle.subarray(start, end))))
      expect(parts).toEqual(titles.map((title) => frames.find((vector) => vector.title === title)?.hex))
      expect(hex(independent.encodeBundle(parts.map(fromHex)))).toBe(digits)
    }
  })
})
