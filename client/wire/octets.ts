/**
 * Bytes as lists of numbers: what a `Writer` does in less code and less quickly, for programs that must be small to load. Little
 * endian, as every machine is that those run on.
 */
export type Octets = readonly number[]

/** Unsigned LEB128 of an integer in 0 .. 2^53 - 1. */
export function varint(value: number): Octets {
  return value < 0x80 ? [value] : [(value % 0x80) + 0x80, ...varint(Math.floor(value / 0x80))]
}

export function u32(...values: readonly number[]): Octets {
  return [...new Uint8Array(Uint32Array.from(values).buffer)]
}

/** Doubles; what overflowed is the largest there is, so that one absurd value cannot cost a frame. */
export function finite(...values: readonly number[]): Octets {
  const bounded = (value: number): number => (Number.isFinite(value) ? value : Math.sign(value) * Number.MAX_VALUE || 0)
  return [...new Uint8Array(Float64Array.from(values, bounded).buffer)]
}

/** A varint length, then the bytes. */
export function sized(bytes: ArrayLike<number> & Iterable<number>): Octets {
  return [...varint(bytes.length), ...bytes]
}
