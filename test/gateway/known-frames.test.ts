import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { REMEMBERED_MS } from '../../client/wire/replay-filter.ts'
import { type FrameIdentity, KnownFrames, eachIdentity, encodeIdentities } from '../../gateway/known-frames.ts'

const word = fc.integer({ min: 0, max: 0xffffffff })
const identity: fc.Arbitrary<FrameIdentity> = fc.record({
  publisher: fc.record({ high: word, low: word }),
  level: fc.constantFrom('info', 'crit', 'dé'),
  shard: fc.integer({ min: 0, max: 31 }),
  seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
})

function frame(publisher: number, seq: number, shard = 0): FrameIdentity {
  return { publisher: { high: 0, low: publisher }, level: 'info', shard, seq }
}

describe('known frames', () => {
  test('are the same once written and read', () => {
    fc.assert(
      fc.property(fc.array(identity, { maxLength: 50 }), (frames) => {
        const read: FrameIdentity[] = []
        eachIdentity(encodeIdentities(frames), (each) => read.push(each))
        expect(read).toEqual(frames)
      }),
    )
  })

  test('are told by publisher, level, shard and seq', () => {
    const known = new KnownFrames()
    expect([known.admit(frame(1, 5), 0), known.admit(frame(1, 5), 0)]).toEqual([true, false])
    expect(known.judge(frame(1, 5))).toBe('replay')
    for (const other of [frame(2, 5), frame(1, 4), frame(1, 6), frame(1, 5, 1), { ...frame(1, 5), level: 'crit' }]) {
      expect(known.judge(other)).toBe('new')
    }
  })

  test('of too many publishers are not taken on, while those of others go on', () => {
    const known = new KnownFrames(2)
    known.admit(frame(1, 1), 0)
    known.admit(frame(2, 1, 7), 0)
    expect([known.judge(frame(3, 1)), known.judge(frame(1, 2)), known.judge(frame(1, 1))]).toEqual([
      'refused',
      'new',
      'replay',
    ])
    known.forget(REMEMBERED_MS + 1)
    expect([known.size, known.judge(frame(3, 1))]).toEqual([0, 'new'])
  })
})
