import { describe, expect, test } from 'vitest'
import { UsageError } from '../../client/errors.ts'
import { Tokens, parseToken, parseTokens } from '../../gateway/index.ts'

describe('tokens', () => {
  test('are written as NAME=SECRET, and the secret may hold "="', () => {
    expect(parseToken('shop=a=b==')).toEqual({ name: 'shop', secret: 'a=b==' })
  })

  test('take a secret from the environment', () => {
    expect(parseToken('shop=$SHOP', { SHOP: 'hunter2' })).toEqual({ name: 'shop', secret: 'hunter2' })
    expect(() => parseToken('shop=$SHOP', {})).toThrow(UsageError)
  })

  test('stand in a file as lines', () => {
    const text = '# who may post\nshop=hunter2\r\n\n  edge=$EDGE\n'
    expect(parseTokens(text, { EDGE: 'hunter3' })).toEqual([
      { name: 'shop', secret: 'hunter2' },
      { name: 'edge', secret: 'hunter3' },
    ])
  })

  test('stand in a file as JSON, with levels', () => {
    const text = '{"shop":"hunter2","edge":{"secret":"$EDGE","levels":["info"]}}'
    expect(parseTokens(text, { EDGE: 'hunter3' })).toEqual([
      { name: 'shop', secret: 'hunter2', levels: undefined },
      { name: 'edge', secret: 'hunter3', levels: ['info'] },
    ])
  })

  test.each([
    ['no name', () => parseToken('hunter2')],
    ['an empty name', () => parseToken('=hunter2')],
    ['a bad line', () => parseTokens('shop=x\nhunter2')],
    ['broken JSON', () => parseTokens('{"shop": hunter2}')],
    ['no secret', () => parseTokens('{"shop": {"secrets": "hunter2"}}')],
    ['levels that are no list', () => parseTokens('{"shop": {"secret": "hunter2", "levels": "info"}}')],
    ['a name with a space', () => new Tokens([{ name: 'a b', secret: 'hunter2' }])],
    ['an empty secret', () => new Tokens([{ name: 'a', secret: '' }])],
    ['a secret no header can carry', () => new Tokens([{ name: 'a', secret: 'hunter2 ü' }])],
    ['a level that is none', () => new Tokens([{ name: 'a', secret: 'hunter2', levels: ['a|b'] }])],
    [
      'one name twice',
      () =>
        new Tokens([
          { name: 'a', secret: 'hunter2' },
          { name: 'a', secret: 'hunter3' },
        ]),
    ],
    [
      'one secret twice',
      () =>
        new Tokens([
          { name: 'a', secret: 'hunter2' },
          { name: 'b', secret: 'hunter2' },
        ]),
    ],
  ])('with %s are a usage error that does not give the secret away', (_, make) => {
    let error: unknown
    try {
      make()
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(UsageError)
    expect(String((error as Error).message)).not.toContain('hunter')
    expect(String((error as Error).cause)).not.toContain('hunter')
  })

  test('are found by their header, each its own', async () => {
    const tokens = new Tokens(
      Array.from({ length: 50 }, (_, index) => ({ name: `t${index}`, secret: `secret-${index}` })),
    )
    for (const index of [0, 7, 49]) {
      const header = `Bearer secret-${index}`
      expect(tokens.known(header)).toBeUndefined()
      expect((await tokens.find(header))?.name).toBe(`t${index}`)
      expect(tokens.known(header)?.name).toBe(`t${index}`)
    }
    for (const header of [undefined, '', 'Bearer', 'Bearer secret-50', 'secret-1', `Bearer ${'x'.repeat(5_000)}`]) {
      expect(await tokens.find(header)).toBeUndefined()
      expect(tokens.known(header)).toBeUndefined()
    }
  })
})
