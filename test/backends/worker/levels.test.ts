import { expect, test } from 'vitest'
import { counter, frame, keyIn } from './frames.ts'
import { Owner, SHARD } from './owner.ts'

test('a shard that takes some levels passes frames of others over, and remembers nothing of their publishers', async () => {
  const owner = new Owner({ levels: new Set(['info', 'crit']) })
  const key = keyIn(SHARD, 'orders')
  owner.take(
    frame({ level: 'info' }, counter(key, 1)),
    frame({ level: 'debug' }, counter(key, 10)),
    frame({ level: 'crit' }, counter(key, 100)),
    // whatever else is wrong with it
    frame({ level: 'debug', shard: SHARD + 1 }, counter(key, 1_000)),
  )
  owner.pass(10_000)
  expect((await owner.last()).map((rollup) => (rollup as { value?: number }).value)).toEqual([101])
  expect(owner.shard.figures).toMatchObject({ merged: 2, invalid: 0, replays: 0 })
  expect(owner.shard.publishers).toBe(2)
})
