/** True of those that keep what they take, once it should become a frame before it grows further. */
type IsFull = boolean | void

/** What a handle records into, where that is more than a number. */
interface Recording<Entry> {
  /** Writes what was recorded, each part to an entry of its own, none when there is nothing, and starts anew. */
  drain(entry: Entry, flags?: number): void
}

/** The values of a timer or histogram. */
export interface Samples<Entry = never> extends Recording<Entry> {
  /** Takes a finite value `weight` times; the caller has checked both. */
  add(value: number, weight: number): IsFull
}

/** The readings of a gauge. */
export interface GaugeReadings<Entry = never> extends Recording<Entry> {
  /** Takes a finite value, and a time in whole milliseconds since the epoch; the caller has checked both. */
  add(value: number, timeMs: number): IsFull
}

/** The members of a set. */
export interface MemberSet<Entry = never> extends Recording<Entry> {
  add(member: string): IsFull
}

/** What the handles of one recorder record into; `Entry` is what its encoder has for the entries of a series. */
export interface Aggregates<Entry = never> {
  samples(): Samples<Entry>
  readings(): GaugeReadings<Entry>
  members(): MemberSet<Entry>
  /** Writes what a counter or meter came to. */
  sum(entry: Entry, value: number): void
}
