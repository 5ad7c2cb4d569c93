import { Members } from '../sketch/members.ts'
import type { FrameEncoder } from '../wire/frame.ts'
import { TYPE_CODE } from '../wire/series.ts'
import { Instrument } from './instrument.ts'

/** Counts distinct members: exact up to 1,024 a window, then within about 1 %. Members themselves are never kept or sent. */
export class Unique<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'set'
  readonly #aggregate = new Members()

  /** Adds a member: a text, or a finite number or bigint, which counts as its decimal text. */
  add(member: string | number | bigint): void {
    if (typeof member === 'string') this.#aggregate.add(member)
    else if (typeof member === 'bigint' || (typeof member === 'number' && member - member === 0))
      this.#aggregate.add(`${member}`)
    else {
      this.refuse(member)
      return
    }
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
    encoder.add(TYPE_CODE.set, this.key, this.#aggregate)
    this.clear()
  }

  /** @internal */
  get recorded(): Members {
    return this.#aggregate
  }

  /** @internal */
  clear(): void {
    this.#aggregate.clear()
    this.touched = false
  }
}
