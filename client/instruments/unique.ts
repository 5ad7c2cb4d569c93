import type { MemberSet } from '../sketch/aggregates.ts'
import { Instrument } from './instrument.ts'

/** Counts distinct members: exact up to 1,024 a window, then within about 1 %. Members themselves are never kept or sent. */
export class Unique<Tag extends string = string> extends Instrument<Tag> {
  readonly type = 'set'
  /** @internal */
  readonly recorded: MemberSet = this.recorder.aggregates.members()

  /** Adds a member: a text, or a finite number or bigint, which counts as its decimal text. */
  add(member: string | number | bigint): void {
    if (typeof member === 'string' || typeof member === 'bigint' || this.isFit(member)) {
      this.touch(this.recorded.add(`${member}`))
    }
  }

  /** @internal */
  take(value: number | string): void {
    this.add(value)
  }

  /** @internal */
  drain(entry: never): void {
    this.recorded.drain(entry)
  }
}
