import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Combined } from '../../../client/sketch/combined.ts'
import { COMBINES, type Combine } from '../../../client/sketch/gauge.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'

function restored(combined: Combined): Combined {
  const writer = new Writer(64)
  combined.encode(writer)
  return Combined.decode(new Reader(writer.bytes()))
}

const T0 = 1_700_000_000_000

describe('a combined gauge', () => {
  it('is what a naive model makes of its living publishers, over restarts too', () => {
    const word = fc.record({
      publisher: fc.nat(4),
      value: fc.integer({ min: -100, max: 100 }),
      pass: fc.nat(20_000),
      spanMs: fc.constantFrom(0, 5_000, 10_000, 15_000),
      restart: fc.boolean(),
    })
    const combines = fc.constantFrom<Combine>('sum', 'min', 'max')
    fc.assert(
      fc.property(combines, fc.array(word, { maxLength: 40 }), (combine, words) => {
        let combined = new Combined(combine)
        const model = new Map<number, { value: number; heardMs: number; spanMs: number }>()
        let nowMs = T0
        for (const { publisher, value, pass, spanMs, restart } of words) {
          combined.hear(String(publisher), value, nowMs, nowMs, spanMs)
          const known = model.get(publisher)
          const longest = known === undefined ? spanMs : Math.max(spanMs, known.spanMs / 2)
          // of two values at one time the larger stays
          const kept = known !== undefined && known.heardMs === nowMs ? Math.max(known.value, value) : value
          model.set(publisher, { value: kept, heardMs: nowMs, spanMs: longest })
          nowMs += pass
          if (restart) combined = restored(combined)
          for (const [who, heard] of model) {
            if (nowMs - heard.heardMs > Math.max(30_000, 3 * heard.spanMs)) model.delete(who)
          }
          const values = [...model.values()].map((heard) => heard.value)
          const wanted = {
            sum: values.reduce((sum, one) => sum + one, 0),
            min: Math.min(...values),
            max: Math.max(...values),
          }
          expect(combined.gone(nowMs)).toBe(values.length === 0)
          expect(combined.value(nowMs)).toBe(values.length === 0 ? undefined : wanted[combine as 'sum'])
          expect(combined.size).toBe(values.length)
        }
      }),
    )
  })

  it.each(COMBINES)('knows after a restart what it combines by: %s', (combine) => {
    expect(restored(new Combined(combine)).combine).toBe(combine)
  })

  it('takes the newest value of a publisher, not the one that came last, but hears of it all the same', () => {
    const combined = new Combined('sum')
    combined.hear('a', 5, T0 + 2_000, T0, 5_000)
    combined.hear('a', 3, T0 + 1_000, T0 + 29_000, 5_000)
    combined.hear('a', 4, T0 + 2_000, T0 + 29_000, 5_000)
    expect(combined.value(T0 + 59_000)).toBe(5)
    expect(combined.heardMs).toBe(T0 + 29_000)
    expect(combined.value(T0 + 59_001)).toBeUndefined()
    expect(combined.heardMs).toBe(0)
  })

  it('stays alive for exactly 30 s, or three spans where those are longer', () => {
    const combined = new Combined('max')
    combined.hear('short', 2, T0, T0, 1_000)
    combined.hear('long', 1, T0, T0, 12_000)
    expect(combined.value(T0 + 30_000)).toBe(2)
    expect(combined.value(T0 + 30_001)).toBe(1)
    expect(combined.value(T0 + 36_000)).toBe(1)
    expect(combined.value(T0 + 36_001)).toBeUndefined()
  })

  it('stays finite', () => {
    const combined = new Combined('sum')
    for (const publisher of ['a', 'b', 'c']) combined.hear(publisher, 1e308, T0, T0, 5_000)
    expect(combined.value(T0)).toBe(Number.MAX_VALUE)
  })
})
