import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const CALLS = 1_000_000
const PROGRAM = fileURLToPath(new URL('allocation.ts', import.meta.url))

test('recording on a kept handle allocates nothing', async () => {
  // a young generation that holds it all, so that what is allocated shows
  const flags = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256', '--import', 'tsx', PROGRAM]
  const { stdout } = await promisify(execFile)(process.execPath, flags)
  const bytes = JSON.parse(stdout) as Record<string, number>
  expect(Object.keys(bytes).length).toBe(10)
  // V8 may or may not box one fraction on its way into a call, 16 bytes; any object or closure would show
  expect(Object.entries(bytes).filter(([, size]) => size / CALLS > 20)).toEqual([])
  for (const way of ['inc', 'dec', 'mark', 'with tags that are kept']) expect(bytes[way]).toBeLessThan(1_000_000)
})
