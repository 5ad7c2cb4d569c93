import { Rates } from '../sketch/rates.ts'
import type { Reader, Writer } from '../wire/bytes.ts'

/** As Tapes and Dropwizard tick. */
export const TICK_MS = 5_000

/** The rates of a meter, which move in ticks of 5 s: within one, what was counted waits for its end. */
export class TickingRates {
  #startMs: number
  #rates = new Rates()
  #ticks = 0
  #waiting = 0

  constructor(nowMs: number) {
    this.#startMs = nowMs
  }

  /** Takes what was counted between two times. */
  add(count: number, sinceMs: number, nowMs: number): void {
    this.at(sinceMs)
    this.#waiting += count
    this.at(nowMs)
  }

  /** As they stand at a time. */
  at(nowMs: number): Rates {
    const ticks = Math.floor((nowMs - this.#startMs) / TICK_MS)
    const passed = ticks - this.#ticks
    if (passed > 0) {
      this.#rates.advance(this.#waiting, (this.#startMs + ticks * TICK_MS) / 1000, (passed * TICK_MS) / 1000)
      this.#ticks = ticks
      this.#waiting = 0
    }
    return this.#rates
  }

  encode(writer: Writer): void {
    writer.f64(this.#startMs)
    writer.f64(this.#ticks)
    writer.f64(this.#waiting)
    this.#rates.encode(writer)
  }

  /** Takes over what {@link encode} wrote. */
  restore(reader: Reader): void {
    this.#startMs = reader.f64()
    this.#ticks = reader.f64()
    this.#waiting = reader.f64()
    this.#rates = Rates.decode(reader)
  }
}
