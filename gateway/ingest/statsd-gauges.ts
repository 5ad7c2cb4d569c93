import type { Handles } from '../../client/registry/recorder.ts'
import { seriesKey } from '../../client/wire/series.ts'

type Gauge = Handles['gauge']

/** Doubles of a cell: newest value or NaN; time of those that wait; how many wait; and these. A line of a processor's cache. */
const CELL = 8
const TIME = 1
const COUNT = 2
const VALUES = 3
const WAITING = CELL - VALUES

/**
 * The values of gauges: the newest, which `+1` and `-1` change, and a few that wait for their handles as those of timers do.
 * One cell to a handle, whatever lines name it, since the order of its values matters. The newest values of forgotten
 * handles are kept too, up to a bound.
 */
export class StatsdGauges {
  #cells = new Float64Array(64 * CELL)
  readonly #bound: number
  // the index of a handle is that of its cell
  #handles: Gauge[] = []
  readonly #indices = new Map<Gauge, number>()
  // newest values by series: those forgotten last, and before; to remove the oldest of one map takes ever longer
  #forgotten = new Map<string, number>()
  #forgottenBefore = new Map<string, number>()

  /** @param bound how many newest values of forgotten handles are kept: as many at least, twice as many at most */
  constructor(bound: number) {
    this.#bound = bound
  }

  /** The index of a handle's cell, made if there is none. */
  cell(gauge: Gauge): number {
    const known = this.#indices.get(gauge)
    if (known !== undefined) return known
    const index = this.#handles.push(gauge) - 1
    this.#indices.set(gauge, index)
    if (this.#handles.length * CELL > this.#cells.length) {
      const cells = new Float64Array(this.#cells.length * 2)
      cells.set(this.#cells)
      this.#cells = cells
    }
    this.#cells.fill(0, index * CELL, (index + 1) * CELL)
    this.#cells[index * CELL] = this.#recall(gauge)
    return index
  }

  /**
   * Notes a reading, made now or at `timeMs` if that is not below 0; a change adds to the newest value, if there is one.
   *
   * @returns false when a change makes it too large for a double; then it stays as it was
   */
  set(index: number, value: number, isChange: boolean, timeMs: number, nowMs: number): boolean {
    const cells = this.#cells
    const cell = index * CELL
    const newest = cells[cell] as number
    const reading = isChange && newest === newest ? newest + value : value
    if (reading - reading !== 0) return false
    cells[cell] = reading
    let waiting = cells[cell + COUNT] as number
    // a gauge keeps one reading a second, so those of one second may share a time
    if (waiting === WAITING || (waiting > 0 && (timeMs >= 0 || !isSameSecond(cells[cell + TIME] as number, nowMs)))) {
      this.#pour(index)
      waiting = 0
    }
    if (timeMs >= 0) {
      this.#handles[index]?.setAt(reading, timeMs)
      return true
    }
    cells[cell + TIME] = nowMs
    cells[cell + VALUES + waiting] = reading
    cells[cell + COUNT] = waiting + 1
    return true
  }

  /** Gives the handles what waits. */
  pour(): void {
    for (let index = 0; index < this.#handles.length; index++) {
      if (this.#cells[index * CELL + COUNT] !== 0) this.#pour(index)
    }
  }

  /** Forgets the handles that `idle` names, but not their newest values. Right after {@link pour} only; indices change. */
  forget(idle: (gauge: Gauge) => boolean): void {
    const cells = this.#cells
    const kept: Gauge[] = []
    for (const [index, gauge] of this.#handles.entries()) {
      if (idle(gauge)) {
        this.#indices.delete(gauge)
        this.#remember(gauge, cells[index * CELL] as number)
        continue
      }
      cells.copyWithin(kept.length * CELL, index * CELL, (index + 1) * CELL)
      this.#indices.set(gauge, kept.push(gauge) - 1)
    }
    this.#handles = kept
  }

  #pour(index: number): void {
    const cells = this.#cells
    const cell = index * CELL
    const gauge = this.#handles[index] as Gauge
    const timeMs = cells[cell + TIME] as number
    const end = cell + VALUES + (cells[cell + COUNT] as number)
    for (let at = cell + VALUES; at < end; at++) gauge.setAt(cells[at] as number, timeMs)
    cells[cell + COUNT] = 0
  }

  #remember(gauge: Gauge, value: number): void {
    if (Number.isNaN(value)) return
    if (this.#forgotten.size >= this.#bound) {
      this.#forgottenBefore = this.#forgotten
      this.#forgotten = new Map()
    }
    this.#forgotten.set(seriesKey(gauge.name, gauge.source, gauge.tags), value)
  }

  #recall(gauge: Gauge): number {
    if (this.#forgotten.size + this.#forgottenBefore.size === 0) return Number.NaN
    const key = seriesKey(gauge.name, gauge.source, gauge.tags)
    const value = this.#forgotten.get(key) ?? this.#forgottenBefore.get(key) ?? Number.NaN
    this.#forgotten.delete(key)
    this.#forgottenBefore.delete(key)
    return value
  }
}

function isSameSecond(earlierMs: number, laterMs: number): boolean {
  return earlierMs <= laterMs && Math.floor(earlierMs / 1000) === Math.floor(laterMs / 1000)
}
