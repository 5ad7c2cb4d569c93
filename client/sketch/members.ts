import { InvalidFrameError } from '../errors.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import { type Hash64, hashMember, hashMemberBytes } from '../wire/hash.ts'
import type { MemberSet } from './aggregates.ts'
import { HyperLogLog, MAX_RANK, REGISTERS } from './hyperloglog.ts'

/** Distinct members up to which their hashes are kept, so that the number is exact. */
export const EXACT_MEMBERS = 1024

/** Registers in use below which they travel dense: a few bytes must not make the reader set up all registers. */
const LEAST_SPARSE = 512

const HASHES = 0
const SPARSE = 1
const DENSE = 2

const scratch: Hash64 = { high: 0, low: 0 }

/** The aggregate of a set: 64-bit hashes of its members up to 1,024 of them, else a HyperLogLog. */
export class Members implements MemberSet {
  // pairs high, low in an open-addressing table; the all-zero hash is noted apart because it marks an empty place
  #table = new Int32Array(32)
  #used = 0
  #hasZero = false
  #hyperLogLog: HyperLogLog | undefined

  /** Distinct members: exact up to 1,024, then an estimate with 0.81 % standard error, rounded. */
  get size(): number {
    if (this.#hyperLogLog !== undefined) return Math.round(this.#hyperLogLog.estimate())
    return this.#used + (this.#hasZero ? 1 : 0)
  }

  clear(): void {
    this.#table = new Int32Array(32)
    this.#used = 0
    this.#hasZero = false
    this.#hyperLogLog = undefined
  }

  add(member: string): void {
    hashMember(member, scratch)
    this.addHash(scratch.high, scratch.low)
  }

  /** {@link add} of a text that is there as its UTF-8. */
  addBytes(bytes: Uint8Array, start: number, end: number): void {
    hashMemberBytes(bytes, start, end, scratch)
    this.addHash(scratch.high, scratch.low)
  }

  /** Takes a member's hash as two halves, signed or not. */
  addHash(high: number, low: number): void {
    if (this.#hyperLogLog !== undefined) {
      this.#hyperLogLog.add(high, low)
      return
    }
    if (high === 0 && low === 0) this.#hasZero = true
    else this.#put(high | 0, low | 0)
    if (this.#used >= EXACT_MEMBERS && this.size > EXACT_MEMBERS) this.#estimate()
  }

  merge(other: Members): void {
    if (other.#hyperLogLog !== undefined) this.#estimate().merge(other.#hyperLogLog)
    else other.#each((high, low) => this.addHash(high, low))
  }

  /**
   * mode u8, then 0: number varint and hashes (high u32, low u32), ascending; 1: number varint of registers in use, from
   * 512, and for each the distance from the one before (varint) and its rank u8; 2: all 16,384 registers, a byte each.
   */
  encode(writer: Writer): void {
    if (this.#hyperLogLog === undefined) {
      writer.u8(HASHES)
      const hashes: [number, number][] = []
      this.#each((high, low) => hashes.push([high >>> 0, low >>> 0]))
      hashes.sort(([leftHigh, leftLow], [rightHigh, rightLow]) => leftHigh - rightHigh || leftLow - rightLow)
      writer.varint(hashes.length)
      for (const [high, low] of hashes) {
        writer.u32(high)
        writer.u32(low)
      }
      return
    }
    const registers = this.#hyperLogLog.registers
    const used = registers.reduce((count, rank) => count + (rank > 0 ? 1 : 0), 0)
    if (used > REGISTERS / 3 || used < LEAST_SPARSE) {
      writer.u8(DENSE)
      writer.raw(registers)
      return
    }
    writer.u8(SPARSE)
    writer.varint(used)
    let previous = 0
    registers.forEach((rank, register) => {
      if (rank === 0) return
      writer.varint(register - previous)
      writer.u8(rank)
      previous = register
    })
  }

  drain(entry: () => Writer): void {
    this.encode(entry())
    this.clear()
  }

  /** Merges encoded members; `into` undefined only checks them. */
  static decode(reader: Reader, into: Members | undefined): void {
    const mode = reader.u8()
    if (mode === HASHES) {
      const count = reader.varint()
      if (count === 0 || count > EXACT_MEMBERS) throw new InvalidFrameError(`frame: a set lists ${count} members`)
      for (let index = 0; index < count; index++) {
        const high = reader.u32()
        const low = reader.u32()
        into?.addHash(high, low)
      }
      return
    }
    if (mode !== SPARSE && mode !== DENSE) throw new InvalidFrameError(`frame: a set has the mode ${mode}`)
    const count = mode === DENSE ? REGISTERS : reader.varint()
    if (count < LEAST_SPARSE || count > REGISTERS) throw new InvalidFrameError(`frame: a set has ${count} registers`)
    const hyperLogLog = into === undefined ? undefined : into.#estimate()
    let register = 0
    for (let index = 0; index < count; index++) {
      const distance = mode === DENSE ? Math.min(index, 1) : reader.varint()
      if (mode === SPARSE && index > 0 && distance === 0) throw new InvalidFrameError('frame: a set repeats a register')
      register += distance
      const rank = reader.u8()
      if (register >= REGISTERS || rank > MAX_RANK || (mode === SPARSE && rank === 0)) {
        throw new InvalidFrameError(`frame: a set has register ${register} at ${rank}`)
      }
      hyperLogLog?.raise(register, rank)
    }
  }

  #estimate(): HyperLogLog {
    if (this.#hyperLogLog === undefined) {
      const hyperLogLog = new HyperLogLog()
      this.#each((high, low) => hyperLogLog.add(high, low))
      this.#hyperLogLog = hyperLogLog
      this.#table = new Int32Array(0)
    }
    return this.#hyperLogLog
  }

  #each(visit: (high: number, low: number) => void): void {
    if (this.#hasZero) visit(0, 0)
    const table = this.#table
    for (let place = 0; place < table.length; place += 2) {
      const high = table[place] as number
      const low = table[place + 1] as number
      if (high !== 0 || low !== 0) visit(high, low)
    }
  }

  #put(high: number, low: number): void {
    const table = this.#table
    const mask = table.length - 1
    let place = (low << 1) & mask
    for (;;) {
      const placeHigh = table[place] as number
      const placeLow = table[place + 1] as number
      if (placeHigh === high && placeLow === low) return
      if (placeHigh === 0 && placeLow === 0) break
      place = (place + 2) & mask
    }
    table[place] = high
    table[place + 1] = low
    if (++this.#used * 4 <= table.length) return
    this.#table = new Int32Array(table.length * 2)
    this.#used = 0
    for (let old = 0; old < table.length; old += 2) {
      const oldHigh = table[old] as number
      const oldLow = table[old + 1] as number
      if (oldHigh !== 0 || oldLow !== 0) this.#put(oldHigh, oldLow)
    }
  }
}
