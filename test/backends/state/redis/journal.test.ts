import { describe, expect, test } from 'vitest'
import { openState } from '../../../../backends/state/open.ts'
import type { JournalLog } from '../../../../backends/state/journal.ts'
import { inspectGroup } from '../../../../backends/state/redis/inspect.ts'
import { RedisJournal } from '../../../../backends/state/redis/journal.ts'
import { RedisState } from '../../../../backends/state/redis.ts'
import { UsageError } from '../../../../client/errors.ts'
import { type Space, useRedis } from '../../../gateway/journal/redis.ts'
import { acquired, windowOf } from '../../../contract/state.ts'

const redis = useRedis()

async function openOn(space: Space, group = 'g'): Promise<{ state: RedisState; journal: JournalLog }> {
  const state = openState(space.url, { journal: true }) as RedisState
  await state.open({ group, backends: ['a'], settings: { journal: 'yes' } })
  if (state.journal === undefined) throw new Error('no journal')
  return { state, journal: state.journal }
}

async function add(space: Space, shard: number, ...bundles: string[]): Promise<string[]> {
  const ids: string[] = []
  for (const bundle of bundles) {
    ids.push(String(await space.connection.send('XADD', space.keys.stream(shard), '*', 'b', Buffer.from(bundle))))
  }
  return ids
}

const texts = (read: Awaited<ReturnType<JournalLog['read']>>): [number, string[]][] =>
  read
    .map(({ shard, entries }): [number, string[]] => [shard, entries.map(({ bundle }) => String(bundle))])
    .sort(([left], [right]) => left - right)

describe('a state on the journal', () => {
  test('reads on from what is committed, and at first from the oldest entry kept', async () => {
    const space = await redis.space()
    await add(space, 1, 'a', 'b')
    await add(space, 2, 'x')
    const { state, journal } = await openOn(space)
    for (const shard of [1, 2, 3]) await acquired(state, shard)
    const first = await journal.read([1, 2, 3])
    expect(texts(first)).toEqual([
      [1, ['a', 'b']],
      [2, ['x']],
      [3, []],
    ])
    const position = first.find(({ shard }) => shard === 1)?.entries[0]?.position as string
    await state.commit([windowOf(1, 10_000, { position })])
    const [last] = await add(space, 1, 'c')
    const second = await journal.read([1, 2, 3])
    expect(texts(second)).toEqual([
      [1, ['c']],
      [2, []],
      [3, []],
    ])
    expect(second.find(({ shard }) => shard === 1)?.entries[0]?.position).toBe(last)
    await state.close()
    const next = await openOn(space)
    await acquired(next.state, 1)
    expect(texts(await next.journal.read([1]))).toEqual([[1, ['b', 'c']]])
    await next.state.close()
  })

  test('tells until when it has read, by the clock of the node', async () => {
    const space = await redis.space()
    const { state, journal } = await openOn(space)
    await acquired(state, 0)
    const [empty] = await journal.read([0])
    expect(Math.abs((empty?.readUntilMs as number) - Date.now())).toBeLessThan(60_000)
    const [id = ''] = await add(space, 0, 'a')
    const [read] = await journal.read([0])
    expect(Number.parseInt(id, 10)).toBeGreaterThanOrEqual(empty?.readUntilMs as number)
    expect(read?.readUntilMs).toBeGreaterThanOrEqual(Number.parseInt(id, 10))
    await state.close()
  })

  test('reads much in parts, nothing twice, and those first that are furthest behind', async () => {
    const space = await redis.space()
    const { state, journal } = await openOn(space)
    const large = 'x'.repeat(64 * 1024)
    for (const shard of [4, 5]) {
      await acquired(state, shard)
      await add(space, shard, ...Array.from({ length: 60 }, () => large))
    }
    const counts = new Map([
      [4, 0],
      [5, 0],
    ])
    const ends: (number | undefined)[] = []
    for (let part = 0; part < 3; part++) {
      const reads = await journal.read([4, 5])
      for (const { shard, entries } of reads) counts.set(shard, (counts.get(shard) as number) + entries.length)
      ends.push(...reads.map(({ readUntilMs }) => readUntilMs))
    }
    expect([...counts.values()]).toEqual([60, 60])
    // of the first part at least one was not read to its end
    expect(ends.slice(0, 2)).toContain(undefined)
    expect(ends.slice(-2).every((end) => end !== undefined)).toBe(true)
    await state.close()
  })

  test('reads shards one by one where they lie on several nodes, those that can be read', async () => {
    const space = await redis.space()
    const journal = new RedisJournal({
      connection: () => space.connection,
      prefix: space.prefix,
      group: () => 'g',
      isTogether: false,
    })
    await add(space, 1, 'a')
    await add(space, 3, 'c')
    await space.connection.send('SET', space.keys.stream(2), 'no stream')
    expect(texts(await journal.read([1, 2, 3]))).toEqual([
      [1, ['a']],
      [3, ['c']],
    ])
    await expect(journal.read([2])).rejects.toThrow(/WRONGTYPE/)
  })

  test('keeps what a group has not released, from when it first came', async () => {
    const space = await redis.space()
    const [one, two] = [await openOn(space, 'one'), await openOn(space, 'two')]
    for (const { state } of [one, two]) await acquired(state, 0)
    const ids = await add(space, 0, 'a', 'b')
    await one.journal.release(new Map([[0, ids[1] as string]]))
    expect(await space.length()).toBe(2)
    await two.journal.release(new Map([[0, ids[0] as string]]))
    expect(await space.length()).toBe(1)
    await two.journal.release(new Map([[0, ids[1] as string]]))
    expect(await space.length()).toBe(0)
    for (const { state } of [one, two]) await state.close()
  })

  test('shows how far each group is behind what came last', async () => {
    const space = await redis.space()
    const { state, journal } = await openOn(space)
    for (const shard of [0, 1, 2]) await acquired(state, shard)
    await state.beat()
    const lags = async (): Promise<(number | undefined)[]> =>
      (await inspectGroup(space.connection, space.prefix, 'g')).shards.slice(0, 3).map(({ lagMs }) => lagMs)
    expect(await lags()).toEqual([undefined, undefined, undefined])
    const ids: string[] = []
    for (const ms of [1_000, 3_000, 8_000]) {
      ids.push(String(await space.connection.send('XADD', space.keys.stream(0), `${ms}-0`, 'b', Buffer.from('x'))))
    }
    await add(space, 1, 'y')
    expect(await lags()).toEqual([7_000, 0, undefined])
    // committed, or without effect and so only released
    await state.commit([windowOf(0, 10_000, { position: ids[0] as string })])
    await journal.release(new Map([[0, ids[1] as string]]))
    expect(await lags()).toEqual([5_000, 0, undefined])
    await journal.release(new Map([[0, ids[2] as string]]))
    expect(await lags()).toEqual([0, 0, undefined])
    await state.close()
  })

  test('releases what was committed and not released, as by an owner that was killed in between', async () => {
    const space = await redis.space()
    const { state } = await openOn(space)
    await acquired(state, 0)
    const ids = await add(space, 0, 'a', 'b')
    await state.commit([windowOf(0, 10_000, { position: ids[1] as string })])
    expect(await space.length()).toBe(2)
    await acquired(state, 0)
    expect(await space.length()).toBe(0)
    await state.close()
  })
})

test('a state without Redis has no journal', () => {
  for (const url of ['memory:', 'file:x']) {
    expect(() => openState(url, { journal: true })).toThrow(UsageError)
    expect(() => openState(url, { journal: true })).toThrow(/--journal: needs a Redis.*--state redis:\/\/HOST/)
  }
  expect((openState('redis://127.0.0.1:1') as RedisState).journal).toBeUndefined()
})
