import { InvalidFrameError } from '../errors.ts'
import { Reader, Writer } from './bytes.ts'

export const BUNDLE_TYPE = 'application/vnd.zibrato.bundle'

/** A bundle: each frame behind its length as a varint. */
export function encodeBundle(frames: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer(frames.reduce((size, frame) => size + frame.length + 4, 0))
  for (const frame of frames) writer.sized(frame)
  return writer.bytes()
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
