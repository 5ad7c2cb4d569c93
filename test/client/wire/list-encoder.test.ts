import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { Writer } from '../../../client/wire/bytes.ts'
import { FRAME_BYTES, FrameEncoder } from '../../../client/wire/frame.ts'
import { ListEncoder } from '../../../client/wire/list-encoder.ts'
import { type Octets, finite, sized, u32, varint } from '../../../client/wire/octets.ts'
import { SHARDS, TYPES, type Type, encodeKey, seriesKey } from '../../../client/wire/series.ts'
import { SketchEncoder } from '../../../client/wire/sketch-encoder.ts'

function written(write: (writer: Writer) => void): Octets {
  const writer = new Writer()
  write(writer)
  return [...writer.bytes()]
}

const whole = fc.oneof(fc.maxSafeNat(), fc.nat(300), fc.constantFrom(127, 128, 2 ** 31, 2 ** 32, 2 ** 53 - 1))
const bytes = fc.uint8Array({ maxLength: 300 })

describe('octets', () => {
  it('are the bytes that a Writer writes', () => {
    fc.assert(
      fc.property(whole, fc.double(), bytes, (number, double, some) => {
        expect(varint(number)).toEqual(written((writer) => writer.varint(number)))
        expect(u32(number >>> 0)).toEqual(written((writer) => writer.u32(number >>> 0)))
        expect(finite(double)).toEqual(written((writer) => writer.finite(double)))
        expect(sized(some)).toEqual(written((writer) => writer.sized(some)))
      }),
    )
  })
})

const series = fc.record({
  name: fc.string({ minLength: 1, maxLength: 40 }),
  type: fc.constantFrom(...TYPES.slice(1)),
  payload: bytes,
})
const frame = fc.record({
  level: fc.constantFrom('info', 'crit', 'ü'),
  shard: fc.nat(SHARDS - 1),
  seq: fc.maxSafeNat(),
  closedMs: fc.oneof(fc.nat(2 ** 41), fc.double({ min: -5, max: 2e12, noNaN: true })),
  spanMs: fc.oneof(fc.nat(60_000), fc.double({ min: -5e4, max: 5e4, noNaN: true })),
  entries: fc.array(series, { minLength: 1, maxLength: 8 }),
})

describe('an encoder for programs that must be small to load', () => {
  it('makes the frames that the other one does, one after another, of a publisher of its own', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 3 }), (frames) => {
        const small = new ListEncoder()
        let publisher: Uint8Array | undefined
        const large = new SketchEncoder((into) => {
          into.set(publisher as Uint8Array)
          return into
        })
        for (const { level, shard, seq, closedMs, spanMs, entries } of frames) {
          for (const { type, name, payload } of entries) {
            const key = encodeKey(seriesKey(name.replaceAll(/[\0\r\n]/g, '_'), 'web'))
            small.entry(type as Type, key)([...payload])
            large
              .entry(type as Type, key)()
              .raw(payload)
          }
          expect(small.size).toBe(large.size)
          const made = small.seal(level, shard, seq, closedMs, spanMs)
          publisher ??= made.slice(4, 12)
          expect(made).toEqual(large.seal(level, shard, seq, closedMs, spanMs))
          expect([small.size, large.size]).toEqual([0, 0])
        }
      }),
    )
  })

  it('tells its publishers apart', () => {
    const made = Array.from({ length: 3 }, () => {
      const encoder = new ListEncoder()
      encoder.entry('counter', encodeKey('n\0s\0'))(finite(1))
      return encoder.seal('info', 0, 1, 0, 0).slice(4, 12).join()
    })
    expect(new Set(made).size).toBe(3)
  })

  it('takes a frame as large as they become', () => {
    const [small, large] = [new ListEncoder(), new FrameEncoder()]
    const key = encodeKey('n\0s\0')
    const payload = new Uint8Array(30_000).fill(7)
    while (small.size < FRAME_BYTES) {
      small.entry('set', key)([...payload])
      large.entry(6, key).raw(payload)
    }
    const made = small.seal('info', 3, 9, 1, 1)
    const view = new DataView(made.buffer)
    const publisher = { high: view.getUint32(4), low: view.getUint32(8) }
    expect(made).toEqual(large.seal(publisher, 'info', 3, 9, 1, 1))
  })
})

describe('a bundle', () => {
  it('is each frame behind its length', () => {
    fc.assert(
      fc.property(fc.array(bytes), (frames) => {
        expect([...encodeBundle(frames)]).toEqual(
          written((writer) => {
            for (const each of frames) writer.sized(each)
          }),
        )
      }),
    )
  })
})
