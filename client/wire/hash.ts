/** Start and factor of FNV-1a, 32 bits. */
export const FNV_BASIS = 0x811c9dc5
export const FNV_PRIME = 0x01000193

/** FNV-1a, 32 bits (Fowler, Noll, Vo). */
export function fnv1a32(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  let hash = FNV_BASIS
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ (bytes[index] as number), FNV_PRIME)
  return hash >>> 0
}

/** The 32-bit finalizer of MurmurHash3 (Austin Appleby): each input bit flips each output bit half the time. */
export function mix32(hash: number): number {
  let mixed = hash ^ (hash >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/** The hash of a series key: its low five bits are the shard. */
export function hashKey(bytes: Uint8Array): number {
  let hash = FNV_BASIS
  for (const byte of bytes) hash = Math.imul(hash ^ byte, FNV_PRIME)
  return mix32(hash)
}

/**
 * Two 32-bit halves of a 64-bit hash; {@link hashMember} writes here so that hashing allocates nothing. Signed, because
 * engines box integers above 2^31; `>>> 0` gives what travels.
 */
export interface Hash64 {
  high: number
  low: number
}

// the running hash; typed, so that values above 2^31 are not boxed
const state = /* @__PURE__ */ new Uint32Array(2)

function begin(): void {
  state[0] = 0xcbf29ce4
  state[1] = 0x84222325
}

function step(byte: number): void {
  // prime 2^40 + 0x1b3: the shift moves `low << 8` into `high`, the rest is two products below 2^53
  const flipped = ((state[1] as number) ^ byte) >>> 0
  const product = flipped * 0x1b3
  state[0] = Math.imul(state[0] as number, 0x1b3) + (flipped << 8) + Math.floor(product / 0x100000000)
  state[1] = product
}

/**
 * 64-bit FNV-1a over the UTF-8 bytes of `text` (lone surrogates count as U+FFFD), both halves then mixed into each other
 * with {@link mix32}: `high = mix32(high ^ low); low = mix32(low ^ high)`, a bijection, so no hash is lost.
 */
export function hashMember(text: string, into: Hash64): void {
  begin()
  for (let index = 0; index < text.length; index++) {
    let code = text.charCodeAt(index)
    if (code < 0x80) {
      step(code)
      continue
    }
    if (code < 0x800) {
      step(0xc0 | (code >> 6))
    } else {
      if (code >= 0xd800 && code < 0xe000) {
        const next = code < 0xdc00 ? text.charCodeAt(index + 1) : 0
        if (next >= 0xdc00 && next < 0xe000) {
          code = 0x10000 + ((code - 0xd800) << 10) + (next - 0xdc00)
          index++
        } else {
          code = 0xfffd
        }
      }
      if (code >= 0x10000) {
        step(0xf0 | (code >> 18))
        step(0x80 | ((code >> 12) & 0x3f))
      } else {
        step(0xe0 | (code >> 12))
      }
      step(0x80 | ((code >> 6) & 0x3f))
    }
    step(0x80 | (code & 0x3f))
  }
  finish(into)
}

/** {@link hashMember} of a text that is there as its UTF-8. Bytes that are no UTF-8 count as they are. */
export function hashMemberBytes(bytes: Uint8Array, start: number, end: number, into: Hash64): void {
  begin()
  for (let index = start; index < end; index++) step(bytes[index] as number)
  finish(into)
}

function finish(into: Hash64): void {
  into.high = mix32((state[0] as number) ^ (state[1] as number)) | 0
  into.low = mix32((state[1] as number) ^ into.high) | 0
}
