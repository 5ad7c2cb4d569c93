import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type ObjectFigures, relayMetrics } from '../../../gateway/relay/figures.ts'
import { newProgress } from '../../../gateway/relay/progress.ts'
import type { ObjectNamespace } from '../../../gateway/relay/runtime.ts'
import { type RelayEnv, parseSettings } from '../../../gateway/relay/settings.ts'

const RELAY = {} as ObjectNamespace
const env: RelayEnv = { RELAY, ZIBRATO_TOKENS: 'shop=s3cret', UPSTREAM_URL: 'https://metrics.example.com' }

describe('settings of the relay', () => {
  test('need an upstream and tokens, and nothing else', () => {
    const { tokens, upstream, ...rest } = parseSettings(env)
    expect(tokens?.size).toBe(1)
    expect(upstream).toEqual({
      service: undefined,
      url: 'https://metrics.example.com/v1/metrics',
      token: undefined,
    })
    expect(rest).toEqual({ groups: 4, location: undefined, maxBytes: 1 << 28, lingerMs: 1_000, postBytes: 1 << 20 })
  })

  test('are texts, or what wrangler.toml makes of numbers and booleans', () => {
    const given = { ...env, ZIBRATO_TOKENS: '', ZIBRATO_INSECURE: true, RELAY_GROUPS: 32, RELAY_BYTES: '2000000' }
    expect(parseSettings(given)).toMatchObject({ tokens: undefined, groups: 32, maxBytes: 2_000_000 })
    expect(parseSettings({ ...env, RELAY_LINGER: '250ms', RELAY_LOCATION: 'weur' })).toMatchObject({
      lingerMs: 250,
      location: 'weur',
    })
  })

  test('take a path, and a service in place of a host', () => {
    const service = { fetch: () => Promise.reject(new Error('not called')) }
    expect(parseSettings({ ...env, UPSTREAM_URL: 'http://host/a/b?c=d' }).upstream.url).toBe('http://host/a/b?c=d')
    expect(parseSettings({ ...env, UPSTREAM_URL: '', UPSTREAM: service }).upstream).toEqual({
      service,
      url: 'https://upstream/v1/metrics',
      token: undefined,
    })
  })

  test.each<[Partial<Record<keyof RelayEnv, unknown>>, string]>([
    [{ RELAY: undefined }, 'RELAY: the binding'],
    [{ ZIBRATO_TOKENS: undefined }, 'ZIBRATO_TOKENS: without tokens'],
    [{ ZIBRATO_TOKENS: '', ZIBRATO_INSECURE: 'false' }, 'ZIBRATO_TOKENS: without tokens'],
    [{ ZIBRATO_TOKENS: 's3cret' }, 'a token has no name'],
    [{ ZIBRATO_TOKENS: 'a b=s3cret' }, 'its name must be'],
    [{ UPSTREAM_URL: undefined }, 'UPSTREAM_URL: is not set'],
    [{ UPSTREAM_URL: 'metrics.example.com' }, 'UPSTREAM_URL: is no URL'],
    [{ UPSTREAM_URL: 'tcp://metrics.example.com' }, 'UPSTREAM_URL: is no URL'],
    [{ UPSTREAM_URL: 'https://user:s3cret@host' }, 'UPSTREAM_URL: is no URL'],
    [{ UPSTREAM_TOKEN: 'Bearer s3cret' }, 'UPSTREAM_TOKEN: must be'],
    [{ RELAY_GROUPS: '3' }, 'RELAY_GROUPS: 3 must be 1, 2, 4'],
    [{ RELAY_GROUPS: '64' }, 'RELAY_GROUPS: "64" must be a whole number from 1 to 32'],
    [{ RELAY_BYTES: '1MB' }, 'RELAY_BYTES: "1MB" must be a whole number'],
    [{ RELAY_POST_BYTES: '0' }, 'RELAY_POST_BYTES: "0" must be a whole number from 1'],
    [{ RELAY_LINGER: 'soon' }, 'RELAY_LINGER: duration "soon" is none'],
    [{ RELAY_LINGER: '2m' }, 'RELAY_LINGER: 2m is too long'],
  ])('that make no sense are named, without a secret: %j', (given, message) => {
    const parse = (): unknown => parseSettings({ ...env, ...given } as RelayEnv)
    expect(parse).toThrow(message)
    expect(parse).not.toThrow('s3cret')
  })
})

describe('the documentation of the relay', () => {
  const root = join(import.meta.dirname, '../../..')
  const readme = readFileSync(join(root, 'gateway/relay/README.md'), 'utf8')

  test('has every setting, and wrangler.toml those that are neither secrets nor bindings', () => {
    const asked = new Set<string>()
    parseSettings(new Proxy(env, { get: (target, name) => (asked.add(String(name)), Reflect.get(target, name)) }))
    expect(asked.size).toBeGreaterThan(9)
    const toml = readFileSync(join(root, 'wrangler.toml'), 'utf8')
    for (const name of asked) {
      expect(readme).toContain(`| \`${name}\``)
      expect(toml).toContain(name)
    }
  })

  test('has every figure', () => {
    const figures: ObjectFigures = { ...newProgress(), frames: 1, bytes: 2, waitedMs: 3, publishers: 4 }
    const names = Array.from(relayMetrics([figures]).matchAll(/^# TYPE zibrato_relay_(\S+)/gm), ([, name]) => name)
    expect(names.length).toBeGreaterThan(9)
    for (const name of names) expect(readme).toMatch(new RegExp(`\`${name}(\\{\\w+\\})?\``))
  })
})
