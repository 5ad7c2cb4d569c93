import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRedisUrl } from '../../../../backends/state/redis/url.ts'
import { UsageError } from '../../../../client/errors.ts'

const DEFAULTS = {
  kind: 'single',
  nodes: [{ host: '127.0.0.1', port: 6379 }],
  path: undefined,
  master: undefined,
  username: undefined,
  password: undefined,
  sentinelUsername: undefined,
  sentinelPassword: undefined,
  db: 0,
  tls: false,
  ca: undefined,
  cert: undefined,
  key: undefined,
  prefix: 'zibrato:',
  leaseMs: 5_000,
  replicas: 0,
  timeoutMs: 10_000,
  waitMs: 30_000,
}

const ENV = { USER: 'me', SECRET: 'p@ss:w/rd?', EMPTY: '' }

describe('the URL of a Redis', () => {
  it.each([
    ['redis://', { label: 'redis://' }],
    ['redis://h:1/2', { label: 'redis://h:1/2', nodes: [{ host: 'h', port: 1 }], db: 2 }],
    ['REDIS://h?db=3', { label: 'redis://h', nodes: [{ host: 'h', port: 6379 }], db: 3 }],
    ['redis://:p%3A@h', { label: 'redis://h', nodes: [{ host: 'h', port: 6379 }], password: 'p:' }],
    ['redis://p@h', { label: 'redis://h', nodes: [{ host: 'h', port: 6379 }], password: 'p' }],
    [
      'redis://$USER:${SECRET}@[::1]:7',
      { label: 'redis://[::1]:7', nodes: [{ host: '::1', port: 7 }], username: 'me', password: 'p@ss:w/rd?' },
    ],
    [
      'rediss://h?ca=/a&cert=/b&key=/c&prefix=x:&lease=1m&timeout=2s&wait=0s&replicas=2',
      {
        label: 'rediss://h',
        nodes: [{ host: 'h', port: 6379 }],
        tls: true,
        ca: '/a',
        cert: '/b',
        key: '/c',
        prefix: 'x:',
        leaseMs: 60_000,
        timeoutMs: 2_000,
        waitMs: 0,
        replicas: 2,
      },
    ],
    ['redis+unix:///run/r.sock?db=1', { label: 'redis+unix:///run/r.sock', nodes: [], path: '/run/r.sock', db: 1 }],
    [
      'redis+sentinel://a,b:1/main/4?tls&sentinel-user=u&sentinel-password=$SECRET',
      {
        label: 'redis+sentinel://a,b:1/main/4',
        kind: 'sentinel',
        master: 'main',
        db: 4,
        tls: true,
        nodes: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 1 },
        ],
        sentinelUsername: 'u',
        sentinelPassword: 'p@ss:w/rd?',
      },
    ],
    [
      'redis+cluster://a,b:1?tls=no',
      {
        label: 'redis+cluster://a,b:1',
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 6379 },
          { host: 'b', port: 1 },
        ],
      },
    ],
  ])('is understood: %s', (url, expected) => {
    expect(parseRedisUrl(url, ENV)).toEqual({ ...DEFAULTS, ...expected })
  })

  it.each([
    ['redis+cluster://a/1', /no number of a database/],
    ['redis+cluster://a?db=1', /has no databases/],
    ['redis+unix://host/x', /names no socket/],
    ['redis+unix://', /names no socket/],
    ['redis+unix:///run/50%', /write it as %25/],
    ['redis://h?ca=/x', /for TLS; write rediss/],
    ['rediss://h?cert=/x', /go together/],
    ['redis://h?replicas=many', /replicas=many must be a whole number from 0 to 10/],
    ['redis://h?lease=1s&lease=2s', /lease is given twice/],
    ['redis://h?timeout=1ms', /timeout must lie between 1 and 300 seconds/],
    ['redis://se%cret@h', /write it as %25/],
    ['redis://$EMPTY@h', /EMPTY is not set/],
    ['redis://secret@a@b', /cannot be read|no host and port/],
  ])('that makes no sense is refused with the way out: %s', (url, reason) => {
    expect(() => parseRedisUrl(url, ENV)).toThrow(UsageError)
    expect(() => parseRedisUrl(url, ENV)).toThrow(reason)
    expect(() => parseRedisUrl(url, ENV)).not.toThrow(/secret/)
  })

  it('is read or refused, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('redis', 'rediss', 'redis+sentinel', 'redis+cluster', 'redis+unix'),
        fc.string(),
        (scheme, rest) => {
          let outcome: unknown
          try {
            outcome = parseRedisUrl(`${scheme}://${rest}`, {}).kind
          } catch (error) {
            outcome = error instanceof UsageError ? 'refused' : error
          }
          expect(['single', 'sentinel', 'cluster', 'refused']).toContain(outcome)
        },
      ),
    )
  })

  it('carries any user, password and prefix', () => {
    const part = fc.string().filter((text) => !text.includes('$'))
    fc.assert(
      fc.property(part.filter(Boolean), part, part, (user, password, prefix) => {
        const [u, p, x] = [user, password, prefix].map(encodeURIComponent)
        const url = parseRedisUrl(`redis://${u}:${p}@h?prefix=${x}`, {})
        expect([url.username, url.password, url.prefix]).toEqual([user, password, prefix])
        expect(url.label).toBe('redis://h')
      }),
    )
  })
})
