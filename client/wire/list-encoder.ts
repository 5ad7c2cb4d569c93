import { utf8 } from './bytes.ts'
import type { Encoder } from './encoder.ts'
import { FRAME_VERSION } from './frame.ts'
import { type Octets, sized, u32, varint } from './octets.ts'
import { type EncodedKey, TYPES, type Type } from './series.ts'

/** Gathers the entries of one frame of one publisher, as octets; reuse it. The bytes are those of a `FrameEncoder`. */
export class ListEncoder implements Encoder<(payload: Octets) => void> {
  #entries: number[] = []
  #count = 0
  #publisher: Uint8Array | undefined

  get size(): number {
    return this.#entries.length
  }

  entry(type: Type, { hash, bytes }: EncodedKey): (payload: Octets) => void {
    return (payload) => {
      this.#count++
      this.#entries.push(TYPES.indexOf(type), ...u32(hash), ...sized(bytes), ...payload)
    }
  }

  seal(level: string, shard: number, seq: number, closedMs: number, spanMs: number): Uint8Array {
    // made only now: at the edge there are no random values while a module loads
    this.#publisher ??= crypto.getRandomValues(new Uint8Array(8))
    const frame = Uint8Array.from([
      0x5a,
      0x42,
      FRAME_VERSION,
      0,
      ...this.#publisher,
      // clocks may tell parts of a millisecond, and be put back
      ...[seq, closedMs, spanMs].flatMap((whole) => varint(Math.max(0, Math.round(whole)))),
      ...sized(utf8(level)),
      shard,
      ...varint(this.#count),
      ...this.#entries,
    ])
    this.#entries = []
    this.#count = 0
    return frame
  }
}
