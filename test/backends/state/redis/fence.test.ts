import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SharedState } from '../../../../backends/state/shared.ts'
import { acquired, appended, bytes, entriesOf, text, windowOf } from '../../../contract/state.ts'
import { RedisServer } from '../../../redis-server.ts'
import { until } from '../../../until.ts'
import { Shared } from './pair.ts'

let server: RedisServer
let spaces = 0

beforeAll(async () => {
  server = await RedisServer.start()
})

afterAll(() => server.stop())

const shared = (): Shared => new Shared(server, `f${spaces++}:`)

const SHARD = 7
const END = 10_000

/** An owner that has done everything, and one that took its shard over while the first knew nothing of it. */
async function taken(on: Shared): Promise<{ first: SharedState; second: SharedState; lost: number[]; id: string }> {
  const first = await on.open()
  const lost: number[] = []
  first.onLost = (shards) => void lost.push(...shards)
  await acquired(first, SHARD)
  const [one] = await appended(first, [
    { shard: SHARD, bundle: bytes('one') },
    { shard: SHARD, bundle: bytes('two') },
  ])
  await first.commit([windowOf(SHARD, END, { position: one?.position })])
  const [entry] = await first.outbox()
  await first.attempt('a', [entry?.id as string])
  const second = await on.open()
  expect(await second.acquire(SHARD)).toBeUndefined()
  await on.endLease(SHARD)
  await acquired(second, SHARD)
  return { first, second, lost, id: entry?.id as string }
}

type Write = (state: SharedState, id: string) => Promise<unknown>

const writes: [what: string, write: Write, tells: boolean][] = [
  ['append', (state) => state.append([{ shard: SHARD, bundle: bytes('late') }]), true],
  ['commit of its next window', (state) => state.commit([windowOf(SHARD, END * 2)]), true],
  [
    'commit with a full outbox entry',
    (state) => state.commit([windowOf(SHARD, END * 2, { outbox: bytes('x') })]),
    true,
  ],
  ['settlement', (state, id) => state.settle('a', [id]), true],
  ['release', (state, id) => state.release('a', [id]), true],
  ['beat', (state) => state.beat(), true],
  // nobody needs to be told of what one gave away
  ['giving up', (state) => state.giveUp([SHARD]), false],
  ['end', (state) => state.close(), false],
]

describe('of an owner whose shard was taken over while it stood still', () => {
  it.each(writes)('the %s changes nothing, and the shard is known to be lost', async (_what, write, tells) => {
    await using on = shared()
    const { first, second, lost, id } = await taken(on)
    const before = await on.contents(SHARD)
    await write(first, id)
    // what is written ahead of a commit, under a name of its own that nobody points at, ends by itself
    const after = Object.entries(await on.contents(SHARD)).filter(([key]) => !/(snapshot|window):20000/.test(key))
    expect(Object.fromEntries(after)).toEqual(before)
    if (tells) await until(() => lost.length > 0)
    expect(lost).toEqual(tells ? [SHARD] : [])
    // and the new owner goes on as if nothing had happened
    expect(await second.append([{ shard: SHARD, bundle: bytes('three') }])).toMatchObject([{}])
    await second.commit([windowOf(SHARD, END * 2)])
    expect((await second.outbox()).map(({ end }) => end)).toEqual([END, END * 2])
  })

  it('a new attempt is not marked, and nothing of the shard is left to be delivered', async () => {
    await using on = shared()
    const { first, second, id } = await taken(on)
    await second.release('a', [id])
    const before = await on.contents(SHARD)
    await first.release('a', [id])
    await first.attempt('a', [id])
    expect(await on.contents(SHARD)).toEqual(before)
    expect(await first.outbox()).toEqual([])
    expect(first.holds(SHARD)).toBe(false)
  })

  it('appends are answered one by one, and those to its other shards go on', async () => {
    await using on = shared()
    const { first } = await taken(on)
    await acquired(first, 3)
    const answers = await first.append([
      { shard: SHARD, bundle: bytes('late') },
      { shard: 3, bundle: bytes('kept') },
      { shard: SHARD, bundle: bytes('late too') },
    ])
    expect(answers.map((answer) => answer !== undefined)).toEqual([false, true, false])
  })

  it('windows of other shards in the same commit are committed', async () => {
    await using on = shared()
    const { first } = await taken(on)
    await acquired(first, 3)
    await first.commit([windowOf(SHARD, END * 2), windowOf(3, END * 2)])
    expect((await first.outbox()).map(({ shard, end }) => [shard, end])).toEqual([[3, END * 2]])
  })

  it('its attempts are in doubt for the next, who reads what it appended and committed', async () => {
    await using on = shared()
    const { second } = await taken(on)
    expect(await second.outbox()).toMatchObject([{ shard: SHARD, end: END, attempted: ['a'] }])
    const third = await on.open()
    await on.endLease(SHARD)
    const restored = await acquired(third, SHARD)
    expect(restored.end).toBe(END)
    expect((await entriesOf(restored)).map(({ bundle }) => text(bundle))).toEqual(['two'])
  })

  it('the shard can be had again, as by a new owner', async () => {
    await using on = shared()
    const { first, second, lost } = await taken(on)
    await second.append([{ shard: SHARD, bundle: bytes('three') }])
    await first.beat()
    await until(() => lost.length > 0)
    await second.giveUp([SHARD])
    const restored = await acquired(first, SHARD)
    expect((await entriesOf(restored)).map(({ bundle }) => text(bundle))).toEqual(['two', 'three'])
    expect(await first.append([{ shard: SHARD, bundle: bytes('four') }])).toMatchObject([{}])
  })
})

describe('epochs', () => {
  it('grow with every owner, whichever way the shard comes to it', async () => {
    await using on = shared()
    const states = [await on.open(), await on.open(), await on.open()]
    const epochs: number[] = []
    for (let round = 0; round < 12; round++) {
      const state = states[round % 3] as SharedState
      await acquired(state, SHARD)
      epochs.push(await on.epoch(SHARD))
      if (round % 2 === 0) await state.giveUp([SHARD])
      else await on.endLease(SHARD)
    }
    expect(epochs).toEqual(epochs.toSorted((a, b) => a - b))
    expect(new Set(epochs).size).toBe(12)
  })

  it('keep apart what two owners wrote ahead for the same window', async () => {
    await using on = shared()
    const { first, second } = await taken(on)
    const of = (name: string): Parameters<SharedState['commit']>[0] => [
      windowOf(SHARD, END * 2, { outbox: bytes(name), snapshot: { kind: 'full', bytes: bytes(`s ${name}`) } }),
    ]
    await Promise.all([first.commit(of('first')), second.commit(of('second'))])
    await on.endLease(SHARD)
    const third = await on.open()
    const restored = await acquired(third, SHARD)
    expect(restored.snapshots.map(text)).toEqual(['s second'])
    const windows = await third.outbox()
    expect(text(await third.load(windows.at(-1)?.id as string))).toBe('second')
  })
})
