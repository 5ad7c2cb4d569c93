import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../client/errors.ts'
import { parseBackendUrl } from '../../backends/url.ts'

const SECRET = 'p@ss/w?rd:&#%41+$x '
const env = { USER_NAME: 'ops@example.com', TOKEN: SECRET, HOST: 'db.internal', PORT: '8125', FILE: 'a?b#c.jsonl' }

function failure(work: () => unknown): string {
  let caught: unknown
  try {
    work()
  } catch (error) {
    caught = error
  }
  expect(caught).toBeInstanceOf(UsageError)
  return inspect(caught)
}

describe('the parts of a backend URL', () => {
  test('are host, port, path, user and password behind two slashes', () => {
    const url = parseBackendUrl('influx+https://me:pw%40x@Example.COM:8086/api/v2?bucket=b%20c', {})
    expect([url.scheme, url.host, url.port, url.path]).toEqual(['influx+https', 'example.com', 8086, '/api/v2'])
    expect([...url.params]).toEqual([['bucket', 'b c']])
    expect([url.user, url.password]).toEqual(['me', 'pw@x'])
  })

  test.each([
    ['console:', '', ''],
    ['file:metrics.jsonl', '', 'metrics.jsonl'],
    ['file:/var/log/m.jsonl', '', '/var/log/m.jsonl'],
    ['file:///var/log/m.jsonl', '', '/var/log/m.jsonl'],
    ['file:my%20metrics%3F.jsonl', '', 'my metrics?.jsonl'],
    ['file:a#b@c.jsonl', '', 'a#b@c.jsonl'],
    ['module:./a/b.js', '', './a/b.js'],
    ['statsd://[::1]:8125', '::1', ''],
  ])('of %s are the host %j and the path %j', (text, host, path) => {
    const url = parseBackendUrl(text, {})
    expect([url.host, url.path]).toEqual([host, path])
  })

  test('come from the environment whatever characters they have there', () => {
    const url = parseBackendUrl('librato://$USER_NAME:${TOKEN}@$HOST:$PORT/$FILE?prefix=${HOST}.x&raw=$TOKEN', env)
    expect([url.user, url.password, url.host, url.port, url.path]).toEqual([
      'ops@example.com',
      SECRET,
      'db.internal',
      8125,
      '/a?b#c.jsonl',
    ])
    expect([...url.params]).toEqual([
      ['prefix', 'db.internal.x'],
      ['raw', SECRET],
    ])
  })

  test('keep dollar signs that name no variable', () => {
    expect(parseBackendUrl('file:%24HOME-$5-$', {}).path).toBe('$HOME-$5-$')
  })

  test('survive encoding, whatever they are', () => {
    const part = fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => text.isWellFormed())
    fc.assert(
      fc.property(part, part, part, (user, password, option) => {
        const encode = (text: string): string => encodeURIComponent(text)
        const url = parseBackendUrl(`x1://${encode(user)}:${encode(password)}@h/?a=${encode(option)}`, {})
        expect([url.user, url.password, url.params.text('a')]).toEqual([user, password, option])
      }),
    )
  })
})

describe('the options common to all backends', () => {
  test('are taken out of those that the backend sees', () => {
    const url = parseBackendUrl('file:x?in-doubt=drop&timeout=5s&sync=yes', {})
    expect([url.inDoubt, url.timeoutMs]).toEqual(['drop', 5000])
    expect([...url.params]).toEqual([['sync', 'yes']])
  })

  test.each([
    ['file:x?in-doubt=maybe', 'in-doubt=maybe must be drop or resend'],
    ['file:x?timeout=soon', 'timeout=soon must be a duration'],
    ['file:x?timeout=1s&timeout=2s', 'timeout is given twice'],
    ['file:x?known-as=', 'known-as is empty'],
  ])('are checked: %s', (text, message) => {
    expect(failure(() => parseBackendUrl(text, {}))).toContain(message)
  })
})

describe('the key of a backend', () => {
  const key = (text: string, variables: Record<string, string> = env): string => parseBackendUrl(text, variables).key

  test('stays the same after a new password, another order of options, and other common options', () => {
    expect(key('x1://u:one@h?a=1&b=2&token=5')).toBe(key('x1://u:two@h?b=2&a=1&timeout=3&in-doubt=drop&token=6'))
    expect(key('x1://$TOKEN@h')).toBe(key('x1://$TOKEN@h', { TOKEN: 'another' }))
  })

  test('differs for another scheme, host, port, path, user or option', () => {
    const keys = ['x1://u:p@h:1/a?o=1', 'x2://u:p@h:1/a?o=1', 'x1://u:p@i:1/a?o=1', 'x1://u:p@h:2/a?o=1']
    keys.push('x1://u:p@h:1/b?o=1', 'x1://v:p@h:1/a?o=1', 'x1://u:p@h:1/a?o=2')
    expect(new Set(keys.map((text) => key(text))).size).toBe(keys.length)
  })

  test('is what known-as says, whatever the target', () => {
    expect(key('x1://u:p@h?known-as=eu')).toBe('x1#eu')
    expect(key('x1://v:q@i?known-as=eu')).toBe('x1#eu')
  })
})

describe('secrets', () => {
  test('are in nothing that is printed of a URL', () => {
    const text = 'librato://ops-user:hunter2222@h/$TOKEN?api-token=sesame99&prefix=$TOKEN'
    const url = parseBackendUrl(text, { TOKEN: 'opensesame' })
    const shown = `${String(url)} ${url.key} ${url.label} ${inspect(url, { showHidden: true })} ${JSON.stringify(url)}`
    for (const secret of ['ops-user', 'hunter2222', 'sesame99', 'opensesame']) expect(shown).not.toContain(secret)
    expect(url.label).toBe('librato://h/$TOKEN?prefix=$TOKEN')
  })

  test('are taken out of the messages of others', () => {
    const url = parseBackendUrl('x1://me:hunter2222@h?token=$TOKEN', { TOKEN: 'opensesame' })
    expect(url.redact('fetch of http://h?token=opensesame with hunter2222 failed')).toBe(
      'fetch of http://h?token=*** with *** failed',
    )
  })

  test.each([
    'user:hunter2222@host/x',
    'x1://user:hunter/2222@host',
    'x1://user:12/hunter2222@host',
    'x1://user:hunter2222%zz@host',
    'x1://user:hunter2222@host:port',
    'hunter2222@host?x',
    'x1://user:hunter2222@host?timeout=x',
    'x1://h?in-doubt=drop&in-doubt=drop&token=hunter2222',
  ])('are not in the error for %s', (text) => {
    let shown = ''
    try {
      const url = parseBackendUrl(text, {})
      // without slashes this is a path like any other; `openBackend` then knows no such scheme
      expect(text.startsWith('user:')).toBe(true)
      shown = url.scheme
    } catch (error) {
      shown = inspect(error)
    }
    expect(shown).not.toContain('hunter')
    expect(shown).not.toContain('2222')
  })
})

describe('a backend URL is refused', () => {
  test.each([
    ['metrics.jsonl', 'backend URL "metrics.jsonl" names no backend'],
    ['', 'names no backend'],
    ['c:\\metrics', 'names no backend'],
    ['x1://h:99999', 'port'],
    ['x1://[::1', 'host and port'],
    ['file:50%.jsonl', '%25'],
    ['x1://$NOT_THERE@h', 'environment variable NOT_THERE is not set'],
    ['x1://${EMPTY}@h', 'environment variable EMPTY is not set'],
    ['x1://h?=5', 'has no name'],
  ])('when it is %s', (text, message) => {
    expect(failure(() => parseBackendUrl(text, { EMPTY: '' }))).toContain(message)
  })
})

describe('options', () => {
  const params = (query: string): ReturnType<typeof parseBackendUrl>['params'] =>
    parseBackendUrl(`x1:?${query}`, env).params

  test('come as what they mean', () => {
    const options = params('n=5&d=250ms&on=&off=no&c=b&l=1&l=2&t=a+b')
    expect(options.number('n', { min: 1, whole: true })).toBe(5)
    expect(options.durationMs('d')).toBe(250)
    expect([options.flag('on'), options.flag('off'), options.flag('other')]).toEqual([true, false, undefined])
    expect(options.choice('c', ['a', 'b'])).toBe('b')
    expect(options.list('l')).toEqual(['1', '2'])
    expect(options.text('t')).toBe('a+b')
    options.refuseUnknown()
  })

  test('that make no sense are named with what they may be', () => {
    expect(failure(() => params('n=x').number('n', { min: 1, max: 9 }))).toContain('n=x must be a number from 1 to 9')
    expect(failure(() => params('n=1.5').number('n', { whole: true }))).toContain('must be a whole number')
    expect(failure(() => params('f=maybe').flag('f'))).toContain('f=maybe must be yes or no')
    expect(failure(() => params('c=z').choice('c', ['a', 'b']))).toContain('c=z must be a or b')
    expect(failure(() => params('token=hunter2').number('token'))).not.toContain('hunter2')
    expect(failure(() => params('n=$TOKEN').number('n'))).toContain('n=$TOKEN must be')
    expect(failure(() => params('a=1').required('b'))).toContain('b is missing')
  })

  test('that nobody asked for are named together with those there are', () => {
    const options = params('synk=yes')
    options.flag('sync')
    expect(failure(() => options.refuseUnknown())).toContain('unknown option "synk"; it takes sync, in-doubt, timeout')
  })
})
