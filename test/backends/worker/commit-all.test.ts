import { expect, it } from 'vitest'
import { counter, frame, keyIn } from './frames.ts'
import { Owner, SHARD } from './owner.ts'

it('a shard whose state lost what was committed commits all that it knows next, also without anything new', async () => {
  const owner = new Owner()
  const [early, late] = [keyIn(SHARD, 'early.'), keyIn(SHARD, 'late.')]
  owner.take(frame({ seq: 1 }, counter(early, 5)))
  owner.pass(10_000)
  owner.take(frame({ seq: 2 }, counter(late, 7)))
  owner.pass(10_000)
  expect(owner.kinds).toEqual(['changes', 'changes'])
  owner.shard.commitAll()
  expect(owner.shard.dirty).toBe(true)
  owner.pass(10_000)
  expect(owner.kinds.at(-1)).toBe('full')
  expect(owner.shard.dirty).toBe(false)
  // from that snapshot alone: totals go on, and what was merged is a replay
  const next = owner.restored()
  next.take(frame({ seq: 1 }, counter(early, 5)), frame({ seq: 3 }, counter(early, 1), counter(late, 1)))
  next.pass(10_000)
  const totals = (await next.windows()).flatMap(({ rollups }) =>
    rollups.map((rollup) => [rollup.name.split('.')[0], rollup.type === 'counter' ? rollup.total : undefined]),
  )
  expect(Object.fromEntries(totals)).toEqual({ early: 6, late: 8 })
})
