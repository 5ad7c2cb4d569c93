import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidFrameError } from '../../../client/errors.ts'
import { encodeBundle, eachFrame } from '../../../client/wire/bundle.ts'
import { Writer } from '../../../client/wire/bytes.ts'
import {
  FrameEncoder,
  checkFrame,
  decodeFrame,
  newPublisher,
  publisherName,
  readHeader,
} from '../../../client/wire/frame.ts'
import { type EncodedKey, encodeKey, parseKey, seriesKey } from '../../../client/wire/series.ts'
import { typeOf } from '../../../client/sketch/aggregate.ts'
import { randomFrame, seeded } from '../random.ts'

const PUBLISHER = { high: 0x01020304, low: 0xfffefdfc }

function encoded(aggregate: { encode(writer: Writer): void }): Uint8Array {
  const writer = new Writer()
  aggregate.encode(writer)
  return writer.bytes()
}

/** A frame of one counter, true but for what is given. */
function counterFrame(
  but: { key?: EncodedKey; hash?: number; shard?: number; level?: string; seq?: number } = {},
): Uint8Array {
  const { key = encodeKey('n\0s\0'), level = 'info', seq = 1 } = but
  const { hash = key.hash, shard = key.shard } = but
  const encoder = new FrameEncoder()
  encoder.entry(1, { bytes: key.bytes, hash, shard }).f64(1)
  return encoder.seal(PUBLISHER, level, shard, seq, 1000, 10)
}

describe('a frame', () => {
  it('comes back as it was sealed, of all six types', () => {
    const random = seeded(1)
    const types = new Set<number>()
    for (let round = 0; round < 300; round++) {
      const made = randomFrame(random)
      const frame = decodeFrame(made.bytes)
      expect([frame.level, frame.shard, frame.seq]).toEqual([made.level, made.shard, made.seq])
      expect(frame.entries.length).toBe(made.entries.length)
      made.entries.forEach(({ type, key, aggregate }, index) => {
        types.add(type)
        const entry = frame.entries[index]
        expect(entry?.series).toEqual(parseKey(typeOf(type), new TextDecoder().decode(key.bytes)))
        expect(entry && encoded(entry.aggregate)).toEqual(encoded(aggregate))
      })
    }
    expect(types.size).toBe(6)
  })

  it('becomes the same bytes again when what was read of it is written', () => {
    const random = seeded(2)
    const encoder = new FrameEncoder()
    for (let round = 0; round < 200; round++) {
      const { bytes } = randomFrame(random)
      const header = readHeader(bytes)
      const frame = decodeFrame(bytes)
      for (const { series, aggregate } of frame.entries) {
        const type = ['', 'counter', 'meter', 'gauge', 'timer', 'histogram', 'set'].indexOf(series.type)
        encoder.add(type, encodeKey(seriesKey(series.name, series.source, series.tags)), aggregate)
      }
      expect(encoder.count).toBe(frame.entries.length)
      expect(encoder.seal(header.publisher, frame.level, frame.shard, frame.seq, frame.closedMs, frame.spanMs)).toEqual(
        bytes,
      )
      expect([encoder.count, encoder.size]).toEqual([0, 0])
    }
  })

  it('is read where it lies within other bytes', () => {
    const random = seeded(3)
    for (let round = 0; round < 50; round++) {
      const { bytes, level, seq } = randomFrame(random)
      // a view that does not start where its memory does
      const around = new Uint8Array(bytes.length + 40).subarray(7)
      around.fill(0xff)
      around.set(bytes, 11)
      const header = checkFrame(around, 11, 11 + bytes.length, true)
      expect([header.level, header.seq]).toEqual([level, seq])
      expect(decodeFrame(around, 11, 11 + bytes.length)).toEqual(decodeFrame(bytes))
    }
  })

  it('carries every publisher, seq, level and time', () => {
    const words = fc.nat(0xffffffff)
    const level = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 16 })
      .map((text) => text.toWellFormed().replaceAll(/[|#?\0\r\n]/g, 'x'))
    const seqs = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }))
    fc.assert(
      fc.property(words, words, seqs, level, fc.maxSafeNat(), fc.maxSafeNat(), (high, low, seq, text, closed, span) => {
        const encoder = new FrameEncoder()
        const key = encodeKey('n\0\0')
        encoder.entry(2, key).f64(1)
        const header = readHeader(encoder.seal({ high, low }, text, key.shard, seq, closed, span))
        expect(header).toMatchObject({
          publisher: { high, low },
          seq,
          level: text,
          closedMs: closed,
          spanMs: span,
          count: 1,
        })
      }),
    )
  })

  it('carries levels of many bytes the first time as well as later', () => {
    for (let round = 0; round < 3; round++) {
      // more than are remembered
      for (let index = 0; index < 300; index++) {
        const level = `${'級'.repeat(20)}${index}`
        expect(readHeader(counterFrame({ level })).level).toBe(level)
        expect(readHeader(counterFrame({ level })).count).toBe(1)
      }
    }
  })

  it.each(['', 'a|b', '#a', '?a', 'a\0', 'a\n', 'l'.repeat(65)])(
    'with the level %j is refused, every time',
    (level) => {
      for (let round = 0; round < 2; round++) {
        expect(() => readHeader(counterFrame({ level }))).toThrow(InvalidFrameError)
      }
    },
  )

  it('that lies about a hash, a shard or a key is refused when these are checked', () => {
    const key = encodeKey('n\0s\0')
    const check = (bytes: Uint8Array) => (): unknown => checkFrame(bytes, 0, bytes.length, true)
    expect(check(counterFrame())).not.toThrow()
    expect(check(counterFrame({ hash: key.hash ^ 0x100 }))).toThrow("an entry's hash is not its key's")
    expect(check(counterFrame({ shard: (key.shard + 1) % 32 }))).toThrow(`an entry belongs to shard ${key.shard}`)
    for (const text of ['', 'n\0s', 'n\0s\0b\0v\0a\0v\0', 'n\ns\0s\0']) {
      expect(check(counterFrame({ key: encodeKey(text) }))).toThrow(InvalidFrameError)
    }
    const notText = { ...key, bytes: Uint8Array.from([0xff, 0, 0]) }
    expect(check(counterFrame({ key: notText }))).toThrow(InvalidFrameError)
  })

  it('with seq 0, shard 32, no entries, too many entries or bytes behind them is refused', () => {
    const encoder = new FrameEncoder()
    expect(() => readHeader(encoder.seal(PUBLISHER, 'info', 0, 1, 0, 0))).toThrow('0 entries')
    expect(() => readHeader(counterFrame({ seq: 0 }))).toThrow('seq starts at 1')
    expect(() => readHeader(counterFrame({ shard: 32 }))).toThrow('shard 32')
    const longer = Uint8Array.from([...counterFrame(), 0])
    expect(() => checkFrame(longer, 0, longer.length, false)).toThrow('1 bytes follow')
    const good = counterFrame()
    const count = readHeader(good).entries - 1
    const many = Uint8Array.from([...good.slice(0, count), 0xff, 0xff, 0x7f, ...good.slice(count + 1)])
    expect(() => readHeader(many)).toThrow('do not fit')
  })

  it('of another magic, version or with flags is refused, the version being named', () => {
    const change = (place: number, byte: number): Uint8Array =>
      counterFrame().map((old, index) => (index === place ? byte : old))
    expect(() => readHeader(change(0, 0x5b))).toThrow('"ZB"')
    expect(() => readHeader(change(1, 0))).toThrow('"ZB"')
    expect(() => readHeader(change(2, 2))).toThrow('version 2 is unknown')
    for (let flag = 1; flag < 256; flag *= 2) expect(() => readHeader(change(3, flag))).toThrow('flags')
  })
})

describe('a publisher', () => {
  it('is named by its bytes in their order', () => {
    const publisher = newPublisher((bytes) => bytes.map((_, index) => index * 0x21))
    expect(publisherName(publisher)).toBe('00214263' + '84a5c6e7')
    expect(publisherName(PUBLISHER)).toBe('01020304fffefdfc')
    expect([...counterFrame().subarray(4, 12)]).toEqual([1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc])
    expect(decodeFrame(counterFrame()).publisher).toBe('01020304fffefdfc')
  })

  it('may come as part of a larger piece of memory', () => {
    const pool = Uint8Array.from({ length: 64 }, (_, index) => index)
    expect(publisherName(newPublisher(() => pool.subarray(16, 24)))).toBe('1011121314151617')
  })
})

describe('a bundle', () => {
  const split = (bundle: Uint8Array): Uint8Array[] => {
    const frames: Uint8Array[] = []
    eachFrame(bundle, (start, end) => frames.push(bundle.slice(start, end)))
    return frames
  }

  it('comes apart into the frames it was made of', () => {
    const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 20 })
    fc.assert(
      fc.property(frames, (list) => {
        expect(split(encodeBundle(list))).toEqual(list)
      }),
    )
    const large = new Uint8Array(70_000).fill(1)
    expect(split(encodeBundle([large, large]))).toEqual([large, large])
    expect(split(new Uint8Array(0))).toEqual([])
  })

  it('cut off anywhere gives the whole frames before the cut, and an error unless it is cut between two', () => {
    const random = seeded(4)
    const frames = Array.from({ length: 6 }, () => randomFrame(random, 4, 20).bytes)
    const bundle = encodeBundle(frames)
    const ends = frames.map((_, index) => encodeBundle(frames.slice(0, index + 1)).length)
    for (let cut = 0; cut <= bundle.length; cut++) {
      const part = bundle.slice(0, cut)
      const seen: Uint8Array[] = []
      let error: unknown
      try {
        eachFrame(part, (start, end) => seen.push(part.slice(start, end)))
      } catch (caught) {
        error = caught
      }
      const isBetween = cut === 0 || ends.includes(cut)
      expect(error instanceof InvalidFrameError).toBe(!isBetween)
      expect(error === undefined).toBe(isBetween)
      expect(seen.length).toBe(ends.filter((end) => end <= cut).length)
    }
  })

  it('with a frame of no bytes is refused there', () => {
    const seen: number[] = []
    const bundle = Uint8Array.from([1, 9, 0, 1, 9])
    expect(() => eachFrame(bundle, (start) => seen.push(start))).toThrow('0 bytes')
    expect(seen).toEqual([1])
    expect(() =>
      eachFrame(Uint8Array.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x0f, 1]), () => undefined),
    ).toThrow(InvalidFrameError)
  })
})
