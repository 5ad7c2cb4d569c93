import { expect, test } from 'vitest'
import { Zibrato } from '../../client/index.ts'
import { sleep } from '../../client/sleep.ts'

test('a flush that has losses to tell of takes no more than its time for both posts', async () => {
  const limits: number[] = []
  const z = new Zibrato({
    exitHooks: false,
    flushInterval: '1h',
    onWarning: () => {},
    transport: {
      send: () => true,
      connected: () => true,
      drain: () => Promise.resolve(),
      pull: async (timeoutMs, seal) => {
        limits.push(timeoutMs)
        seal()
        await sleep(30)
        return true
      },
      close: () => Promise.resolve(),
      stats: () => ({ sent: 0, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0, dropped: {} }),
    },
  })
  z.counter('orders').inc(Number.NaN)
  await z.flush(1_000)
  expect(limits).toHaveLength(2)
  expect(limits[0]).toBe(1_000)
  // a timer may be early by less than its unit
  expect(limits[1]).toBeLessThanOrEqual(971)
  await z.close()
})
