import { afterEach, describe, expect, test } from 'vitest'
import { PermanentError, RetryLaterError, type Rollup, type Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { LibratoBackend } from '../../backends/librato.ts'
import { openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import { UsageError } from '../../client/errors.ts'
import { VERSION } from '../../client/version.ts'
import type { Series } from '../../client/wire/series.ts'
import { LibratoService, TOKEN, USER } from './librato-service.ts'

const never = new AbortController().signal
const END = 1_700_000_010

const services: LibratoService[] = []
afterEach(async () => {
  for (const service of services.splice(0)) await service.stop()
})

async function started(): Promise<LibratoService> {
  const service = new LibratoService()
  await service.start()
  services.push(service)
  return service
}

function urlOf({ port }: { port: number }, options = '', token = TOKEN): string {
  return `librato://${encodeURIComponent(USER)}:${token}@127.0.0.1:${port}?tls=no${options}`
}

async function given(options = ''): Promise<{ service: LibratoService; backend: LibratoBackend }> {
  const service = await started()
  const backend = await openBackend(urlOf(service, options))
  return { service, backend: backend as LibratoBackend }
}

function series(type: Series['type'], name: string, source = 'web', tags: Record<string, string> = {}): Series {
  return { type, name, source, tags }
}

function windowOf(...rollups: Rollup[]): Window {
  return sampleWindow(rollups)
}

async function outcome(flush: Promise<void>): Promise<Error> {
  return flush.then(
    () => new Error('it was taken'),
    (error: unknown) => error as Error,
  )
}

const clean = (text: string): string => text.replace(/[^A-Za-z0-9.:_-]/gu, ':')

/** The names under which counters, gauges and histograms of one name are told apart. */
function expectedName({ name, type, tags }: RollupRecord): string {
  const tagged = Object.entries(tags).map(([key, value]) => `.${key}:${value}`)
  const told = name.startsWith('extreme.') && type !== 'counter' ? `.${type}` : ''
  return clean(name + tagged.join('')) + told
}

const bounded = (value: number): number => Math.min(1e126, Math.max(-1e126, value))

function figuresOf(record: RollupRecord): { suffix: string; time?: number; figures: object }[] {
  const { type, value, count, sum, min, max, stddev } = record as unknown as Record<string, number> & { type: string }
  if (type === 'counter' || type === 'set') return [{ suffix: '', figures: { value: bounded(value as number) } }]
  if (type === 'meter') {
    return ['count', 'm1', 'm5', 'm15'].map((key) => ({
      suffix: key === 'count' ? '' : `.${key}`,
      figures: { value: record[key] },
    }))
  }
  if (type === 'gauge') {
    const readings = record['readings'] as [number, number][]
    return readings.map(([time, read]) => ({ suffix: '', time, figures: { value: bounded(read) } }))
  }
  const [low, high, total] = [min, max, sum].map((figure) => bounded(figure as number))
  return [{ suffix: '', figures: { count, sum: total, min: low, max: high, spread: stddev } }]
}

/** Without what is computed from squares, which is compared apart. */
function withoutSpread(measurement: Record<string, unknown>): Record<string, unknown> {
  const { sum_squares: squares, stddev, ...rest } = measurement
  return rest['count'] === undefined ? rest : { ...rest, hasSpread: squares !== undefined || stddev !== undefined }
}

function comparable(figures: object): object {
  const { spread, ...rest } = figures as Record<string, unknown>
  if (spread === undefined) return rest
  const { min, max } = rest as { min: number; max: number }
  // squares beyond what Librato takes are left out
  return { ...rest, hasSpread: Math.max(Math.abs(min), Math.abs(max)) < 1e60 }
}

describe.each([
  ['librato: to /v1/metrics', ''],
  ['librato: to /v1/measurements', '&api=measurements'],
])('%s passes the backend contract and', (_, options) => {
  let service: LibratoService
  const setup = {
    create: async () => {
      service = await started()
      return openBackend(urlOf(service, options))
    },
    received: () =>
      service.taken.map((measurement) => {
        const { time, measure_time: at = time, ...rest } = withoutSpread(measurement)
        return { ...rest, at }
      }),
    expected: (record: RollupRecord) => {
      const tagged = options !== ''
      const untagged = { ...record, tags: {} }
      const long = record.name.length > 200 && !tagged
      const name = long ? undefined : expectedName(tagged ? untagged : record)
      return figuresOf(record).map(({ suffix, time = record.time, figures }) => {
        const place = tagged ? { tags: expectedTags(record) } : { source: clean(record.source) }
        const whole = figures as { min?: number }
        const shape =
          tagged && whole.min !== undefined ? { ...comparable(figures), hasSpread: true } : comparable(figures)
        return { name: name === undefined ? longName(record) : name + suffix, ...place, at: Math.floor(time), ...shape }
      })
    },
    breakTarget: () => void (service.mood = 'broken'),
    hangTarget: () => void (service.mood = 'hanging'),
    mendTarget: () => void (service.mood = 'well'),
    secrets: [TOKEN, USER, Buffer.from(`${USER}:${TOKEN}`).toString('base64')],
    destroy: async () => {
      expect(service.violations).toEqual([])
      await service.stop()
    },
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

function expectedTags({ source, tags }: RollupRecord): Record<string, string> {
  const value = (text: string): string => text.replace(/[^A-Za-z0-9.:_ -]/gu, ':').toLowerCase()
  const entries = Object.entries(tags).map(([key, text]) => [clean(key).toLowerCase(), value(text)])
  return { source: value(source), ...Object.fromEntries(entries) }
}

/** A name that is cut; what of it is fixed is asserted elsewhere. */
function longName({ name, tags }: RollupRecord): string {
  const full = `${name}${Object.entries(tags)
    .map(([key, value]) => `.${key}:${value}`)
    .join('')}`
  return cutName(full)
}

function cutName(full: string): string {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(full)) hash = Math.imul(hash ^ byte, 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  hash ^= hash >>> 16
  return `${full.slice(0, 246)}_${(hash >>> 0).toString(16).padStart(8, '0')}`
}

describe('a post', () => {
  test('is what Zibrato has always sent: gauges by JSON, with Basic auth and its user agent', async () => {
    const { service, backend } = await given()
    await backend.flush(windowOf(sampleRollup(series('counter', 'orders'), [2, 3])), never)
    const [request] = service.requests
    expect(request?.headers).toMatchObject({
      authorization: 'Basic bWVAZXhhbXBsZS5jb206NzVhZmRiODJzZWNyZXQ=',
      'user-agent': `zibrato/${VERSION}`,
      'content-type': 'application/json',
    })
    expect(request?.raw.toString()).toBe(
      `{"gauges":[{"name":"orders","source":"web","measure_time":${END},"value":5}],"counters":[]}`,
    )
  })

  test('holds each reading of a gauge with its own time', async () => {
    const { service, backend } = await given()
    await backend.flush(windowOf(sampleRollup(series('gauge', 'queue'), [3, 0, 4])), never)
    expect(service.taken).toEqual([
      { name: 'queue', source: 'web', measure_time: END - 10, value: 3 },
      { name: 'queue', source: 'web', measure_time: END - 9, value: 0 },
      { name: 'queue', source: 'web', measure_time: END - 8, value: 4 },
    ])
  })

  test('holds a timer as one summary, and percentiles when they are asked for', async () => {
    const { service, backend } = await given('&percentiles=p50,99.9')
    await backend.flush(windowOf(sampleRollup(series('timer', 'db'), [0.5, 0.25, 4])), never)
    const place = { source: 'web', measure_time: END }
    expect(service.taken).toEqual([
      { name: 'db', ...place, count: 3, sum: 4.75, min: 0.25, max: 4, sum_squares: 16.3125 },
      { name: 'db.p50', ...place, value: 0.5 },
      { name: 'db.p999', ...place, value: 4 },
    ])
  })

  test('holds measurements with tags, the source among them, when that API is asked for', async () => {
    const { service, backend } = await given('&api=measurements')
    const timer = series('timer', 'db', 'web', { Route: '/pay', empty: '', source: 'other' })
    await backend.flush(windowOf(sampleRollup(timer, [1, 3])), never)
    expect(JSON.parse((service.requests[0]?.raw ?? '').toString())).toEqual({
      time: END,
      measurements: [
        {
          name: 'db',
          tags: { source: 'web', route: ':pay', empty: ':', 'source:': 'other' },
          count: 2,
          sum: 4,
          min: 1,
          max: 3,
          stddev: 1,
        },
      ],
    })
  })

  test('holds 300 measurements at the most', async () => {
    const { service, backend } = await given()
    const gauges = Array.from({ length: 40 }, (_, index) =>
      sampleRollup(
        series('gauge', `g${index}`),
        Array.from({ length: 64 }, (__, second) => second),
      ),
    )
    await backend.flush(windowOf(...manyRollups(1000), ...gauges), never)
    expect(service.taken).toHaveLength(1000 + 40 * 64)
    expect(Math.max(...service.sizes)).toBeLessThanOrEqual(300)
    expect(service.violations).toEqual([])
  })

  test('says a source and a prefix that the URL gives', async () => {
    const { service, backend } = await given('&source=shop&prefix=app.')
    const rollups = ['not_specified', '', 'all', 'web 1/a'].map((source, index) =>
      sampleRollup(series('counter', `c${index}`, source), [1]),
    )
    await backend.flush(windowOf(...rollups), never)
    expect(service.taken.map(({ name, source }) => [name, source])).toEqual([
      ['app.c0', 'shop'],
      ['app.c1', 'shop'],
      ['app.c2', 'all:'],
      ['app.c3', 'web:1:a'],
    ])
  })

  test('leaves out timers that are known and had no data', async () => {
    const { service, backend } = await given('&percentiles=95')
    const idle = sampleRollup(series('timer', 'db'), [1]) as Extract<Rollup, { type: 'timer' | 'histogram' }>
    idle.distribution.clear()
    await backend.flush(windowOf({ ...idle, count: 0 }, sampleRollup(series('counter', 'a'), [0])), never)
    expect(service.taken.map(({ name }) => name)).toEqual(['a'])
  })
})

describe('series that are one to Librato', () => {
  const only = (service: LibratoService): unknown[] =>
    service.taken.map(({ name, source, value, count, sum, min, max }) => ({
      name,
      source,
      value,
      count,
      sum,
      min,
      max,
    }))

  test('are added up or merged, not overwritten', async () => {
    const { service, backend } = await given('&percentiles=50')
    await backend.flush(
      windowOf(
        sampleRollup(series('counter', 'Orders', 'web 1'), [2]),
        sampleRollup(series('counter', 'orders', 'web/1'), [3]),
        sampleRollup(series('timer', 'db'), [1, 9]),
        sampleRollup(series('timer', 'DB'), [5]),
        sampleRollup(series('set', 'users'), [1, 2]),
        sampleRollup(series('set', 'USERS'), [2, 3]),
      ),
      never,
    )
    expect(only(service)).toEqual([
      { name: 'Orders', source: 'web:1', value: 5 },
      { name: 'db', source: 'web', count: 3, sum: 15, min: 1, max: 9 },
      { name: 'db.p50', source: 'web', value: 5 },
      { name: 'users', source: 'web', value: 3 },
    ])
    expect(service.violations).toEqual([])
  })

  test('keep the readings of gauges, those of one second in a summary', async () => {
    const { service, backend } = await given()
    await backend.flush(
      windowOf(sampleRollup(series('gauge', 'Queue'), [3, 8]), sampleRollup(series('gauge', 'queue'), [5])),
      never,
    )
    expect(only(service)).toEqual([
      { name: 'Queue', source: 'web', count: 2, sum: 8, min: 3, max: 5 },
      { name: 'Queue', source: 'web', value: 8 },
    ])
  })

  test('are told apart by their tags, or added up where those are dropped', async () => {
    const window = windowOf(
      sampleRollup(series('counter', 'hits', 'web', { status: '200', route: '/a b' }), [2]),
      sampleRollup(series('counter', 'hits', 'web', { status: '500', route: '/a b' }), [3]),
    )
    const named = await given()
    await named.backend.flush(window, never)
    expect(named.service.taken.map(({ name, value }) => [name, value])).toEqual([
      ['hits.route::a:b.status:200', 2],
      ['hits.route::a:b.status:500', 3],
    ])
    const dropped = await given('&tags=drop')
    await dropped.backend.flush(window, never)
    expect(dropped.service.taken.map(({ name, value }) => [name, value])).toEqual([['hits', 5]])
  })

  test('but of different types are told apart by their type, and stay so', async () => {
    const { service, backend } = await given('&percentiles=95')
    const [counter, timer, meter] = (['counter', 'timer', 'meter'] as const).map((type) =>
      sampleRollup(series(type, 'db'), [2]),
    ) as [Rollup, Rollup, Rollup]
    await backend.flush(windowOf(timer, counter, meter), never)
    expect(service.taken.map(({ name }) => name)).toEqual([
      'db.timer',
      'db.timer.p95',
      'db',
      'db.meter',
      'db.meter.m1',
      'db.meter.m5',
      'db.meter.m15',
    ])
    service.taken.length = 0
    await backend.flush(sampleWindow([timer], 1), never)
    expect(service.taken.map(({ name }) => name)).toEqual(['db.timer', 'db.timer.p95'])
  })

  test('do not meet what another series becomes besides its name', async () => {
    const { service, backend } = await given('&percentiles=95')
    await backend.flush(
      windowOf(sampleRollup(series('gauge', 'db.p95'), [7]), sampleRollup(series('timer', 'db'), [2])),
      never,
    )
    expect(service.taken.map(({ name }) => name)).toEqual(['db.p95.gauge', 'db', 'db.p95'])
  })
})

describe('a service that', () => {
  test('refuses one measurement takes its neighbours', async () => {
    const { service, backend } = await given()
    service.counters.add('many.500')
    const error = await outcome(backend.flush(sampleWindow(manyRollups(1000).map(withoutTags)), never))
    expect(error).toBeInstanceOf(PermanentError)
    expect(error).toMatchObject({ refused: 1 })
    expect(error.message).toContain('is a counter, but was submitted as different type')
    expect(service.taken).toHaveLength(999)
    expect(service.taken.some(({ name }) => name === 'many.500')).toBe(false)
  })

  test('finds all too old refuses all, and the next window goes on', async () => {
    const { service, backend } = await given()
    service.oldest = END + 10
    const old = sampleWindow([sampleRollup(series('counter', 'a'), [1]), sampleRollup(series('counter', 'b'), [1])])
    expect(await outcome(backend.flush(old, never))).toMatchObject({ name: 'PermanentError', refused: 2 })
    await backend.flush(sampleWindow([sampleRollup(series('counter', 'a'), [1])], 1), never)
    expect(service.taken).toHaveLength(1)
  })

  test('says when to come again is believed', async () => {
    const { service, backend } = await given()
    service.next.push({ status: 429, headers: { 'retry-after': '7' }, body: { errors: { request: ['slow down'] } } })
    const window = windowOf(sampleRollup(series('counter', 'a'), [1]))
    const error = await outcome(backend.flush(window, never))
    expect(error).toBeInstanceOf(RetryLaterError)
    expect(error).toMatchObject({ retryAfterMs: 7000 })
    expect(error.message).toContain('slow down')
    await backend.flush(window, never)
    expect(service.taken).toHaveLength(1)
  })

  test.each([403, 404, 408, 429, 500, 502, 503, 504])('answers %d is tried again', async (status) => {
    const { service, backend } = await given()
    service.next.push({ status, body: { errors: { system: ['later'] } } })
    const window = windowOf(sampleRollup(series('counter', 'a'), [1]))
    const error = await outcome(backend.flush(window, never))
    expect(error).not.toBeInstanceOf(PermanentError)
    expect(error.message).toContain(`librato: answered ${status}`)
    await backend.flush(window, never)
    expect(service.taken).toHaveLength(1)
  })

  test('fails halfway gets the rest and nothing twice', async () => {
    const { service, backend } = await given()
    const window = sampleWindow(manyRollups(1000))
    service.next.push('take', 'take', { status: 500 })
    expect((await outcome(backend.flush(window, never))).message).toContain('500')
    const before = service.taken.length
    expect(before).toBeGreaterThan(0)
    service.next.push('reset')
    expect((await outcome(backend.flush(window, never))).name).toBe('NoAnswerError')
    expect(service.taken).toHaveLength(before)
    await backend.flush(window, never)
    expect(service.taken).toHaveLength(1000)
    expect(new Set(service.taken.map(({ name }) => name)).size).toBe(1000)
  })

  test('breaks the connection after it has taken a post is sent it again, unless the URL says otherwise', async () => {
    const window = windowOf(sampleRollup(series('counter', 'a'), [1]))
    const resent = await given()
    resent.service.next.push('reset-after')
    expect((await outcome(resent.backend.flush(window, never))).name).toBe('NoAnswerError')
    await resent.backend.flush(window, never)
    expect(resent.service.taken).toHaveLength(2)

    const dropped = await given('&in-doubt=drop')
    dropped.service.next.push('reset-after')
    const error = await outcome(dropped.backend.flush(window, never))
    expect(error).toMatchObject({ name: 'PermanentError', refused: 1 })
    expect(error.message).toContain('may have been taken')
    expect(dropped.service.taken).toHaveLength(1)
  })

  test('takes a post but for some of it is not sent it again', async () => {
    const { service, backend } = await given('&api=measurements')
    service.next.push({ status: 202, body: { errors: [{ param: 'name', reason: `not you, ${TOKEN}` }] } })
    const error = await outcome(backend.flush(sampleWindow(manyRollups(3)), never))
    expect(error).toMatchObject({ name: 'PermanentError', refused: 1 })
    expect(error.message).toBe(
      'librato: answered 202, and refused part of it: {"param":"name","reason":"not you, ***"}',
    )
    expect(service.requests).toHaveLength(1)
  })

  test('shows a secret back does not get it into an error', async () => {
    const { service, backend } = await given()
    service.next.push({ status: 400, body: { errors: `no ${USER} with ${TOKEN}` } })
    const error = await outcome(backend.flush(windowOf(sampleRollup(series('counter', 'a'), [1])), never))
    expect(error.message).toContain('no *** with ***')
  })
})

function withoutTags(rollup: Rollup): Rollup {
  return { ...rollup, tags: {} }
}

describe('a start', () => {
  test('asks with HEAD, and goes on when the service is not there or not well', async () => {
    const { service, backend } = await given()
    await backend.connect()
    expect(service.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['HEAD /v1/metrics'])
    service.mood = 'broken'
    await backend.connect()
    await service.stop()
    await backend.connect()
    const error = await outcome(backend.flush(windowOf(sampleRollup(series('counter', 'a'), [1])), never))
    expect(error.message).toMatch(/^librato: cannot reach librato:\/\/127\.0\.0\.1:\d+\?tls=no: /)
  })

  test('is refused with a wrong token, which is not shown; a window waits', async () => {
    const service = await started()
    const backend = (await openBackend(urlOf(service, '', 'wrong-token-5'))) as LibratoBackend
    const refusal = await outcome(backend.connect())
    expect(refusal).toBeInstanceOf(UsageError)
    expect(refusal.message).toBe('librato: answered 401; user or token are wrong: correct them')
    const error = await outcome(backend.flush(windowOf(sampleRollup(series('counter', 'a'), [1])), never))
    expect(error).not.toBeInstanceOf(PermanentError)
    expect(error.message).toMatch(/answered 401: .*Authorization Required.*; user or token are wrong: correct them$/)
    expect(error.message).not.toContain('wrong-token-5')
  })
})

describe('a URL', () => {
  const refusal = (url: string): Promise<Error> =>
    openBackend(url, {}).then(
      () => new Error('it was taken'),
      (error: unknown) => error as Error,
    )

  test.each([
    ['librato://', 'names no user and token'],
    ['librato://me@host', 'names no user and token'],
    ['librato://me:token@host?api=v2', 'api=v2 must be metrics or measurements'],
    ['librato://me:token@host?api=measurements&tags=drop', 'the option tags is for api=metrics'],
    ['librato://me:token@host?percentiles=p0', 'percentiles must be a list such as 95,99.9'],
    ['librato://me:token@host?percentiles=95,x', 'percentiles must be a list such as 95,99.9'],
    ['librato://me:token@host?batch=5000', 'batch=5000 must be a whole number from 64 to 1000'],
    ['librato://me:token@host?flavour=new', 'unknown option "flavour"'],
  ])('%s is refused: %s', async (url, message) => {
    const error = await refusal(url)
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).toContain(message)
  })

  test('needs no host, and takes the path before the API', async () => {
    expect(new LibratoBackend(parseBackendUrl('librato://me:token@', {})).name).toBe('librato')
    const service = await started()
    const url = urlOf(service).replace('?', '/proxy?')
    const backend = new LibratoBackend(parseBackendUrl(url))
    await outcome(backend.flush(windowOf(sampleRollup(series('counter', 'a'), [1])), never))
    expect(service.requests.map(({ path }) => path)).toEqual(['/proxy/v1/metrics'])
  })
})

test('windows within one second are refused, since their times would be the same', async () => {
  const { backend } = await given()
  const [rollup] = rollupsOfEveryType()
  const window = { start: END - 0.5, end: END, rollups: [rollup as Rollup] }
  expect((await outcome(backend.flush(window, never))).message).toContain('make windows longer')
})
