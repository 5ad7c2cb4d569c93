import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Rates, STILL_PER_SECOND } from '../../../client/sketch/rates.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'

/** An average that ticks every 5 s, as Dropwizard's EWMA and Tapes' meter do. */
class Ticking {
  rate: number | undefined
  readonly #minutes: number

  constructor(minutes: number) {
    this.#minutes = minutes
  }

  tick(events: number): void {
    const instant = events / 5
    if (this.rate === undefined) this.rate = instant
    else this.rate += (1 - Math.exp(-5 / 60 / this.#minutes)) * (instant - this.rate)
  }
}

function restored(rates: Rates): Rates {
  const writer = new Writer(64)
  rates.encode(writer)
  return Rates.decode(new Reader(writer.bytes()))
}

describe('the rates of a meter', () => {
  it('are what ticking every 5 s makes of even windows and of the gaps between them, over restarts too', () => {
    const window = fc.record({
      perTick: fc.integer({ min: -20, max: 1_000 }),
      ticksIdleBefore: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(200)),
      restart: fc.boolean(),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 24 }),
        fc.array(window, { minLength: 1, maxLength: 30 }),
        (ticks, windows) => {
          let rates = new Rates()
          const naive = [1, 5, 15].map((minutes) => new Ticking(minutes))
          let end = 1_700_000_000
          windows.forEach(({ perTick, ticksIdleBefore, restart }, index) => {
            const idle = index === 0 ? 0 : ticksIdleBefore
            end += (idle + ticks) * 5
            for (const one of naive) {
              for (let tick = 0; tick < idle; tick++) one.tick(0)
              for (let tick = 0; tick < ticks; tick++) one.tick(perTick)
            }
            rates.advance(perTick * ticks, end, ticks * 5)
            if (restart) rates = restored(rates)
            const got = [rates.m1, rates.m5, rates.m15]
            naive.forEach(({ rate = 0 }, which) => expect(got[which]).toBeCloseTo(rate, 8))
          })
        },
      ),
    )
  })

  it('start at the rate of the first window', () => {
    const rates = new Rates()
    rates.advance(30, 1_700_000_010, 10)
    expect([rates.m1, rates.m5, rates.m15]).toEqual([3, 3, 3])
  })

  it('do not move while the rate stays', () => {
    const rates = new Rates()
    for (let end = 1_700_000_000; end < 1_700_001_000; end += 0.25) rates.advance(1, end, 0.25)
    expect([rates.m1, rates.m5, rates.m15]).toEqual([4, 4, 4])
  })

  it('are not disturbed by a window that overlaps the one before', () => {
    const rates = new Rates()
    rates.advance(60, 1_700_000_060, 60)
    rates.advance(10, 1_700_000_060, 10)
    expect(rates.m1).toBe(1)
  })

  it('are still below one event in a quarter of an hour, and not in the window that had one', () => {
    const rates = new Rates()
    expect(STILL_PER_SECOND).toBe(1 / 900)
    rates.advance(1, 1_700_000_010, 10)
    expect(rates.still).toBe(false)
    rates.advance(0, 1_700_000_010 + 4_040, 10)
    expect(rates.still).toBe(false)
    rates.advance(0, 1_700_000_010 + 4_060, 10)
    expect(rates.still).toBe(true)
  })

  it('stay finite, and find their way back from absurd counts', () => {
    const rates = new Rates()
    const counts = [Number.MAX_VALUE, -Number.MAX_VALUE, Number.MAX_VALUE, Number.POSITIVE_INFINITY, 0, 0]
    counts.forEach((count, index) => {
      rates.advance(count, 1_700_000_000 + index * 0.25, 0.25)
      for (const rate of [rates.m1, rates.m5, rates.m15]) expect(Number.isFinite(rate)).toBe(true)
    })
    rates.advance(0, 1_800_000_000, 0.25)
    expect([rates.m1, rates.m15]).toEqual([0, 0])
    expect(rates.still).toBe(true)
  })
})
