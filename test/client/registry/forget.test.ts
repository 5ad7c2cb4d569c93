import { describe, expect, test } from 'vitest'
import { Recorder } from '../../../client/registry/recorder.ts'
import { decodeFrame } from '../../../client/wire/frame.ts'

function recorder(maxSeries: number): Recorder {
  return new Recorder({
    maxSeries,
    onFrame: () => {},
    clock: { now: () => 1_700_000_000_000 },
    random: (bytes) => bytes.fill(7),
    warn: () => {},
  })
}

function counter(of: Recorder, name: string, level = 'info'): { inc(): void } {
  return of.handle('counter', { name, source: 'web', tags: {}, level, combine: 'last' })
}

describe('a recorder that forgets', () => {
  test('makes room for as many series as no level holds any more, and goes on numbering', () => {
    const held = recorder(2)
    counter(held, 'a').inc()
    counter(held, 'a', 'debug').inc()
    counter(held, 'b').inc()
    held.seal()
    held.forget(({ name, level }) => name === 'a' && level === 'info')
    expect(held.size).toBe(2)
    counter(held, 'c').inc()
    expect(held.overflowed).toBe(1)
    held.forget(({ name }) => name === 'a')
    counter(held, 'd').inc()
    expect(held.overflowed).toBe(1)
    const frames = held.seal().map(({ bytes }) => decodeFrame(bytes))
    expect(frames.flatMap(({ entries }) => entries.map(({ series }) => series.name)).sort()).toEqual([
      'd',
      'zibrato.overflow',
    ])
    counter(held, 'b').inc()
    const [again] = held.seal()
    expect(again?.seq).toBe(2)
  })
})
