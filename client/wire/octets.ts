/**
 * Bytes as lists of numbers: what a `Writer` does in less code and less quickly, for programs that must be small to load. Little
 * endian, as every machine is that those run on.
 */
export type Octets = readonly number[]

/** Unsigned LEB128 of an integer in 0 .. 2^53 - 1. */
export function varint(value: number): Octets {
  return value < 0x80 ? [value] : [(value % 0x80) + 0x80, ...varint(Math.floor(value / 0x80))]
}

export function u32(value: number): Octets {
  return [...new Uint8Array(Uint32Array.of(value).buffer)]
}

/** A double; what overflowed is the largest there is, so that one absurd value cannot cost a frame. */
export function finite(value: number): Octets {
  const bounded = Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, value)) || 0
  return [...new Uint8Array(Float64Array.of(bounded).buffer)]
}

/** A varint length, then the bytes. */
export function sized(bytes: ArrayLike<number> & Iterable<number>): Octets {
  return [...varint(bytes.length), ...bytes]
}
