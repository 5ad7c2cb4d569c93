import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HyperLogLog, REGISTERS } from '../../../client/sketch/hyperloglog.ts'
import { EXACT_MEMBERS, Members } from '../../../client/sketch/members.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { type Hash64, hashMember } from '../../../client/wire/hash.ts'
import { below, seeded } from '../random.ts'

const names = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `u${from + index}`)

function of(members: readonly string[]): Members {
  const set = new Members()
  for (const member of members) set.add(member)
  return set
}

function encoded(members: Members): Uint8Array {
  const writer = new Writer()
  members.encode(writer)
  return writer.bytes()
}

function decoded(bytes: Uint8Array, into: Members = new Members()): Members {
  const reader = new Reader(bytes)
  Members.decode(reader, into)
  expect(reader.offset).toBe(bytes.length)
  return into
}

/** The registers by their definition: rank is the first one bit behind the top 14, counted from 1. */
function registers(members: readonly string[]): Uint8Array {
  const ranks = new Uint8Array(REGISTERS)
  const hash: Hash64 = { high: 0, low: 0 }
  for (const member of members) {
    hashMember(member, hash)
    const [high, low] = [hash.high >>> 0, hash.low >>> 0]
    const bits = high.toString(2).padStart(32, '0') + low.toString(2).padStart(32, '0')
    const first = bits.slice(14).indexOf('1')
    const rank = first < 0 ? 51 : first + 1
    const register = Number.parseInt(bits.slice(0, 14), 2)
    ranks[register] = Math.max(rank, ranks[register] ?? 0)
  }
  return ranks
}

/** The registers as they travel. */
function registersOf(members: Members): Uint8Array {
  const reader = new Reader(encoded(members))
  const ranks = new Uint8Array(REGISTERS)
  const mode = reader.u8()
  if (mode === 2) return reader.raw(REGISTERS)
  expect(mode).toBe(1)
  let register = 0
  for (let count = reader.varint(); count > 0; count--) ranks[(register += reader.varint())] = reader.u8()
  return ranks
}

describe('the members of a set', () => {
  it('are counted exactly up to 1,024, however often they are added', () => {
    const set = new Members()
    for (let count = 1; count <= EXACT_MEMBERS; count++) {
      set.add(`u${count}`)
      set.add(`u${1 + (count >> 1)}`)
      expect(set.size).toBe(count)
    }
    expect(decoded(encoded(set)).size).toBe(EXACT_MEMBERS)
    expect(encoded(set)[0]).toBe(0)
    set.add('one more')
    expect(encoded(set)[0]).toBe(1)
    expect(Math.abs(set.size - 1025)).toBeLessThan(1025 * 0.03)
  })

  it('are estimated within 3 % up to a million', () => {
    const set = new Members()
    let next = 2000
    for (let count = 1; count <= 1_000_000; count++) {
      set.add(`user-${count}`)
      if (count < next) continue
      expect(Math.abs(set.size - count) / count).toBeLessThan(0.03)
      next = Math.floor(next * 1.7)
    }
    expect(Math.abs(set.size - 1e6) / 1e6).toBeLessThan(0.03)
  })

  it('count hashes that are zero, whole or in half', () => {
    const set = new Members()
    const hashes = [
      [0, 0],
      [0, 1],
      [1, 0],
      [0xffffffff, 0xffffffff],
      [0, 0xffffffff],
      [0xffffffff, 0],
    ] as const
    for (const [high, low] of [...hashes, ...hashes]) set.addHash(high, low)
    expect(set.size).toBe(6)
    const back = decoded(encoded(set))
    expect(back.size).toBe(6)
    expect(encoded(back)).toEqual(encoded(set))
    const other = new Members()
    other.merge(set)
    expect(other.size).toBe(6)
  })

  it('count members whose hashes collide in the table', () => {
    const set = new Members()
    for (let high = 1; high <= 1000; high++) set.addHash(high, 0)
    for (let high = 1000; high >= 1; high--) set.addHash(high, 0)
    expect(set.size).toBe(1000)
  })

  it('become the registers of a HyperLogLog built from scratch', () => {
    for (const count of [1025, 3000, 20_000]) {
      const all = names(0, count)
      expect(registersOf(of(all))).toEqual(registers(all))
      expect(encoded(decoded(encoded(of(all))))).toEqual(encoded(of(all)))
    }
  })

  it('rank a hash by its bits behind the top 14', () => {
    const bits = fc.array(fc.boolean(), { minLength: 64, maxLength: 64 })
    const zeros = fc.nat(50)
    fc.assert(
      fc.property(bits, zeros, (list, zero) => {
        const text = list.map((bit, index) => (bit && (index < 14 || index >= 14 + zero) ? '1' : '0')).join('')
        const hyperLogLog = new HyperLogLog()
        hyperLogLog.add(Number.parseInt(text.slice(0, 32), 2), Number.parseInt(text.slice(32), 2))
        const first = text.slice(14).indexOf('1')
        expect(hyperLogLog.registers[Number.parseInt(text.slice(0, 14), 2)]).toBe(first < 0 ? 51 : first + 1)
      }),
    )
  })

  it('merge to the set of all members, whichever of them are estimated already', () => {
    const random = seeded(1)
    for (let round = 0; round < 30; round++) {
      const parts = [0, 1, 2].map(() => {
        const from = below(random, 3000)
        return names(from, from + below(random, [20, 700, 1024, 3000][below(random, 4)] ?? 20))
      })
      const all = parts.flat()
      const whole = encoded(of(all))
      const [a, b, c] = parts.map(of) as [Members, Members, Members]
      const leftFirst = new Members()
      for (const part of [a, b, c]) leftFirst.merge(part)
      expect(encoded(leftFirst)).toEqual(whole)
      const rightFirst = of(parts[1] ?? [])
      rightFirst.merge(c)
      const outer = of(parts[0] ?? [])
      outer.merge(rightFirst)
      expect(encoded(outer)).toEqual(whole)
      const viaBytes = new Members()
      for (const part of [c, a, b]) if (part.size > 0) decoded(encoded(part), viaBytes)
      expect(encoded(viaBytes)).toEqual(whole)
    }
  })

  it('travel dense when few or many registers are in use, so that a few bytes never set up all registers', () => {
    // members that somebody picked for their hashes
    const set = new Members()
    for (let low = 1; low <= 2000; low++) set.addHash((low % 300) << 18, low)
    const bytes = encoded(set)
    expect([bytes[0], bytes.length]).toEqual([2, 1 + REGISTERS])
    expect(encoded(decoded(bytes))).toEqual(bytes)
    expect(encoded(of(names(0, 3000)))[0]).toBe(1)
    expect(encoded(of(names(0, 30_000)))[0]).toBe(2)
  })

  it('start over after clear, exact again', () => {
    const set = of(names(0, 5000))
    set.clear()
    expect(set.size).toBe(0)
    set.add('a')
    set.add('b')
    expect(encoded(set)).toEqual(encoded(of(['b', 'a'])))
    set.addHash(0, 0)
    set.clear()
    expect(set.size).toBe(0)
  })
})
