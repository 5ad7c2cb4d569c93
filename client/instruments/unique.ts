import type { MemberSet } from '../sketch/aggregates.ts'
import type { FrameEncoder } from '../wire/frame.ts'
import { type EncodedKey, TYPE_CODE } from '../wire/series.ts'
import { type Identity, Instrument, type Registrar } from './instrument.ts'

/** Counts distinct members: exact up to 1,024 a window, then within about 1 %. Members themselves are never kept or sent. */
export class Unique<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'set'
  readonly #aggregate: MemberSet

  /** @internal */
  constructor(recorder: Registrar, identity: Identity, key: EncodedKey) {
    super(recorder, identity, key)
    this.#aggregate = recorder.aggregates.members(() => recorder.sealOne(this))
  }

  /** Adds a member: a text, or a finite number or bigint, which counts as its decimal text. */
  add(member: string | number | bigint): void {
    if (typeof member !== 'string' && typeof member !== 'bigint' && !Number.isFinite(member)) {
      this.refuse(member)
      return
    }
    this.#aggregate.add(`${member}`)
    this.touch()
  }

  /** @internal {@link add} of a text that is there as its UTF-8. */
  addBytes(bytes: Uint8Array, start: number, end: number): void {
    this.#aggregate.addBytes(bytes, start, end)
    this.touch()
  }

  /** @internal */
  take(value: number | string): void {
    this.add(value)
  }

  /** @internal */
  drain(encoder: FrameEncoder): void {
    this.#aggregate.drain(encoder, TYPE_CODE.set, this.key)
    this.touched = false
  }

  /** @internal */
  get recorded(): MemberSet {
    return this.#aggregate
  }

  /** @internal */
  clear(): void {
    this.#aggregate.clear()
    this.touched = false
  }
}
