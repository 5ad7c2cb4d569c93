import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RedisServer } from '../redis-server.ts'
import { BRIEF_CLIENTS, Fleet } from './fleet.ts'
import { Playground } from './processes.ts'

let server: RedisServer

beforeAll(async () => {
  server = await RedisServer.start()
})

afterAll(() => server.stop())

const all = (recorded: number): object => ({ counter: recorded, meter: recorded, timer: recorded })

describe('workers that share their shards lose and double nothing', () => {
  it('when they become four, and two of them are told to stop', async () => {
    await using ground = new Playground()
    using fleet = await Fleet.start(server, ground, 'grow')
    const first = await fleet.worker()
    await fleet.client('one')
    await fleet.client('two')
    await fleet.flushed([first])
    const rest = await Promise.all([fleet.worker(), fleet.worker(), fleet.worker()])
    await fleet.shared([first, ...rest])
    await fleet.flushed([first, ...rest])
    const [second, third, fourth] = rest
    expect(await Promise.all([first.stop(), third.stop()])).toEqual([0, 0])
    await fleet.shared([second, fourth])
    await fleet.flushed([second, fourth])
    const recorded = await fleet.finish([second, fourth])
    expect(fleet.sums()).toEqual(all(recorded))
    // nobody was left to go on: the last one has delivered everything
    const { shards, workers } = await fleet.inspect()
    expect(workers).toEqual([])
    expect(shards.every(({ owner, outbox }) => owner === undefined && outbox.windows === 0)).toBe(true)
  }, 60_000)

  it('also from publishers that are gone before their shard is handed over', async () => {
    await using ground = new Playground()
    using fleet = await Fleet.start(server, ground, 'brief')
    const first = await fleet.worker()
    await fleet.shared([first])
    await fleet.client('one', BRIEF_CLIENTS)
    await fleet.client('two', BRIEF_CLIENTS)
    await fleet.flushed([first])
    let left = [first]
    for (let round = 0; round < 3; round++) {
      const next = await fleet.worker()
      await fleet.shared([...left, next])
      expect(await left[0]?.stop()).toBe(0)
      left = [next]
      await fleet.shared(left)
    }
    const recorded = await fleet.finish(left)
    expect(fleet.sums()).toEqual(all(recorded))
  }, 60_000)

  it('when one is killed, whose shards another has within the lease', async () => {
    await using ground = new Playground()
    using fleet = await Fleet.start(server, ground, 'kill')
    const [first, second] = [await fleet.worker(), await fleet.worker()]
    await fleet.shared([first, second])
    await fleet.client('one')
    await fleet.client('two')
    await fleet.flushed([first, second])
    await first.stop('SIGKILL')
    await fleet.shared([second])
    await fleet.flushed([second])
    const recorded = await fleet.finish([second])
    expect(fleet.sums()).toEqual(all(recorded))
  }, 60_000)

  it('when one stands still for longer than its lease and then goes on', async () => {
    await using ground = new Playground()
    using fleet = await Fleet.start(server, ground, 'pause')
    const [first, second] = [await fleet.worker(), await fleet.worker()]
    await fleet.shared([first, second])
    await fleet.client('one')
    await fleet.client('two')
    for (let round = 0; round < 2; round++) {
      await fleet.flushed([first, second])
      first.child.kill('SIGSTOP')
      await fleet.shared([second])
      await fleet.flushed([second])
      first.child.kill('SIGCONT')
      await fleet.shared([first, second])
    }
    await fleet.flushed([first, second])
    expect(first.stderr).toContain('another worker has these shards')
    const recorded = await fleet.finish([first, second])
    expect(fleet.sums()).toEqual(all(recorded))
  }, 60_000)
})
