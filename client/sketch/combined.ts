import { COMBINES, type Combine } from './gauge.ts'
import type { Reader, Writer } from '../wire/bytes.ts'
import { saturated } from './saturated.ts'

/** A publisher that is silent for this many of its spans, but at least {@link LEAST_SILENCE_MS}, is gone. */
const SILENT_SPANS = 3
const LEAST_SILENCE_MS = 30_000

interface Newest {
  value: number
  /** When it was read, ms by the publisher's clock. */
  timeMs: number
  /** When it was last heard of, ms by the log's clock. */
  heardMs: number
  spanMs: number
}

/** What the publishers of one gauge last said, while they live. */
export class Combined {
  combine: Combine
  readonly #newest = new Map<string, Newest>()

  constructor(combine: Combine) {
    this.combine = combine
  }

  /** Publishers that have not fallen silent. */
  get size(): number {
    return this.#newest.size
  }

  /** When one of them was last heard of, ms by the log's clock; 0 when there is none. */
  get heardMs(): number {
    let newest = 0
    for (const { heardMs } of this.#newest.values()) newest = Math.max(newest, heardMs)
    return newest
  }

  /** Whether all of them have fallen silent by a time. */
  gone(nowMs: number): boolean {
    for (const newest of this.#newest.values()) if (!isSilent(newest, nowMs)) return false
    return true
  }

  hear(publisher: string, value: number, timeMs: number, heardMs: number, spanMs: number): void {
    const known = this.#newest.get(publisher)
    if (known === undefined) {
      this.#newest.set(publisher, { value, timeMs, heardMs, spanMs })
      return
    }
    known.heardMs = Math.max(known.heardMs, heardMs)
    known.spanMs = Math.max(spanMs, known.spanMs / 2)
    if (timeMs < known.timeMs || (timeMs === known.timeMs && value < known.value)) return
    known.timeMs = timeMs
    known.value = value
  }

  /** Drops a publisher that is known to be gone. */
  forget(publisher: string): void {
    this.#newest.delete(publisher)
  }

  /**
   * Drops who is gone; what the others combine to, or undefined when nobody is left.
   *
   * @param own a value of one's own that goes with them; NaN for none
   */
  value(nowMs: number, own: number = Number.NaN): number | undefined {
    let combined = Number.isNaN(own) ? undefined : own
    for (const [publisher, newest] of this.#newest) {
      if (isSilent(newest, nowMs)) {
        this.#newest.delete(publisher)
        continue
      }
      const { value } = newest
      if (combined === undefined) combined = value
      else if (this.combine === 'sum') combined = saturated(combined + value)
      else combined = this.combine === 'min' ? Math.min(combined, value) : Math.max(combined, value)
    }
    return combined
  }

  encode(writer: Writer): void {
    writer.u8(COMBINES.indexOf(this.combine))
    writer.varint(this.#newest.size)
    for (const [publisher, { value, timeMs, heardMs, spanMs }] of this.#newest) {
      writer.text(publisher)
      writer.f64(value)
      writer.f64(timeMs)
      writer.f64(heardMs)
      writer.f64(spanMs)
    }
  }

  static decode(reader: Reader): Combined {
    const combined = new Combined(COMBINES[reader.u8()] as Combine)
    const count = reader.varint()
    for (let index = 0; index < count; index++) {
      const publisher = reader.text()
      const [value, timeMs, heardMs, spanMs] = [reader.f64(), reader.f64(), reader.f64(), reader.f64()]
      combined.#newest.set(publisher, { value, timeMs, heardMs, spanMs })
    }
    return combined
  }
}

function isSilent({ heardMs, spanMs }: Newest, nowMs: number): boolean {
  return nowMs - heardMs > Math.max(LEAST_SILENCE_MS, SILENT_SPANS * spanMs)
}
