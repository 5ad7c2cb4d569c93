import { beforeEach, describe, expect, test } from 'vitest'
import { Liveness } from '../../../client/transport/liveness.ts'
import { REPLAY_MS, Ring } from '../../../client/transport/ring.ts'
import { BEAT, BEAT_MS, BROKER_TOPIC, PING_PREFIX, PONG_PREFIX } from '../../../client/wire/topic.ts'

let nowMs = 0
let ring: Ring
let liveness: Liveness

beforeEach(() => {
  nowMs = 1_000
  ring = new Ring({ now: () => nowMs })
  liveness = new Liveness(
    ring,
    () => nowMs,
    () => 0.5,
  )
})

const subscribe = (topic: string): void => liveness.hear(1, `\u0001${topic}`)
const say = (message: string): void => liveness.hear(message.charCodeAt(0), message)

/** Sends a frame, if that can be; answers how many were sent. */
function send(): number {
  ring.push([{ bytes: new Uint8Array(10), level: 'info', shard: 0, seq: 1, closedMs: nowMs }])
  return sendAll()
}

function sendAll(): number {
  let count = 0
  for (let taken = ring.take(); taken !== undefined; taken = ring.take()) {
    count += taken.frames
    liveness.sent()
  }
  return count
}

describe('the liveness of a connection', () => {
  test('begins with a greeting, after which what was sent last is sent again to those who subscribe anew', () => {
    subscribe(BROKER_TOPIC)
    subscribe('#')
    expect(liveness.connected).toBe(true)
    expect(send() + send()).toBe(2)
    nowMs += REPLAY_MS
    expect(send()).toBe(1)
    subscribe(BROKER_TOPIC)
    expect(sendAll()).toBe(0)
    subscribe('#')
    expect(sendAll()).toBe(1)
  })

  test('ends with three beats that do not come, and with the next one begins again', () => {
    subscribe(BROKER_TOPIC)
    subscribe('#')
    send()
    nowMs += 3 * BEAT_MS - 1
    liveness.check()
    expect(liveness.connected).toBe(true)
    nowMs += 1
    liveness.check()
    expect(liveness.connected).toBe(false)
    expect(liveness.silent).toBe(true)
    expect(ring.waiting).toBe(1)
    say(BEAT)
    expect(liveness.connected).toBe(true)
    expect(sendAll()).toBe(1)
  })

  test('is confirmed by the answer to a ping that was asked after all was sent', () => {
    subscribe(BROKER_TOPIC)
    subscribe('#')
    expect(liveness.confirmed).toBe(true)
    expect(liveness.ping()).toBeUndefined()
    send()
    expect(liveness.confirmed).toBe(false)
    const ping = liveness.ping() as string
    const id = ping.slice(PING_PREFIX.length)
    expect(liveness.ping()).toBeUndefined()
    say(`${PONG_PREFIX}other,another`)
    expect(liveness.confirmed).toBe(false)
    // an earlier ping says nothing of what is sent after it
    send()
    say(`${PONG_PREFIX}${id}`)
    expect(liveness.confirmed).toBe(false)
    expect(liveness.ping()).toBe(ping)
    say(`${PONG_PREFIX}other,${id}`)
    expect(liveness.confirmed).toBe(true)
  })

  test('asks again when a ping is not answered', () => {
    subscribe(BROKER_TOPIC)
    subscribe('#')
    send()
    const ping = liveness.ping()
    nowMs += 500
    expect(liveness.ping()).toBe(ping)
  })

  test('of a foreign broker is its subscriptions, and one that is repeated has all sent again', () => {
    expect(liveness.connected).toBe(false)
    subscribe('#')
    expect(liveness.connected).toBe(true)
    expect(liveness.confirmed).toBe(true)
    expect(send()).toBe(1)
    expect(liveness.confirmed).toBe(true)
    nowMs += 100 * BEAT_MS
    liveness.check()
    expect(liveness.connected).toBe(true)
    expect(send()).toBe(1)
    subscribe('#')
    expect(sendAll()).toBe(1)
    liveness.hear(0, '\u0000#')
    expect(liveness.connected).toBe(false)
  })
})
