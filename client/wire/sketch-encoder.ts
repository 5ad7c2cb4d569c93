import type { Writer } from './bytes.ts'
import type { Encoder } from './encoder.ts'
import { FrameEncoder, type Publisher, newPublisher } from './frame.ts'
import { type EncodedKey, TYPE_CODE, type Type } from './series.ts'

/** A {@link FrameEncoder} of one publisher's frames. */
export class SketchEncoder implements Encoder<() => Writer> {
  readonly #frame = new FrameEncoder()
  readonly #random: (bytes: Uint8Array) => Uint8Array
  #publisher: Publisher | undefined
  #type = 0
  #key: EncodedKey | undefined
  // one for all series, as one comes after another
  readonly #entry = (): Writer => this.#frame.entry(this.#type, this.#key as EncodedKey)

  /** @param random fills the publisher's 8 bytes; default: at random */
  constructor(
    random: (bytes: Uint8Array) => Uint8Array = (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
  ) {
    this.#random = random
  }

  get size(): number {
    return this.#frame.size
  }

  entry(type: Type, key: EncodedKey): () => Writer {
    this.#type = TYPE_CODE[type]
    this.#key = key
    return this.#entry
  }

  seal(level: string, shard: number, seq: number, closedMs: number, spanMs: number): Uint8Array {
    this.#publisher ??= newPublisher(this.#random)
    return this.#frame.seal(this.#publisher, level, shard, seq, closedMs, spanMs)
  }
}
