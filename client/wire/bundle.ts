import { InvalidFrameError } from '../errors.ts'
import { Reader } from './bytes.ts'
import { varint } from './octets.ts'

export const BUNDLE_TYPE = 'application/vnd.zibrato.bundle'

/** A bundle: each frame behind its length as a varint. */
export function encodeBundle(frames: readonly Uint8Array[]): Uint8Array {
  const parts = frames.flatMap((frame) => [varint(frame.length), frame])
  const bundle = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let length = 0
  for (const part of parts) {
    bundle.set(part, length)
    length += part.length
  }
  return bundle
}

/**
 * Visits where each frame of a bundle starts and ends, without looking into it.
 *
 * @throws InvalidFrameError at a length that is 0 or points past the end, after the frames before it were visited
 */
export function eachFrame(bundle: Uint8Array, visit: (start: number, end: number) => void): void {
  const reader = new Reader(bundle)
  while (reader.offset < bundle.length) {
    const length = reader.varint()
    if (length === 0) throw new InvalidFrameError(`bundle: a frame of 0 bytes at ${reader.offset}`)
    const start = reader.offset
    reader.skip(length)
    visit(start, reader.offset)
  }
}
