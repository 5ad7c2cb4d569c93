import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fnv1a32, hashKey, hashMember, mix32 } from '../../../client/wire/hash.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

// murmur3's finalizer in whole numbers of any size
function slowMix(hash: bigint): bigint {
  let mixed = hash ^ (hash >> 16n)
  mixed = BigInt.asUintN(32, mixed * 0x85ebca6bn)
  mixed ^= mixed >> 13n
  mixed = BigInt.asUintN(32, mixed * 0xc2b2ae35n)
  return mixed ^ (mixed >> 16n)
}

function slowMember(text: string): { high: number; low: number } {
  let hash = 0xcbf29ce484222325n
  for (const byte of bytes(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  const high = slowMix((hash >> 32n) ^ (hash & 0xffffffffn))
  return { high: Number(high), low: Number(slowMix((hash & 0xffffffffn) ^ high)) }
}

describe('the hash of a series key', () => {
  it.each([
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
    ['foobar', 0xbf9cf968],
  ])('begins with FNV-1a of %j', (text, hash) => {
    expect(fnv1a32(bytes(text))).toBe(hash)
  })

  it.each([
    [0, 0],
    [1, 0x514e28b7],
    [2, 0x30f4c306],
    [0xffffffff, 0x81f16f39],
  ])('ends with the finalizer of MurmurHash3, of %d', (hash, mixed) => {
    expect(mix32(hash)).toBe(mixed)
  })

  it('mixes as plain integers do', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), (hash) => {
        expect(mix32(hash)).toBe(Number(slowMix(BigInt(hash))))
      }),
    )
  })

  it('looks at the given range alone', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (before, key, after) => {
        const around = Uint8Array.from([...before, ...key, ...after])
        expect(mix32(fnv1a32(around, before.length, before.length + key.length))).toBe(mix32(fnv1a32(key)))
      }),
    )
  })

  it('spreads numbered names evenly over the 32 shards', () => {
    const shards = Array.from({ length: 32 }, () => 0)
    for (let index = 0; index < 32_000; index++) {
      const shard = hashKey(bytes(`orders.${index}\0web\0`)) & 31
      shards[shard] = (shards[shard] ?? 0) + 1
    }
    // five standard deviations of an even spread are 156
    for (const count of shards) expect(Math.abs(count - 1000)).toBeLessThan(160)
  })
})

describe('hashMember', () => {
  it('is 64-bit FNV-1a of the UTF-8 bytes with its halves mixed, lone surrogates counting as U+FFFD', () => {
    const into = { high: 0, low: 0 }
    const check = (text: string): void => {
      hashMember(text, into)
      expect({ high: into.high >>> 0, low: into.low >>> 0 }).toEqual(slowMember(text))
    }
    ;['', 'a', 'u17', 'ü', '級', '😀', '\ud800', '\udc00', '\ud800\ud800', '\ud800a', '\udc00\ud800', '\uffff'].forEach(
      check,
    )
    fc.assert(fc.property(fc.string({ unit: 'binary' }), check))
    const units = fc.array(fc.oneof(fc.integer({ min: 0xd7f0, max: 0xe010 }), fc.nat(0xffff)))
    fc.assert(fc.property(units, (codes) => check(String.fromCharCode(...codes))))
  })
})
