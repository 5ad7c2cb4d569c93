import { expect, test } from 'vitest'
import { complaint, forgetJournalGroup, journalHoldings } from '../../../gateway/journal/groups.ts'
import { RELEASE } from '../../../gateway/journal/scripts.ts'
import { type Space, useRedis } from './redis.ts'

const redis = useRedis()

async function release(space: Space, shard: number, group: string, position: string): Promise<void> {
  await space.connection.run(RELEASE, [space.keys.stream(shard), space.keys.groups(shard)], [group, position])
}

async function add(space: Space, shard: number, ...added: string[]): Promise<void> {
  for (const id of added) await space.connection.send('XADD', space.keys.stream(shard), id, 'b', 'x'.repeat(100))
}

async function ids(space: Space, shard: number): Promise<string[]> {
  const entries = (await space.connection.send('XRANGE', space.keys.stream(shard), '-', '+')) as [Buffer, Buffer[]][]
  return entries.map(([id]) => String(id))
}

test('what all groups are past is trimmed, and nothing before', async () => {
  const space = await redis.space()
  await add(space, 3, '1000-0', '1000-1', '2000-0', '9999999999999-7', '9999999999999-18')
  await release(space, 3, 'a', '0-0')
  await release(space, 3, 'b', '1000-0')
  expect(await ids(space, 3)).toHaveLength(5)
  await release(space, 3, 'a', '1000-1')
  expect(await ids(space, 3)).toEqual(['1000-1', '2000-0', '9999999999999-7', '9999999999999-18'])
  await release(space, 3, 'b', '9999999999999-18')
  expect(await ids(space, 3)).toEqual(['2000-0', '9999999999999-7', '9999999999999-18'])
  // an earlier position, said late, changes nothing
  await release(space, 3, 'a', '500-0')
  // as numbers, not as texts
  await release(space, 3, 'a', '9999999999999-7')
  expect(await ids(space, 3)).toEqual(['9999999999999-18'])
  await release(space, 3, 'a', '9999999999999-18')
  expect(await ids(space, 3)).toEqual([])
})

test('holdings tell which group keeps how much, and since when', async () => {
  const space = await redis.space()
  await add(space, 0, '1000-0', '2000-0', '3000-0')
  await add(space, 9, '1500-0')
  await release(space, 0, 'slow', '0-0')
  await release(space, 0, 'fast', '2000-0')
  await release(space, 9, 'slow', '0-0')
  await release(space, 9, 'fast', '0-0')
  const holdings = await journalHoldings(space.connection, space.prefix)
  expect(holdings).toMatchObject({ entries: 4, oldestMs: 1000 })
  expect(holdings.bytes).toBeGreaterThan(400)
  expect(holdings.groups.toSorted((a, b) => (a.group < b.group ? -1 : 1))).toEqual([
    { group: 'fast', entries: 1, sinceMs: 1500 },
    { group: 'slow', entries: 4, sinceMs: 1000 },
  ])
  expect(complaint(holdings, 301_200, 300_000)).toMatch(
    /^4 entries, about 1 MB, wait for slow \(4 entries, 300 s\); start/,
  )
  expect(complaint(holdings, 300_999, 300_000)).toBeUndefined()
})

test('nothing is said of an empty journal, and of one that nobody reads that nobody does', async () => {
  const space = await redis.space()
  const empty = await journalHoldings(space.connection, space.prefix)
  expect(empty).toEqual({ entries: 0, bytes: 0, oldestMs: undefined, groups: [] })
  expect(complaint(empty, 1e15, 0)).toBeUndefined()
  await add(space, 0, '1-0')
  expect(complaint(await journalHoldings(space.connection, space.prefix), 1e9, 0)).toMatch(
    /group of workers, and there is none/,
  )
})

test('a forgotten group keeps nothing any more, but what others need stays', async () => {
  const space = await redis.space()
  await add(space, 0, '1000-0', '2000-0')
  await add(space, 31, '1000-0')
  for (const shard of [0, 31]) await release(space, shard, 'old', '0-0')
  await release(space, 0, 'new', '1000-0')
  expect(await forgetJournalGroup(space.connection, 'other', space.prefix)).toBe(false)
  expect(await forgetJournalGroup(space.connection, 'old', space.prefix)).toBe(true)
  expect(await ids(space, 0)).toEqual(['2000-0'])
  // with nobody left, it is kept for whoever comes
  expect(await ids(space, 31)).toEqual(['1000-0'])
  expect(await forgetJournalGroup(space.connection, 'old', space.prefix)).toBe(false)
})
