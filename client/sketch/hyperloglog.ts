/** Index bits; 2^14 registers give a standard error of 0.81 %. */
const PRECISION = 14
export const REGISTERS: number = 1 << PRECISION
/** The highest value of a register: 50 hash bits remain, all zero counts one more. */
export const MAX_RANK: number = 64 - PRECISION + 1

/**
 * HyperLogLog over 64-bit hashes (Flajolet et al., 2007), with the bias-free estimator of Otmar Ertl, "New cardinality
 * estimation algorithms for HyperLogLog sketches" (2017), algorithm 6.
 */
export class HyperLogLog {
  readonly registers: Uint8Array = new Uint8Array(REGISTERS)

  /** Takes a hash as two halves, signed or not. */
  add(high: number, low: number): void {
    const register = high >>> (32 - PRECISION)
    const rest = high << PRECISION
    // the 18 bits that `high` has left, then the 32 of `low`
    const zeros = rest !== 0 ? Math.clz32(rest) : 32 - PRECISION + Math.clz32(low)
    this.raise(register, zeros + 1)
  }

  raise(register: number, rank: number): void {
    if (rank > (this.registers[register] as number)) this.registers[register] = rank
  }

  merge(other: HyperLogLog): void {
    for (let register = 0; register < REGISTERS; register++) this.raise(register, other.registers[register] as number)
  }

  estimate(): number {
    const counts = new Float64Array(MAX_RANK + 1)
    for (const rank of this.registers) counts[rank] = (counts[rank] as number) + 1
    let z = REGISTERS * tau(1 - (counts[MAX_RANK] as number) / REGISTERS)
    for (let rank = MAX_RANK - 1; rank >= 1; rank--) z = (z + (counts[rank] as number)) * 0.5
    z += REGISTERS * sigma((counts[0] as number) / REGISTERS)
    return (REGISTERS * REGISTERS) / (2 * Math.LN2 * z)
  }
}

function sigma(x: number): number {
  if (x === 1) return Number.POSITIVE_INFINITY
  let power = x
  let factor = 1
  let sum = x
  for (;;) {
    power *= power
    const next = sum + power * factor
    if (next === sum) return sum
    sum = next
    factor *= 2
  }
}

function tau(x: number): number {
  if (x === 0 || x === 1) return 0
  let root = x
  let factor = 1
  let sum = 1 - x
  for (;;) {
    root = Math.sqrt(root)
    factor *= 0.5
    const next = sum - (1 - root) ** 2 * factor
    if (next === sum) return sum / 3
    sum = next
  }
}
