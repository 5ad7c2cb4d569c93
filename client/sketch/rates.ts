import type { Reader, Writer } from '../wire/bytes.ts'
import { saturated } from './saturated.ts'

const MINUTE_S = 60

/** Below one event in a quarter of an hour a meter is still. */
export const STILL_PER_SECOND: number = 1 / (15 * MINUTE_S)

/**
 * Exponentially weighted moving rates over 1, 5 and 15 minutes, as of Unix load averages. Within a window the rate is
 * taken as even, so one step with weight `1 - exp(-seconds / minutes)` equals Tapes' many ticks of 5 s.
 */
export class Rates {
  m1 = 0
  m5 = 0
  m15 = 0
  /** End of the window they stand for, seconds since the epoch; 0 before the first. */
  #end = 0

  /** Takes the number of events of a window, and stillness since the window before. */
  advance(count: number, end: number, interval: number): void {
    const rate = saturated(count / interval)
    if (this.#end === 0) {
      this.m1 = this.m5 = this.m15 = rate
    } else {
      const gap = end - this.#end - interval
      if (gap > 0) this.#step(0, gap)
      this.#step(rate, interval)
    }
    this.#end = end
  }

  get still(): boolean {
    return Math.abs(this.m15) < STILL_PER_SECOND
  }

  encode(writer: Writer): void {
    writer.f64(this.m1)
    writer.f64(this.m5)
    writer.f64(this.m15)
    writer.f64(this.#end)
  }

  static decode(reader: Reader): Rates {
    const rates = new Rates()
    rates.m1 = reader.f64()
    rates.m5 = reader.f64()
    rates.m15 = reader.f64()
    rates.#end = reader.f64()
    return rates
  }

  #step(rate: number, seconds: number): void {
    this.m1 = stepped(this.m1, rate, seconds / MINUTE_S)
    this.m5 = stepped(this.m5, rate, seconds / (5 * MINUTE_S))
    this.m15 = stepped(this.m15, rate, seconds / (15 * MINUTE_S))
  }
}

function stepped(mean: number, rate: number, time: number): number {
  return saturated(mean + saturated(rate - mean) * (1 - Math.exp(-time)))
}
