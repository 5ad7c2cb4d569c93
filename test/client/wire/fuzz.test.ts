import { describe, expect, it } from 'vitest'
import { InvalidFrameError } from '../../../client/errors.ts'
import { type Aggregate, createAggregate, decodeAggregate, mergeAggregate } from '../../../client/sketch/aggregate.ts'
import { eachFrame, encodeBundle } from '../../../client/wire/bundle.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { type FrameEntry, checkFrame, decodeFrame } from '../../../client/wire/frame.ts'
import { TYPE_CODE } from '../../../client/wire/series.ts'
import { type Random, below, randomFrame, seeded } from '../random.ts'

/** What every frame that passes the check is merged into, so that whatever they leave behind meets the next. */
const merged = new Map(([1, 2, 3, 4, 5, 6] as const).map((type) => [type as number, createAggregate(type)]))
let accepted = 0
let refused = 0

/** Runs `read`; any other error than an InvalidFrameError fails the test, with the bytes. */
function survives(bytes: Uint8Array, read: () => void): boolean {
  try {
    read()
    return true
  } catch (error) {
    if (error instanceof InvalidFrameError) return false
    throw new Error(`${String(error)} from ${Buffer.from(bytes).toString('hex')}`, { cause: error })
  }
}

/** Expects of some bytes either no frame, in every way of reading them, or one that merges without an error. */
function expectAnswer(bytes: Uint8Array): void {
  const isFrame = survives(bytes, () => void checkFrame(bytes, 0, bytes.length, true))
  if (isFrame) accepted++
  else refused++
  let entries: readonly FrameEntry[] = []
  const isDecoded = survives(bytes, () => {
    ;({ entries } = decodeFrame(bytes))
  })
  if (isDecoded !== isFrame)
    throw new Error(`checked ${isFrame}, decoded ${isDecoded}: ${Buffer.from(bytes).toString('hex')}`)
  for (const { series, aggregate } of entries) {
    const into = merged.get(TYPE_CODE[series.type]) as Aggregate
    mergeAggregate(into, aggregate)
    into.encode(new Writer())
  }
  // without a look at the keys more may pass, and then must merge, too
  if (survives(bytes, () => void checkFrame(bytes, 0, bytes.length, false))) mergeAll(bytes)
}

/** Merges a frame as an owner does: straight from its bytes. */
function mergeAll(bytes: Uint8Array): void {
  const header = checkFrame(bytes, 0, bytes.length, false)
  const reader = new Reader(bytes, header.entries)
  for (let index = 0; index < header.count; index++) {
    const type = reader.u8()
    reader.skip(4)
    reader.sized()
    const into = merged.get(type) as Aggregate
    decodeAggregate(type, reader, into)
    // a set or sketch that took in everything hides what the next would do
    if (Math.abs(Math.sin(bytes.length + index)) < 0.3) into.clear()
  }
}

const EDGES = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xff]
const HUGE = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]

function mutate(random: Random, bytes: Uint8Array): Uint8Array {
  const place = below(random, bytes.length)
  const way = below(random, 8)
  const copy = bytes.slice()
  if (way === 0) copy[place] = (copy[place] as number) ^ (1 << below(random, 8))
  if (way === 1) copy[place] = EDGES[below(random, EDGES.length)] as number
  if (way === 2) copy[place] = below(random, 256)
  if (way === 3) return Uint8Array.from([...bytes.subarray(0, place), ...HUGE, ...bytes.subarray(place + 1)])
  if (way === 4) return bytes.slice(0, place)
  if (way === 5) return Uint8Array.from([...bytes.subarray(0, place), ...bytes.subarray(place + 1 + below(random, 9))])
  if (way === 6) return Uint8Array.from([...bytes.subarray(0, place), below(random, 256), ...bytes.subarray(place)])
  if (way === 7) {
    // a double that is none, or one of the largest
    const word = [0x7ff0, 0xfff0, 0x7ff8, 0x7fef, 0xffef, 0x0000, 0x8000][below(random, 7)] as number
    if (place + 8 > copy.length) return copy
    copy.fill(word === 0x7fef || word === 0xffef ? 0xff : 0, place, place + 6)
    copy[place + 6] = word & 0xff
    copy[place + 7] = word >> 8
  }
  return copy
}

/** Bytes held by buffers and heap, after which `run` may not leave more than `limit` behind or in between. */
function expectBounded(limit: number, run: (watch: () => void) => void): void {
  const held = (): number => {
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    return arrayBuffers + heapUsed
  }
  const before = held()
  let highest = before
  run(() => {
    highest = Math.max(highest, held())
  })
  expect(highest - before).toBeLessThan(limit)
}

const MB = 1024 * 1024

describe('decoders', () => {
  it('answer 60,000 mutated frames with an InvalidFrameError or a frame that merges', () => {
    const random = seeded(1)
    accepted = 0
    refused = 0
    expectBounded(200 * MB, (watch) => {
      for (let round = 0; round < 3000; round++) {
        const { bytes } = randomFrame(random, round % 10 === 0 ? 6 : 3, round % 50 === 0 ? 1500 : 20)
        for (let variant = 0; variant < 20; variant++) {
          let mutant = mutate(random, bytes)
          if (variant % 4 === 0 && mutant.length > 0) mutant = mutate(random, mutant)
          expectAnswer(mutant)
        }
        if (round % 100 === 0) watch()
      }
    })
    expect(accepted).toBeGreaterThan(5000)
    expect(refused).toBeGreaterThan(5000)
  })

  it('answer 40,000 frames of random bytes, with and without a valid beginning, with an InvalidFrameError', () => {
    const random = seeded(2)
    const valid = randomFrame(random).bytes
    expectBounded(200 * MB, (watch) => {
      for (let round = 0; round < 40_000; round++) {
        const bytes = Uint8Array.from({ length: below(random, 120) }, () => below(random, 256))
        if (round % 2 === 0) bytes.set(valid.subarray(0, Math.min(bytes.length, below(random, 40))))
        expectAnswer(bytes)
        if (round % 1000 === 0) watch()
      }
    })
  })

  it('answer random payloads of every type, each behind a valid header and key', () => {
    const random = seeded(3)
    let read = 0
    for (let round = 0; round < 30_000; round++) {
      const bytes = Uint8Array.from({ length: below(random, 90) }, () =>
        random() < 0.5 ? (EDGES[below(random, EDGES.length)] as number) : below(random, 256),
      )
      const type = 1 + (round % 6)
      const reader = new Reader(bytes)
      if (!survives(bytes, () => decodeAggregate(type, reader, undefined))) continue
      const into = createAggregate(type)
      decodeAggregate(type, new Reader(bytes), into)
      const again = new Writer()
      into.encode(again)
      decodeAggregate(type, new Reader(again.bytes()), createAggregate(type))
      read++
    }
    expect(read).toBeGreaterThan(1000)
  })

  it('refuse a frame cut off at any byte', () => {
    const random = seeded(4)
    for (let round = 0; round < 30; round++) {
      const { bytes } = randomFrame(random, 4, 100)
      for (let end = 0; end < bytes.length; end++) {
        expect(survives(bytes, () => void checkFrame(bytes, 0, end, false))).toBe(false)
      }
    }
  })

  it('refuse or read a frame with a huge length at any byte, without making room for it', () => {
    const random = seeded(5)
    const { bytes } = randomFrame(random, 12, 200)
    expectBounded(200 * MB, (watch) => {
      for (let place = 0; place < Math.min(bytes.length, 3000); place++) {
        expectAnswer(Uint8Array.from([...bytes.subarray(0, place), ...HUGE, ...bytes.subarray(place + 1)]))
        expectAnswer(Uint8Array.from([...bytes.subarray(0, place), 0xff, 0xff, 0xff, 0x7f, ...bytes.subarray(place)]))
        watch()
      }
    })
  })

  it('make at most some 64 times the bytes of a frame of the smallest entries that set up something', () => {
    // a sketch of one zero and one bin, and a set of 512 registers, as often as they fit into 100 kB
    const sketch = new Writer()
    sketch.u8(5)
    for (const value of [2, 1, 0, 1, 1, 1]) sketch.f64(value)
    for (const byte of [1, 0, 1, 0]) sketch.u8(byte)
    const registers = new Writer()
    registers.u8(1)
    registers.varint(512)
    for (let index = 0; index < 512; index++) {
      registers.u8(1)
      registers.u8(1)
    }
    for (const [type, payload] of [
      [4, sketch.bytes()],
      [6, registers.bytes()],
    ] as const) {
      const count = Math.floor(100_000 / payload.length)
      expectBounded(100_000 * 64, (watch) => {
        const kept = Array.from({ length: count }, () => {
          const into = createAggregate(type)
          decodeAggregate(type, new Reader(payload), into)
          return into
        })
        watch()
        expect(kept.length).toBe(count)
      })
    }
  })

  it('split 20,000 mutated bundles without any other error, each frame within its bundle', () => {
    const random = seeded(6)
    const bundles = Array.from({ length: 40 }, () =>
      encodeBundle(Array.from({ length: 1 + below(random, 6) }, () => randomFrame(random, 2, 8).bytes)),
    )
    for (let round = 0; round < 20_000; round++) {
      const bundle = mutate(random, bundles[round % 40] as Uint8Array)
      const bounds = [0]
      survives(bundle, () => eachFrame(bundle, (start, end) => bounds.push(start, end)))
      bounds.push(bundle.length + 1)
      expect(bounds.every((bound, index) => index === 0 || bound > (bounds[index - 1] ?? 0))).toBe(true)
    }
  })
})
