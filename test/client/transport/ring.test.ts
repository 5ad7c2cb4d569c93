import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { REPLAY_MS, RETRY_MS, Ring } from '../../../client/transport/ring.ts'
import type { SealedFrame } from '../../../client/transport/transport.ts'
import { Player, step } from './ring-player.ts'

describe('a ring', () => {
  const steps = fc.array(step, { maxLength: 60 })

  test('sends in order, only what is subscribed, and all that is asked for again', () => {
    fc.assert(
      fc.property(steps, (actions) => {
        const player = new Player({ messageBytes: 50 })
        const patient = actions.filter((action) => action.do !== 'wait' || action.ms < RETRY_MS / 3)
        for (const action of patient) {
          player.play(action)
          player.check()
        }
        player.finish()
        // with room for all, only what nobody ever took can be missing
        expect(Object.keys(player.ring.stats().dropped).filter((reason) => reason !== 'unsubscribed')).toEqual([])
        // and what was sent and is too old to be sent again
        expect(player.seen.filter(({ owed }) => owed && player.nowMs < RETRY_MS)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    ['drops its oldest', { waitingBytes: 100, sentBytes: 80 }],
    ['refuses', { waitingBytes: 100, sentBytes: 200, refuse: true }],
    ['keeps nothing that was sent', { waitingBytes: 100, sentBytes: 1 }],
  ])('that %s at its bounds loses nothing uncounted', (_, options) => {
    fc.assert(
      fc.property(steps, (actions) => {
        const player = new Player(options)
        for (const action of actions) {
          player.play(action)
          player.check()
        }
        player.finish()
      }),
      { numRuns: 500 },
    )
  })
})

function frame(shard = 0, size = 10, level = 'info'): SealedFrame {
  return { bytes: new Uint8Array(size), level, shard, seq: 1, closedMs: 0 }
}

describe('a frame in a ring', () => {
  test('of a topic nobody ever took is kept 15 s, and counted apart', () => {
    let nowMs = 0
    const ring = new Ring({ now: () => nowMs, waitingBytes: 100 })
    ring.push([frame()])
    expect(ring.full).toBe(false)
    expect(ring.pressing).toBe(0)
    expect(ring.take()).toBeUndefined()
    nowMs = REPLAY_MS - 1
    ring.expire()
    expect(ring.waiting).toBe(1)
    nowMs = REPLAY_MS
    ring.expire()
    expect(ring.stats()).toMatchObject({ waiting: 0, dropped: { unsubscribed: 1 } })
  })

  test('of a topic that was taken once waits as long as it must', () => {
    let nowMs = 0
    const ring = new Ring({ now: () => nowMs })
    ring.subscribe('#00|')
    ring.unsubscribe('#00|')
    ring.push([frame()])
    nowMs = 10 * RETRY_MS
    ring.expire()
    expect(ring.pressing).toBe(1)
    ring.subscribe('#00|info|')
    expect(ring.take()?.frames).toBe(1)
  })

  test('that went out and is not heard of for 5 minutes is unknown', () => {
    let nowMs = 0
    const ring = new Ring({ now: () => nowMs })
    ring.subscribe('#')
    ring.push([frame()])
    ring.take()
    ring.disconnect()
    nowMs = RETRY_MS
    ring.expire()
    expect(ring.stats()).toMatchObject({ sent: 1, waiting: 0, unknown: 1, dropped: {} })
  })

  test('that is given up at the end is counted by what was known', () => {
    const ring = new Ring({ now: () => 0 })
    ring.subscribe('#00|')
    ring.push([frame(0)])
    ring.take()
    ring.disconnect()
    ring.push([frame(0), frame(1)])
    ring.abandon(true)
    expect(ring.stats()).toMatchObject({
      waiting: 0,
      waitingBytes: 0,
      unknown: 1,
      dropped: { closed: 1, unsubscribed: 1 },
    })
  })

  test('that had to go early is reported once', () => {
    let nowMs = 0
    const horizons: number[] = []
    const ring = new Ring({ now: () => nowMs, sentBytes: 25, onShortHorizon: (ms) => horizons.push(ms) })
    ring.subscribe('')
    for (let index = 0; index < 9; index++) {
      nowMs = index * 100
      ring.push([frame()])
      ring.take()
    }
    expect(horizons).toEqual([200])
  })
})

describe('an onlooker of a ring', () => {
  const take = (ring: Ring): number | undefined => ring.take()?.frames

  test('sees a copy of what nobody takes, once, and the frame waits on', () => {
    const ring = new Ring({ now: () => 0 })
    ring.push([frame(3)])
    ring.subscribe('#0')
    expect(ring.ready).toBe(true)
    expect(take(ring)).toBe(1)
    expect(take(ring)).toBeUndefined()
    expect(ring.stats()).toMatchObject({ sent: 0, waiting: 1 })
    ring.push([frame(3)])
    expect(take(ring)).toBe(1)
    ring.subscribe('#03|')
    expect([take(ring), take(ring)]).toEqual([1, 1])
    expect(ring.stats()).toMatchObject({ sent: 2, waiting: 0 })
  })

  test('does not make a topic one that somebody took', () => {
    let nowMs = 0
    const ring = new Ring({ now: () => nowMs, waitingBytes: 100 })
    ring.subscribe('#1')
    ring.push([frame(20)])
    expect(take(ring)).toBe(1)
    expect(ring.subscribed).toBe(false)
    expect(ring.pressing).toBe(0)
    nowMs = REPLAY_MS
    ring.expire()
    expect(ring.stats()).toMatchObject({ waiting: 0, dropped: { unsubscribed: 1 } })
  })

  test('sees again what the socket refused, and nothing once it is gone or the connection is', () => {
    const ring = new Ring({ now: () => 0 })
    ring.subscribe('#0')
    ring.push([frame(1)])
    const taken = ring.take()
    if (taken === undefined) throw new Error('nothing to show')
    ring.untake(taken)
    expect(take(ring)).toBe(1)
    ring.unsubscribe('#0')
    ring.push([frame(1)])
    expect(take(ring)).toBeUndefined()
    ring.subscribe('#0')
    ring.disconnect()
    expect(take(ring)).toBeUndefined()
    expect(ring.waiting).toBe(2)
  })
})
