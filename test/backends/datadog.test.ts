import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { PermanentError, RetryLaterError, type Rollup, type Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { DatadogBackend } from '../../backends/datadog.ts'
import { cleanName, cleanTag } from '../../backends/datadog/names.ts'
import { apiHost } from '../../backends/datadog/site.ts'
import { valuesText } from '../../backends/datadog/points.ts'
import { inDoubtOf, openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import { UsageError } from '../../client/errors.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { VERSION } from '../../client/version.ts'
import type { Series } from '../../client/wire/series.ts'
import { API_KEY, DatadogService, NOW } from './datadog-service.ts'

const never = new AbortController().signal
const END = 1_700_000_010

const services: DatadogService[] = []
afterEach(async () => {
  for (const service of services.splice(0)) await service.stop()
})

async function started(): Promise<DatadogService> {
  const service = new DatadogService()
  await service.start()
  services.push(service)
  return service
}

function urlOf({ port }: { port: number }, options = '', key = API_KEY): string {
  return `datadog://${key}@127.0.0.1:${port}?tls=no${options}`
}

function backendOf(url: string): DatadogBackend {
  return new DatadogBackend(parseBackendUrl(url, {}), { now: () => NOW * 1000 })
}

async function given(options = ''): Promise<{ service: DatadogService; backend: DatadogBackend }> {
  const service = await started()
  return { service, backend: backendOf(urlOf(service, options)) }
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

/** [metric, type, value, tags] of all series that were taken. */
function metrics({ series: taken }: DatadogService): unknown[] {
  return taken.map(({ metric, type, points, tags }) => [
    metric,
    type,
    (points as { value: number }[])[0]?.value,
    ...((tags as string[] | undefined) ?? []),
  ])
}

/** What Datadog keeps: of two points of one series and time the last. */
function stored({ series: taken }: DatadogService): Map<string, number> {
  return new Map(
    taken.map(({ metric, tags, points }) => {
      const [point] = points as { timestamp: number; value: number }[]
      return [JSON.stringify([metric, tags, point?.timestamp]), point?.value as number]
    }),
  )
}

const text = (value: string): string => value.toLowerCase().replace(/[^\p{L}\p{N}_\-:./]/gu, '_')

function expectedTags({ source, tags }: RollupRecord): string[] {
  const list = source === 'not_specified' ? [] : [`source:${text(source)}`]
  for (const [key, value] of Object.entries(tags)) {
    const clean = text(key).replaceAll(':', '_')
    list.push(`${/^\p{L}/u.test(clean) ? '' : 'x'}${clean}:${text(value)}`)
  }
  // the one tag that is too long ends in a hash
  return list.map((tag) => (tag.length > 200 ? tag.slice(0, 191) : tag)).sort()
}

function expectedName({ name, type }: RollupRecord): string {
  const clean = name.replace(/[^A-Za-z0-9_.]/gu, '_')
  const told = name.startsWith('extreme.') && type === 'gauge' ? '.gauge' : ''
  return `${/^[A-Za-z]/.test(clean) ? '' : 'x'}${clean}${told}`
}

function figuresOf(record: RollupRecord): [suffix: string, type: number, value: unknown][] {
  switch (record.type) {
    case 'counter':
      return [['', 1, record['value']]]
    case 'gauge':
    case 'set':
      return [['', 3, record['value']]]
    case 'meter':
      return [
        ['', 1, record['count']],
        ['.m1', 3, record['m1']],
        ['.m5', 3, record['m5']],
        ['.m15', 3, record['m15']],
      ]
    case 'timer':
    case 'histogram':
      return [
        ['.count', 1, record['count']],
        ['.sum', 1, record['sum']],
        ...['min', 'max', 'p50', 'p95', 'p99'].map((key): [string, number, unknown] => [`.${key}`, 3, record[key]]),
        ['.avg', 3, record['mean']],
      ]
  }
}

const short = (name: string): string => (name.length > 200 ? name.slice(0, 191) : name)
// its hash is no matter of this test
const withoutHash = (name: string): string => (name.length === 200 ? name.slice(0, 191) : name)

function seriesOf(record: RollupRecord): object[] {
  const tags = expectedTags(record)
  return figuresOf(record).map(([suffix, type, value]) => ({
    metric: short(expectedName(record) + suffix),
    type,
    tags,
    time: record.time,
    value,
  }))
}

function allSeries({ series: list }: DatadogService): object[] {
  return list.map(({ metric, type, tags = [], points }) => {
    const [point] = points as { timestamp: number; value: number }[]
    return {
      metric: withoutHash(metric as string),
      type,
      tags: (tags as string[]).map(withoutHash).sort(),
      time: point?.timestamp,
      value: point?.value,
    }
  })
}

describe.each([
  ['datadog: passes the backend contract and', ''],
  ['datadog: with distribution points passes the backend contract and', '&distributions=points'],
])('%s', (_, options) => {
  let service: DatadogService
  const asPoints = options !== ''
  const setup = {
    create: async () => {
      service = await started()
      return backendOf(urlOf(service, options))
    },
    received: () => [
      ...allSeries(service),
      ...service.distributions.map(({ metric, tags = [], points }) => {
        const [[time, values]] = points as [[number, number[]]]
        return {
          metric: withoutHash(metric as string),
          tags: (tags as string[]).map(withoutHash).sort(),
          at: time,
          values: values.length,
        }
      }),
    ],
    expected: (record: RollupRecord) => {
      if (!asPoints || (record.type !== 'timer' && record.type !== 'histogram')) return seriesOf(record)
      const told = record.name.startsWith('extreme.') ? '.histogram' : ''
      const metric = short(expectedName(record) + told)
      return [{ metric, tags: expectedTags(record), at: record.time, values: record['count'] }]
    },
    breakTarget: () => void (service.mood = 'broken'),
    hangTarget: () => void (service.mood = 'hanging'),
    mendTarget: () => void (service.mood = 'well'),
    secrets: [API_KEY],
    destroy: async () => {
      expect(service.violations).toEqual([])
      await service.stop()
    },
  }
  const checks = backendContract(setup)
  test.each(checks.filter(({ title }) => !title.startsWith('ends with the same')))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

test('a window that is sent again leaves the same numbers, as Datadog keeps the last of a time', async () => {
  const { service, backend } = await given()
  expect(backend.idempotent).toBe(true)
  const window = sampleWindow(manyRollups(100))
  await backend.flush(window, never)
  const once = stored(service)
  await backend.flush(window, never)
  expect(stored(service)).toEqual(once)
})

describe('a post of series', () => {
  test('has its key in a header, is deflated, and is shaped as series v2', async () => {
    const { service, backend } = await given()
    await backend.flush(windowOf(sampleRollup(series('counter', 'orders', 'web', { route: '/pay' }), [2, 3])), never)
    expect(service.requests[0]).toMatchObject({
      path: '/api/v2/series',
      headers: {
        'dd-api-key': API_KEY,
        'user-agent': `zibrato/${VERSION}`,
        'content-type': 'application/json',
        'content-encoding': 'deflate',
      },
    })
    expect(service.series).toEqual([
      {
        metric: 'orders',
        type: 1,
        interval: 10,
        points: [{ timestamp: END, value: 5 }],
        tags: ['source:web', 'route:/pay'],
      },
    ])
  })

  test('says what a timer comes to, in seconds, with the percentiles that are asked for', async () => {
    const { service, backend } = await given('&percentiles=p50,p99.9')
    await backend.flush(windowOf(sampleRollup(series('timer', 'db'), [0.5, 0.25, 4.25])), never)
    const gauge = { type: 3, points: expect.anything() as unknown, tags: ['source:web'], unit: 'second' }
    const count = { type: 1, interval: 10, points: expect.anything() as unknown, tags: ['source:web'] }
    expect(service.series).toEqual([
      { metric: 'db.count', ...count },
      { metric: 'db.sum', ...count },
      ...['min', 'max', 'avg', 'p50', 'p999'].map((figure) => ({ metric: `db.${figure}`, ...gauge })),
    ])
    expect(metrics(service).map((metric) => (metric as unknown[])[2])).toEqual([3, 5, 0.25, 4.25, 5 / 3, 0.5, 4.25])
  })

  test('makes a source a host, or nothing, when the URL says so', async () => {
    const rollups = [
      sampleRollup(series('counter', 'a'), [1]),
      sampleRollup(series('gauge', 'b', 'not_specified'), [1]),
    ]
    const hosts = await given('&source=host')
    await hosts.backend.flush(windowOf(...rollups), never)
    expect(hosts.service.series.map(({ resources, tags }) => [resources, tags])).toEqual([
      [[{ type: 'host', name: 'web' }], undefined],
      [undefined, undefined],
    ])
    const none = await given('&source=none&prefix=app.')
    await none.backend.flush(windowOf(...rollups), never)
    expect(none.service.series.map(({ metric, resources, tags }) => [metric, resources, tags])).toEqual([
      ['app.a', undefined, undefined],
      ['app.b', undefined, undefined],
    ])
  })

  test('stays within the limits of size, however little names compress', async () => {
    const { service, backend } = await given()
    const rollups = Array.from({ length: 9000 }, (_, index) => {
      const tags = { a: randomBytes(90).toString('hex'), b: randomBytes(90).toString('hex') }
      return sampleRollup(series('counter', `noise.${index}`, randomBytes(60).toString('base64url'), tags), [1])
    })
    await backend.flush(windowOf(...rollups), never)
    expect(service.violations).toEqual([])
    expect(service.series).toHaveLength(9000)
    expect(service.sizes.length).toBeGreaterThan(3)
  })
})

describe('distribution points', () => {
  test('are the values themselves where these are known, with their weights', async () => {
    const { service, backend } = await given('&distributions=points&source=host')
    const timer = sampleRollup(series('timer', 'db', 'web', { route: '/pay' }), [3, 1, 2])
    const weighted = sampleRollup(series('histogram', 'size', 'not_specified'), [7])
    if (weighted.type === 'histogram') weighted.distribution.add(5, 3)
    await backend.flush(windowOf(timer, weighted, sampleRollup(series('counter', 'a', 'not_specified'), [1])), never)
    expect(service.requests[1]).toMatchObject({
      path: '/api/v1/distribution_points',
      headers: { 'content-type': 'text/json', 'content-encoding': 'deflate' },
    })
    expect(service.distributions).toEqual([
      { metric: 'db', type: 'distribution', points: [[END, [1, 2, 3]]], host: 'web', tags: ['route:/pay'] },
      { metric: 'size', type: 'distribution', points: [[END, [5, 5, 5, 7]]] },
    ])
    expect(metrics(service)).toEqual([['a', 1, 1]])
  })

  test('keep count, extremes and percentiles of any distribution up to the limit, and percentiles beyond', () => {
    const values = fc.array(
      fc.tuple(fc.double({ min: -1e9, max: 1e9, noNaN: true }), fc.integer({ min: 1, max: 40 })),
      {
        minLength: 1,
        maxLength: 150,
      },
    )
    fc.assert(
      fc.property(values, fc.constantFrom(100, 50_000), (weighted, most) => {
        const distribution = new Distribution()
        for (const [value, weight] of weighted) distribution.add(value, weight)
        const sent = JSON.parse(`[${valuesText(distribution, most)}]`) as number[]
        expect(sent).toHaveLength(Math.min(most, distribution.count))
        expect(sent).toEqual(sent.toSorted((left, right) => left - right))
        expect(sent[0]).toBe(distribution.min + 0)
        expect(sent.length === 1 || sent.at(-1) === distribution.max).toBe(true)
        // thinned, they are tested below
        fc.pre(most >= distribution.count)
        const quantiles = [0.1, 0.5, 0.9, 0.99]
        distribution.quantiles(quantiles).forEach((quantile, index) => {
          const rank = Math.max(1, Math.ceil((quantiles[index] as number) * sent.length * (1 - 1e-12)))
          expect(Math.abs((sent[rank - 1] as number) - quantile)).toBeLessThanOrEqual(Math.abs(quantile) * 0.02)
        })
      }),
    )
  })

  test('are thinned evenly by rank', () => {
    const distribution = new Distribution()
    for (let value = 1; value <= 100_000; value++) distribution.add(value)
    const sent = JSON.parse(`[${valuesText(distribution, 1000)}]`) as number[]
    expect(sent).toHaveLength(1000)
    for (const quantile of [0.01, 0.25, 0.5, 0.75, 0.99]) {
      const value = sent[Math.round(quantile * 1000) - 1] as number
      // half a place of the thousand, and the sketch's error
      expect(Math.abs(value - quantile * 100_000)).toBeLessThanOrEqual(100 + value * 0.0055)
    }
  })

  test('of weights that are no whole numbers come to the rounded count', () => {
    const distribution = new Distribution()
    distribution.add(1, 0.2)
    distribution.add(2, 3.4)
    distribution.add(3, 1 / 3)
    expect(valuesText(distribution, 10)).toBe('1,2,2,3')
    const little = new Distribution()
    little.add(5, 0.1)
    expect(valuesText(little, 10)).toBe('5')
  })

  test('are not sent again after a doubt when the URL says so, while series are', async () => {
    const { service, backend } = await given('&distributions=points&in-doubt=drop')
    const window = windowOf(sampleRollup(series('timer', 'db'), [1]), sampleRollup(series('counter', 'a'), [1]))
    service.next.push('take', 'reset-after')
    const error = await outcome(backend.flush(window, never))
    expect(error).toMatchObject({ name: 'PermanentError', refused: 1 })
    expect(error.message).toContain('may have been taken')
    expect(service.distributions).toHaveLength(1)
    service.next.push('reset-after')
    expect((await outcome(backend.flush(window, never))).name).toBe('NoAnswerError')
  })

  test('make the backend one that adds up, whose doubts are resolved by sending again', () => {
    const url = (options: string): ReturnType<typeof parseBackendUrl> =>
      parseBackendUrl(`datadog://key@?${options}`, {})
    const doubts = ['', 'distributions=points', 'distributions=points&in-doubt=drop', 'in-doubt=drop'].map((options) =>
      inDoubtOf(new DatadogBackend(url(options)), url(options)),
    )
    expect(doubts).toEqual(['resend', 'resend', 'drop', 'resend'])
  })
})

describe('series that are one to Datadog', () => {
  test('are added up instead of overwritten', async () => {
    const { service, backend } = await given()
    await backend.flush(
      windowOf(
        sampleRollup(series('counter', 'hits', 'web', { Route: 'A b' }), [2]),
        sampleRollup(series('counter', 'hits', 'WEB', { route: 'a_B' }), [3]),
        sampleRollup(series('counter', 'hits', 'web', { route: 'c' }), [4]),
        sampleRollup(series('gauge', 'größe'), [1, 7]),
        sampleRollup(series('gauge', 'grüße'), [5]),
      ),
      never,
    )
    expect(metrics(service)).toEqual([
      ['hits', 1, 5, 'source:web', 'route:a_b'],
      ['hits', 1, 4, 'source:web', 'route:c'],
      ['gr__e', 3, 7, 'source:web'],
    ])
  })

  test('but of different types are told apart by their type', async () => {
    const { service, backend } = await given('&percentiles=none')
    await backend.flush(
      windowOf(
        sampleRollup(series('gauge', 'db'), [1]),
        sampleRollup(series('counter', 'db'), [2]),
        sampleRollup(series('timer', 'db'), [3]),
        sampleRollup(series('histogram', 'db'), [4]),
        sampleRollup(series('counter', 'db.count'), [5]),
      ),
      never,
    )
    expect(service.series.map(({ metric }) => metric)).toEqual([
      'db.gauge',
      'db',
      ...['count', 'sum', 'min', 'max', 'avg'].map((figure) => `db.${figure}`),
      ...['count', 'sum', 'min', 'max', 'avg'].map((figure) => `db.histogram.${figure}`),
      'db.count.counter',
    ])
  })
})

describe('a name', () => {
  test('of a metric or a tag is always one that Datadog takes', () => {
    const anything = fc.string({ minLength: 1, maxLength: 300, unit: 'binary' })
    fc.assert(
      fc.property(anything, anything, (key, value) => {
        expect(cleanName(key)).toMatch(/^[A-Za-z][A-Za-z0-9_.]{0,199}$/)
        const tag = cleanTag(key, value)
        expect(tag).toMatch(/^\p{L}[\p{L}\p{N}_\-:./]*$/u)
        expect(tag.length).toBeLessThanOrEqual(200)
        expect(tag.endsWith(':')).toBe(false)
      }),
    )
  })

  test('that fits stays as it is', () => {
    expect(cleanName('http.requests_2')).toBe('http.requests_2')
    expect(cleanTag('route', '/pay/v1.2-b:c')).toBe('route:/pay/v1.2-b:c')
    expect(cleanTag('größe', 'Ä')).toBe('größe:ä')
    expect(cleanTag('bare', '')).toBe('bare')
    expect(cleanTag('1:a', 'x:')).toBe('x1_a:x_')
  })

  test('that is too long is cut, and still another than one that begins like it', () => {
    const [one, two] = [cleanName(`${'n'.repeat(250)}a`), cleanName(`${'n'.repeat(250)}b`)]
    expect([one.length, two.length]).toEqual([200, 200])
    expect(one).not.toBe(two)
  })
})

describe('a service that', () => {
  test('refuses one metric takes its neighbours', async () => {
    const { service, backend } = await given()
    service.banned.add('many.501')
    const error = await outcome(backend.flush(sampleWindow(manyRollups(1000)), never))
    expect(error).toMatchObject({ name: 'PermanentError', refused: 1 })
    expect(error.message).toContain('metric many.501 is banned')
    expect(new Set(service.series.map(({ metric }) => metric)).has('many.500')).toBe(false)
    expect(stored(service).size).toBe(333 * 8 + 666)
  })

  test('finds a post too large gets it in halves', async () => {
    const { service, backend } = await given()
    service.next.push({ status: 413, body: { errors: ['Payload too large'] } })
    await backend.flush(sampleWindow(manyRollups(100)), never)
    expect(service.requests).toHaveLength(3)
  })

  test('accepts a post but for some errors is believed, and not sent it again', async () => {
    const { service, backend } = await given()
    service.partial.push(['bad metric a', 'bad metric b'])
    const error = await outcome(backend.flush(sampleWindow(manyRollups(9)), never))
    expect(error).toMatchObject({ name: 'PermanentError', refused: 2 })
    expect(error.message).toBe('datadog: answered 202, and refused part of it: bad metric a; bad metric b')
    expect(service.requests).toHaveLength(1)
  })

  test('refuses metrics and points has all of them counted', async () => {
    const { service, backend } = await given('&distributions=points')
    service.banned.add('a').add('db')
    const window = windowOf(
      ...['a', 'b'].map((name) => sampleRollup(series('counter', name), [1])),
      ...['db', 'net'].map((name) => sampleRollup(series('timer', name), [1])),
    )
    expect(await outcome(backend.flush(window, never))).toMatchObject({ name: 'PermanentError', refused: 2 })
    expect(service.series.map(({ metric }) => metric)).toEqual(['b'])
    expect(service.distributions.map(({ metric }) => metric)).toEqual(['net'])
  })

  test('says when to come again is believed', async () => {
    const { service, backend } = await given()
    service.next.push({ status: 429, headers: { 'retry-after': '3' }, body: { errors: ['slow down'] } })
    const error = await outcome(backend.flush(windowOf(sampleRollup(series('counter', 'a'), [1])), never))
    expect(error).toBeInstanceOf(RetryLaterError)
    expect(error).toMatchObject({ retryAfterMs: 3000 })
  })

  test.each([403, 408, 429, 500, 503])('answers %d is tried again', async (status) => {
    const { service, backend } = await given()
    service.next.push({ status, body: { errors: [`no, ${API_KEY}`] } })
    const window = windowOf(sampleRollup(series('counter', 'a'), [1]))
    const error = await outcome(backend.flush(window, never))
    expect(error).not.toBeInstanceOf(PermanentError)
    expect(error.message).toContain(`datadog: answered ${status}: {"errors":["no, ***"]}`)
    await backend.flush(window, never)
    expect(service.series).toHaveLength(1)
  })

  test('breaks the connection after it has taken a post is sent it again, and keeps the same', async () => {
    const { service, backend } = await given()
    const window = windowOf(sampleRollup(series('counter', 'a'), [5]))
    service.next.push('reset-after')
    expect((await outcome(backend.flush(window, never))).name).toBe('NoAnswerError')
    await backend.flush(window, never)
    expect([...stored(service).values()]).toEqual([5])
  })
})

describe('a window that waited', () => {
  test('for more than an hour is refused, as Datadog would drop it without a word', async () => {
    const service = await started()
    const late = (options: string, seconds: number): DatadogBackend =>
      new DatadogBackend(parseBackendUrl(urlOf(service, options)), { now: () => (END + seconds) * 1000 })
    const window = windowOf(sampleRollup(series('counter', 'a'), [1]))
    const error = await outcome(late('', 3601).flush(window, never))
    expect(error).toBeInstanceOf(PermanentError)
    expect(error.message).toContain('waited for more than an hour')
    await late('', 3600).flush(window, never)
    await late('&historical=yes', 90_000).flush(window, never)
    expect(service.series).toHaveLength(2)
  })

  test('of less than a second is refused, since its times would be the same', async () => {
    const { backend } = await given()
    const window = { start: END - 0.25, end: END, rollups: [sampleRollup(series('counter', 'a'), [1])] }
    expect((await outcome(backend.flush(window, never))).message).toContain('make windows longer')
  })
})

describe('a start', () => {
  test('asks whether the key is valid, and goes on when nobody answers', async () => {
    const { service, backend } = await given()
    await backend.connect()
    expect(service.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['GET /api/v1/validate'])
    service.next.push({ status: 404 })
    await backend.connect()
    await service.stop()
    await backend.connect()
  })

  test('is refused with a wrong key, which is not shown', async () => {
    const service = await started()
    const error = await outcome(backendOf(urlOf(service, '', 'wrongwrongwrong')).connect())
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).toBe('datadog: answered 403: {"errors":["Forbidden"]}; the API key is wrong: correct it')
  })
})

describe('a URL', () => {
  test.each([
    ['datadog://', 'needs an API key and nothing else'],
    ['datadog://key:more@host', 'needs an API key and nothing else'],
    ['datadog://key@?distributions=raw', 'distributions=raw must be gauges or points'],
    ['datadog://key@?source=service', 'source=service must be tag or host or none'],
    ['datadog://key@?distributions=points&max-values=1000000', 'must be a whole number from 10 to 50000'],
    ['datadog://key@?max-values=100', 'unknown option "max-values"'],
    ['datadog://key@?percentiles=100', 'percentiles must be a list such as 95,99.9'],
  ])('%s is refused: %s', async (url, message) => {
    const error = await openBackend(url, {}).then(
      () => new Error('it was taken'),
      (refusal: unknown) => refusal as Error,
    )
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).toContain(message)
  })

  test.each([
    ['', 'api.datadoghq.com'],
    ['api.datadoghq.com', 'api.datadoghq.com'],
    ['datadoghq.eu', 'api.datadoghq.eu'],
    ['app.datadoghq.com', 'api.datadoghq.com'],
    ['us5.datadoghq.com', 'api.us5.datadoghq.com'],
    ['api.us5.datadoghq.com', 'api.us5.datadoghq.com'],
    ['ddog-gov.com', 'api.ddog-gov.com'],
    ['proxy.example.com', 'proxy.example.com'],
    ['datadoghq.com.example.com', 'datadoghq.com.example.com'],
    ['::1', '[::1]'],
  ])('with the host %j posts to %s', (host, expected) => {
    expect(apiHost(host)).toBe(expected)
  })

  test('takes its key from the environment', async () => {
    const service = await started()
    const url = parseBackendUrl(urlOf(service, '', '$DD_API_KEY'), { DD_API_KEY: API_KEY })
    const backend = new DatadogBackend(url, { now: () => NOW * 1000 })
    await backend.flush(windowOf(sampleRollup(series('counter', 'a'), [1])), never)
    expect(service.series).toHaveLength(1)
  })
})
