import { Writable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { globMatcher } from '../../bin/cli/globs.ts'
import { Printer } from '../../bin/cli/printer.ts'

describe('names to show', () => {
  test.each([
    [[], 'anything', true],
    [['orders'], 'orders', true],
    [['orders'], 'orders.paid', false],
    [['http.*'], 'http.get', true],
    [['http.*'], 'httpXget', false],
    [['*.get'], 'http.a.get', true],
    [['order?'], 'orders', true],
    [['order?'], 'order', false],
    [['a', 'b*'], 'b', true],
    [['a+(b)[c]{d}^$|\\'], 'a+(b)[c]{d}^$|\\', true],
    [['*'], 'ünïcode 🙂', true],
    [['?'], '🙂', true],
  ])('%j fit %j: %s', (patterns, name, fits) => {
    expect(globMatcher(patterns)(name)).toBe(fits)
  })
})

test('a reader that has stopped reading misses lines instead of filling the memory', () => {
  const stuck = new Writable({ write: () => {} })
  const printer = new Printer(stuck)
  for (let index = 0; index < 10_000; index++) printer.print('x'.repeat(1_000))
  expect(printer.skipped).toBeGreaterThan(4_000)
  expect(stuck.writableLength).toBeLessThan(5 << 20)
})

test('a reader that has gone away is told of', async () => {
  const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) })
  const printer = new Printer(broken)
  printer.print('line')
  await expect(printer.gone).resolves.toBeUndefined()
  printer.print('and another')
})
