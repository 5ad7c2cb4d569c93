import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { anySignal } from '../../client/signal.ts'
import { until } from '../until.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('is aborted by a timeout that nobody else holds, however often memory is collected', async () => {
  const { signal: other } = new AbortController()
  const signals = Array.from({ length: 20 }, () => anySignal(AbortSignal.timeout(100), other))
  await until(() => {
    collect()
    return signals.every(({ aborted }) => aborted)
  })
  for (const { reason } of signals) expect((reason as Error).name).toBe('TimeoutError')
})

test('is aborted by any of the others', () => {
  const controller = new AbortController()
  const signal = anySignal(AbortSignal.timeout(60_000), new AbortController().signal, controller.signal)
  expect(signal.aborted).toBe(false)
  controller.abort(new Error('no longer wanted'))
  expect(signal.reason).toEqual(new Error('no longer wanted'))
})
