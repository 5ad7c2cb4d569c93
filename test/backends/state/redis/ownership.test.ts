import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { UsageError } from '../../../../client/errors.ts'
import { acquired, bytes, windowOf } from '../../../contract/state.ts'
import { RedisServer } from '../../../redis-server.ts'
import { until } from '../../../until.ts'
import { Shared } from './pair.ts'

let server: RedisServer
let spaces = 0

beforeAll(async () => {
  server = await RedisServer.start()
})

afterAll(() => server.stop())

const shared = (): Shared => new Shared(server, `o${spaces++}:`)

describe('a shard on Redis', () => {
  it('is one worker’s until that gives it up', async () => {
    await using on = shared()
    const [a, b] = [await on.open(), await on.open()]
    await acquired(a, 1)
    expect(await b.acquire(1)).toBeUndefined()
    expect([a.holds(1), b.holds(1)]).toEqual([true, false])
    await b.giveUp([1])
    expect(await b.acquire(1)).toBeUndefined()
    await a.giveUp([1])
    expect(a.holds(1)).toBe(false)
    await acquired(b, 1)
    expect(await a.append([{ shard: 1, bundle: bytes('x') }])).toEqual([undefined])
  })

  it('is given up by a worker that closes', async () => {
    await using on = shared()
    const [a, b] = [await on.open(), await on.open()]
    await acquired(a, 1)
    await a.close()
    expect(await b.acquire(1)).toBeDefined()
  })

  it('is free once its worker has said nothing for a lease, and not while it beats', async () => {
    await using on = shared()
    const [a, b] = [await on.open({}, '&lease=1s'), await on.open({}, '&lease=1s')]
    await acquired(a, 1)
    const since = performance.now()
    while (performance.now() - since < 1_500) {
      await a.beat()
      expect(await b.acquire(1)).toBeUndefined()
      expect(a.holds(1)).toBe(true)
    }
    await until(async () => (await b.acquire(1)) !== undefined)
    // by then the first knows by its own clock that it may be lost
    expect(a.holds(1)).toBe(false)
  })

  it('goes to one of several that ask at once', async () => {
    await using on = shared()
    const states = await Promise.all(Array.from({ length: 5 }, () => on.open()))
    for (let shard = 0; shard < 8; shard++) {
      const answers = await Promise.all(states.map((state) => state.acquire(shard)))
      expect(answers.filter((answer) => answer !== undefined)).toHaveLength(1)
    }
  })
})

describe('workers of a group on Redis', () => {
  it('know of each other from the first beat on, and not of other groups', async () => {
    await using on = shared()
    const [a, b, other] = [await on.open(), await on.open(), await on.open({ group: 'other' })]
    expect(await a.beat()).toEqual([a.id])
    expect((await b.beat()).toSorted()).toEqual([a.id, b.id].toSorted())
    expect(await other.beat()).toEqual([other.id])
    expect(await on.client.zrange(on.groups, '0', '-1')).toEqual(['g', 'other'])
  })

  it('forget one that has said nothing for a lease', async () => {
    await using on = shared()
    const [a, b] = [await on.open({}, '&lease=1s'), await on.open({}, '&lease=1s')]
    await b.beat()
    expect(await a.beat()).toHaveLength(2)
    await until(async () => (await a.beat()).length === 1)
    expect(Object.keys(await on.client.hgetall(on.key('infos')))).toEqual([a.id])
    expect(await b.beat()).toHaveLength(2)
  })

  it('leave one after the other, and only the last is told that it is alone', async () => {
    await using on = shared()
    const states = [await on.open(), await on.open(), await on.open()]
    for (const state of states) await state.beat()
    const others = await Promise.all(states.map((state) => state.leave()))
    expect(others.map((ids) => ids.length).toSorted((a, b) => a - b)).toEqual([0, 1, 2])
  })

  it('keep their shards after they have left, as long as they beat', async () => {
    await using on = shared()
    const [a, b] = [await on.open({}, '&lease=1s'), await on.open({}, '&lease=1s')]
    await acquired(a, 1)
    await a.beat()
    await a.leave()
    expect(await b.beat()).toEqual([b.id])
    const since = performance.now()
    while (performance.now() - since < 1_300) {
      expect(await a.beat()).toEqual([b.id])
      await b.beat()
      expect(await b.acquire(1)).toBeUndefined()
    }
    await a.commit([windowOf(1, 10)])
    expect(await a.outbox()).toHaveLength(1)
  })
})

describe('settings of a group on Redis', () => {
  const settings = { flush: '10s', levels: 'all' }

  it('are refused when they differ from those of workers that live, with both values and the way out', async () => {
    await using on = shared()
    const a = await on.open({ settings })
    await a.beat()
    const refused = on.open({ settings: { ...settings, flush: '5s' } })
    await expect(refused).rejects.toThrow(UsageError)
    await expect(refused).rejects.toThrow(/group g: .* flush 10s, this one 5s; .*--group.*stop/)
    // so is another lease, by which it would be misjudged
    await expect(on.open({ settings }, '&lease=9s')).rejects.toThrow(/lease 5s, this one 9s/)
    const b = await on.open({ settings })
    expect(await b.beat()).toHaveLength(2)
  })

  it('are refused at the first beat when others came in between', async () => {
    await using on = shared()
    const [a, b, c] = [
      await on.open({ settings }),
      await on.open({ settings: { ...settings, levels: 'info' } }),
      await on.open({ settings }),
    ]
    await a.beat()
    await expect(b.beat()).rejects.toThrow(/levels all, this one info/)
    expect(await c.beat()).toHaveLength(2)
    // one that was refused is nobody
    expect(await a.beat()).toHaveLength(2)
  })

  it('are replaced when nobody lives, whether they left or were killed', async () => {
    await using on = shared()
    const a = await on.open({ settings })
    await a.beat()
    await a.leave()
    const b = await on.open({ settings: { flush: '1s' } }, '&lease=1s')
    await b.beat()
    expect(JSON.parse((await on.client.get(on.key('settings'))) as string)).toEqual({ flush: '1s', lease: '1s' })
    // b says nothing any more
    await expect(on.open({ settings: { flush: '2s' } }, '&lease=1s')).rejects.toThrow('flush 1s, this one 2s')
    await until(() =>
      on.open({ settings: { flush: '2s' } }, '&lease=1s').then(
        () => true,
        () => false,
      ),
    )
  })

  it('bind those who name them, and nobody else', async () => {
    await using on = shared()
    const up = await on.open({ settings: { ...settings, broker: 'one:5550' } })
    await up.beat()
    const worker = await on.open({ settings })
    await worker.beat()
    await expect(on.open({ settings: { ...settings, broker: 'two:5550' } })).rejects.toThrow(/broker one:5550/)
    // also when the one that named it is gone, as long as anybody lives
    await up.leave()
    await expect(on.open({ settings: { ...settings, broker: 'two:5550' } })).rejects.toThrow(/broker one:5550/)
  })

  it('are looked at again by a worker that was taken for gone', async () => {
    await using on = shared()
    const a = await on.open({ settings }, '&lease=1s')
    await a.beat()
    await until(async () => {
      const b = await on.open({ settings: { ...settings, flush: '1s' } }, '&lease=1s').catch(() => undefined)
      return b !== undefined && (await b.beat()).length === 1
    })
    await expect(a.beat()).rejects.toThrow(/flush 1s, this one 10s/)
    await expect(a.beat()).rejects.toThrow(UsageError)
    await until(async () => (await a.beat().catch(() => [])).length === 1)
  })

  it('may differ between groups', async () => {
    await using on = shared()
    const a = await on.open({ settings })
    await a.beat()
    const b = await on.open({ group: 'other', settings: { ...settings, flush: '60s' } })
    expect(await b.beat()).toEqual([b.id])
  })
})
