import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidFrameError } from '../../../client/errors.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'

const MAX = Number.MAX_SAFE_INTEGER
const edges = [
  0,
  1,
  127,
  128,
  16383,
  16384,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 49 - 1,
  2 ** 49,
  MAX - 1,
  MAX,
]

function write(action: (writer: Writer) => void, capacity = 1): Uint8Array {
  const writer = new Writer(capacity)
  action(writer)
  return writer.bytes()
}

// LEB128 in whole numbers of any size
function leb128(value: bigint): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 128n) return [...bytes, Number(rest)]
    bytes.push(Number(rest % 128n) + 128)
  }
}

describe('Writer and Reader', () => {
  it('give back every varint up to 2^53 - 1, in its shortest form', () => {
    const check = (value: number): void => {
      const bytes = write((writer) => writer.varint(value))
      expect([...bytes]).toEqual(leb128(BigInt(value)))
      const reader = new Reader(bytes)
      expect(reader.varint()).toBe(value)
      expect(reader.offset).toBe(bytes.length)
    }
    edges.forEach(check)
    fc.assert(fc.property(fc.maxSafeNat(), check))
  })

  it('give back every signed integer of 32 bits', () => {
    const check = (value: number): void => {
      const bytes = write((writer) => writer.zigzag(value))
      expect([...bytes]).toEqual(leb128(BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))))
      expect(new Reader(bytes).zigzag()).toBe(value)
    }
    ;[0, -1, 1, -64, 64, 2 ** 31 - 1, -(2 ** 31)].forEach(check)
    fc.assert(fc.property(fc.integer(), check))
  })

  it('give back doubles bit for bit, 32-bit words and texts', () => {
    fc.assert(
      fc.property(fc.double(), fc.nat(0xffffffff), fc.string({ unit: 'binary' }), (double, word, text) => {
        const bytes = write((writer) => {
          writer.f64(double)
          writer.u32(word)
          writer.text(text)
        })
        const reader = new Reader(bytes)
        expect(Object.is(reader.f64(), double)).toBe(true)
        expect(reader.u32()).toBe(word)
        expect(reader.text()).toBe(text.toWellFormed())
        expect(reader.offset).toBe(bytes.length)
      }),
    )
  })

  it('write what overflowed as the largest double, and what is no number as 0', () => {
    const finite = (value: number): number => new Reader(write((writer) => writer.finite(value))).finite()
    expect(finite(1.5)).toBe(1.5)
    expect(finite(Number.POSITIVE_INFINITY)).toBe(Number.MAX_VALUE)
    expect(finite(Number.NEGATIVE_INFINITY)).toBe(-Number.MAX_VALUE)
    expect(finite(Number.NaN)).toBe(0)
  })

  it('grow as needed and hand out copies', () => {
    const writer = new Writer(1)
    writer.raw(new Uint8Array(1000).fill(7))
    const first = writer.bytes()
    writer.reset()
    writer.u8(9)
    expect(first).toEqual(new Uint8Array(1000).fill(7))
    expect([...writer.bytes()]).toEqual([9])
  })

  it.each([
    ['longer than needed', [0x80, 0x00]],
    ['longer than needed in the eighth byte', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]],
    ['one above 2^53 - 1', [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]],
    ['of nine bytes', [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['cut off', [0xff, 0xff]],
    ['of no bytes', []],
  ])('refuse a varint %s', (_, bytes) => {
    expect(() => new Reader(Uint8Array.from(bytes)).varint()).toThrow(InvalidFrameError)
  })

  it('refuse a signed varint of more than 32 bits', () => {
    expect(() => new Reader(write((writer) => writer.varint(2 ** 32))).zigzag()).toThrow(InvalidFrameError)
  })

  it('refuse to read past their end, even when more bytes lie behind it', () => {
    const bytes = new Uint8Array(100)
    for (const read of ['u8', 'u32', 'f64', 'varint', 'text'] as const) {
      expect(() => new Reader(bytes, 10, 10)[read]()).toThrow(InvalidFrameError)
    }
    expect(() => new Reader(bytes, 95, 100).skip(6)).toThrow(InvalidFrameError)
    expect(() => new Reader(bytes, 95, 100).raw(2 ** 52)).toThrow(InvalidFrameError)
  })

  it('refuse NaN and infinities where a finite double belongs, and texts that are not UTF-8', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => new Reader(write((writer) => writer.f64(value))).finite()).toThrow(InvalidFrameError)
    }
    expect(() => new Reader(Uint8Array.from([2, 0xc3, 0x28])).text()).toThrow(InvalidFrameError)
  })
})
