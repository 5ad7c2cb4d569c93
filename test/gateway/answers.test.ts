import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { ERROR_STATUS } from '../../gateway/answers.ts'

test('every error code stands in the table of gateway/README.md with its status, and no other does', async () => {
  const text = await readFile(new URL('../../gateway/README.md', import.meta.url), 'utf8')
  const documented = [...text.matchAll(/^\| (\d{3}) +\| `(\w+)` +\|/gm)].map(([, status, code]) => [
    code,
    Number(status),
  ])
  expect(Object.fromEntries(documented)).toEqual(ERROR_STATUS)
})
