import { once } from 'node:events'
import { type IncomingMessage, get, request } from 'node:http'
import { createServer } from 'node:net'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { Registry as ClientRegistry, Counter, Histogram } from 'prom-client'
import { afterEach, describe, expect, test } from 'vitest'
import { Backend, type PermanentError, type Rollup, type Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { openBackend } from '../../backends/open.ts'
import { PrometheusBackend } from '../../backends/prometheus.ts'
import { type RollupRecord, recordOf } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import { UsageError } from '../../client/errors.ts'
import type { Type } from '../../client/wire/series.ts'
import { markedRollups } from './prometheus/arbitrary.ts'
import { type ParsedFamily, parseExposition, seriesOf } from './prometheus/parser.ts'
import { type Expected, Translation } from './prometheus/translation.ts'

const never = new AbortController().signal
const FORMATS = ['text', 'openmetrics'] as const
type Format = (typeof FORMATS)[number]
// what Prometheus 2.42 asks for
const ACCEPT =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,' +
  'text/plain;version=0.0.4;q=0.5,*/*;q=0.1'

const opened: Backend[] = []
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.close?.()
})

async function open(url = 'prometheus:'): Promise<PrometheusBackend> {
  const backend = (await openBackend(url)) as PrometheusBackend
  opened.push(backend)
  await backend.connect()
  return backend
}

async function scrape(backend: PrometheusBackend, format: Format = 'text'): Promise<ParsedFamily[]> {
  const headers = format === 'openmetrics' ? { accept: ACCEPT } : { accept: 'text/plain' }
  const response = backend.handle(new Request('http://host/any', { headers }))
  expect(response.headers.get('content-type')).toContain(format === 'text' ? 'text/plain' : 'openmetrics-text')
  return parseExposition(await response.text(), format)
}

/** `name{label="value"} 1` of each sample, as written. */
async function lines(backend: PrometheusBackend, format: Format = 'text'): Promise<string[]> {
  const headers = { accept: format === 'openmetrics' ? ACCEPT : 'text/plain' }
  const text = await backend.handle(new Request('http://host/any', { headers })).text()
  parseExposition(text, format)
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

function series(type: Type, name: string, values: readonly number[], tags = {}, source = 'not_specified'): Rollup {
  return sampleRollup({ type, name, source, tags }, values)
}

/** Scrapes after each flush over a socket, and keeps what belongs to the window. */
class Scraped extends Backend {
  readonly name = 'prometheus'
  override readonly idempotent = true
  readonly received = new Map<string, Expected>()
  readonly #backend: PrometheusBackend
  readonly #translation = new Translation()
  readonly #known = new Set<string>()

  constructor(backend: PrometheusBackend) {
    super()
    this.#backend = backend
  }

  override connect(): Promise<void> {
    return this.#backend.connect()
  }

  override close(): Promise<void> {
    return this.#backend.close()
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    await this.#backend.flush(window, signal)
    const wanted = new Set(
      window.rollups.flatMap((rollup) =>
        this.#translation.samples(recordOf(window, rollup), false).map((sample) => sample.series),
      ),
    )
    for (const each of wanted) this.#known.add(each)
    // a negative sum is told of in the classic format alone
    const other = await fetched(this.#backend.address ?? '', { accept: ACCEPT })
    parseExposition(other.body.toString(), 'openmetrics')
    const { body } = await fetched(this.#backend.address ?? '')
    const shown = new Set<string>()
    for (const sample of parseExposition(body.toString(), 'text').flatMap(({ samples }) => samples)) {
      const key = seriesOf(sample)
      shown.add(key)
      if (wanted.has(key))
        this.received.set(`${window.end} ${key}`, { at: window.end, series: key, value: sample.value })
    }
    const differs = [...shown].some((key) => !this.#known.has(key)) || shown.size !== this.#known.size
    if (differs) throw new Error('what is shown is not what was flushed')
  }
}

async function fetched(
  url: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<{ response: IncomingMessage; body: Buffer }> {
  const asked = request(url, { method, headers, agent: false })
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  return { response, body: Buffer.concat(chunks) }
}

describe('prometheus:// passes the backend contract and', () => {
  let scraped: Scraped
  let translation: Translation
  const setup = {
    create: async () => {
      translation = new Translation()
      scraped = new Scraped((await openBackend('prometheus://127.0.0.1:0')) as PrometheusBackend)
      return scraped
    },
    received: () => [...scraped.received.values()],
    expected: (record: RollupRecord) => translation.samples(record, false),
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('every type', () => {
  test('becomes what the table of the README says', async () => {
    const backend = await open()
    await backend.flush(sampleWindow(rollupsOfEveryType()), never)
    const labels = 'route="/pay",source="web",status="200"'
    expect(await lines(backend)).toEqual([
      'orders_total{source="web"} 10',
      `events_total{${labels}} 120`,
      `events_m1{${labels}} 12`,
      `events_m5{${labels}} 6`,
      `events_m15{${labels}} 3`,
      'queue{host="a",source="web"} 4',
      ...[0.000_05, 0.012, 0.034, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5].map(
        (value, index) =>
          `db_seconds{${labels},quantile="${['0.0', '0.5', '0.75', '0.9', '0.95', '0.98', '0.99', '0.999', '1.0'][index]}"} ${value}`,
      ),
      `db_seconds_sum{${labels}} 2.54605`,
      `db_seconds_count{${labels}} 4`,
      ...[-7, 0, 512, 90_000, 90_000, 90_000, 90_000, 90_000, 90_000].map(
        (value, index) =>
          `size{quantile="${['0.0', '0.5', '0.75', '0.9', '0.95', '0.98', '0.99', '0.999', '1.0'][index]}"} ${value}`,
      ),
      'size_sum 90505',
      'size_count 4',
      'users{source="web"} 3',
    ])
  })

  test('is of the type that it says, in both formats', async () => {
    const backend = await open()
    await backend.flush(sampleWindow(rollupsOfEveryType()), never)
    const types = async (format: Format): Promise<string[]> =>
      (await scrape(backend, format)).map(({ name, type, unit }) => `${name} ${type} ${unit}`.trim())
    expect(await types('text')).toEqual([
      'orders_total counter',
      'events_total counter',
      'events_m1 gauge',
      'events_m5 gauge',
      'events_m15 gauge',
      'queue gauge',
      'db_seconds summary',
      'size summary',
      'users gauge',
    ])
    expect((await types('openmetrics')).slice(0, 7)).toEqual([
      'orders counter',
      'events counter',
      'events_m1 gauge',
      'events_m5 gauge',
      'events_m15 gauge',
      'queue gauge',
      'db_seconds summary seconds',
    ])
  })

  test('has no sum in OpenMetrics, where sums only grow, once a value was negative', async () => {
    const backend = await open()
    await backend.flush(sampleWindow(rollupsOfEveryType()), never)
    const text = await lines(backend, 'openmetrics')
    expect(text).not.toContain('size_sum 90505')
    expect(text).toContain('size_count 4')
  })
})

describe('a counter', () => {
  test('shows its total and not the sum of what was seen here', async () => {
    const backend = await open()
    await backend.flush(sampleWindow([{ ...series('counter', 'a', [5]), total: 1005 } as Rollup]), never)
    await backend.flush(sampleWindow([{ ...series('counter', 'a', [2]), total: 1007 } as Rollup], 1), never)
    expect(await lines(backend)).toEqual(['a_total 1007'])
  })

  test('that ends in _total gets no second one', async () => {
    const backend = await open()
    await backend.flush(
      sampleWindow([series('counter', 'requests_total', [1]), series('counter', 'total', [2])]),
      never,
    )
    expect(await lines(backend)).toEqual(['requests_total 2', 'total_total 4'])
    expect((await scrape(backend, 'openmetrics')).map(({ name }) => name)).toEqual(['requests', 'total'])
  })

  test.each(['counter', 'meter'] as const)(
    'that goes down is a gauge from then on, by the same name (%s)',
    async (type) => {
      const backend = await open()
      const typeOf = async (format: Format): Promise<string | undefined> =>
        (await scrape(backend, format)).find(({ name }) => /^open(_total)?$/.test(name))?.type
      await backend.flush(sampleWindow([series(type, 'open', [5])]), never)
      expect([await typeOf('text'), await typeOf('openmetrics')]).toEqual(['counter', 'counter'])
      await backend.flush(sampleWindow([series(type, 'open', [-2])], 1), never)
      expect([await typeOf('text'), await typeOf('openmetrics')]).toEqual(['gauge', 'gauge'])
      await backend.flush(sampleWindow([series(type, 'open', [1])], 2), never)
      expect([await typeOf('text'), await typeOf('openmetrics')]).toEqual(['gauge', 'gauge'])
      expect((await lines(backend))[0]).toMatch(/^open_total /)
    },
  )
})

describe('names', () => {
  test('that come to one are a family of several series, told of once', async () => {
    const backend = await open()
    const rollups = [series('counter', 'a.b', [1], { n: '1' }), series('counter', 'a_b', [2], { n: '2' })]
    await backend.flush(sampleWindow(rollups), never)
    expect(await lines(backend)).toEqual(['a_b_total{n="1"} 2', 'a_b_total{n="2"} 4'])
  })

  test('and labels that come to one are refused by name, and take no others along', async () => {
    const backend = await open()
    const rollups = [
      series('counter', 'a.b', [1], { n: '1' }),
      series('counter', 'a_b', [2], { n: '1' }),
      series('gauge', 'bare', [1]),
      series('gauge', 'bare', [2], { empty: '' }),
      series('gauge', 'after', [3]),
    ]
    for (const index of [0, 1]) {
      const error = await backend.flush(sampleWindow(rollups, index), never).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ name: 'PermanentError', refused: 2 } satisfies Partial<PermanentError>)
      expect((error as Error).message).toBe(
        'prometheus: the counter "a_b" is left out: with its labels it would be the same series a_b_total as the ' +
          'counter "a.b"; rename one of them, or its tags',
      )
      expect(await lines(backend)).toEqual(['a_b_total{n="1"} 2', 'bare 1', 'after 3'])
    }
  })

  test('of different types keep all samples and lose only their type', async () => {
    const backend = await open()
    const rollups = (['counter', 'gauge', 'histogram'] as const).map((type) => series(type, 'x', [1]))
    await backend.flush(sampleWindow([...rollups, series('timer', 'x', [1])]), never)
    const sorted = (await lines(backend)).map((line) => line.replace(/ .*/, '')).sort()
    expect(sorted.filter((name) => !name.includes('quantile'))).toEqual(
      ['x', 'x_count', 'x_seconds_count', 'x_seconds_sum', 'x_sum', 'x_total'].sort(),
    )
    expect(sorted.filter((name) => name.includes('quantile'))).toHaveLength(18)
    const types = (families: ParsedFamily[]): Record<string, string> =>
      Object.fromEntries(families.map(({ name, type }) => [name, type]))
    expect(types(await scrape(backend))).toEqual({
      x: 'untyped',
      x_sum: 'untyped',
      x_count: 'untyped',
      x_total: 'counter',
      x_seconds: 'summary',
    })
    expect(types(await scrape(backend, 'openmetrics'))).toMatchObject({ x: 'unknown', x_total: 'unknown' })
  })

  test('of a gauge that is a part of a histogram of the same labels is refused', async () => {
    const backend = await open()
    const rollups = [series('histogram', 'x', [1, 2]), series('gauge', 'x_count', [9])]
    await expect(backend.flush(sampleWindow(rollups), never)).rejects.toThrow(
      'the gauge "x_count" is left out: with its labels it would be the same series x_count as the histogram "x"',
    )
    expect(await lines(backend)).toContain('x_count 2')
  })

  test('have a prefix where one is set', async () => {
    const backend = await open('prometheus:?prefix=9-app.')
    await backend.flush(sampleWindow([series('gauge', 'a', [1])]), never)
    expect(await lines(backend)).toEqual(['_9_app_a 1'])
  })

  test('of tags give way to those with a meaning here, and are joined when they come to one', async () => {
    const backend = await open()
    const tags = { '9': 'd', 'a.b': 'x', 'a-b': 'y', __name__: 'n', le: '1', quantile: '2', source: 's' }
    await backend.flush(sampleWindow([series('gauge', 'g', [1], tags, 'web')]), never)
    expect(await lines(backend)).toEqual([
      'g{_9="d",_name__="n",a_b="x;y",exported_le="1",exported_quantile="2",exported_source="s",source="web"} 1',
    ])
  })

  test('and values of any characters can be read back', async () => {
    const backend = await open()
    const value = 'a"b\\c\\n{}=,\u2028 ü🚀\t'
    await backend.flush(sampleWindow([series('gauge', 'g', [1], { v: value }, value)]), never)
    for (const format of FORMATS) {
      expect((await scrape(backend, format))[0]?.samples[0]?.labels).toMatchObject({ v: value, source: value })
    }
  })
})

test.each(['summary', 'histogram', 'both'])(
  'every series of any name is told of or refused, one by one (%s)',
  async (timers) => {
    await fc.assert(
      fc.asyncProperty(markedRollups, fc.constantFrom(...FORMATS), async (rollups, format) => {
        const backend = await open(`prometheus:?timers=${timers}`)
        const error: unknown = await backend.flush(sampleWindow(rollups), never).catch((reason: unknown) => reason)
        const families = await scrape(backend, format)
        const values = new Set(families.flatMap(({ samples }) => samples.map(({ value }) => value)))
        const shown = rollups.filter((_, index) => values.has(1_000_000 + index))
        expect(shown.length + ((error as PermanentError | undefined)?.refused ?? 0)).toBe(rollups.length)
      }),
      { numRuns: 300 },
    )
  },
)

describe('histograms', () => {
  test('count what is at most each bound, over all windows', async () => {
    const backend = await open('prometheus:?timers=histogram&buckets=0.1,1&histogram-buckets=-5,0,100')
    const rollups = [series('timer', 'db', [0.1, 0.11, 1, 3]), series('histogram', 'size', [-6, -5, 0, 100, 101])]
    await backend.flush(sampleWindow(rollups), never)
    await backend.flush(sampleWindow(rollups, 1), never)
    expect(await lines(backend)).toEqual([
      'db_seconds_bucket{le="0.1"} 2',
      'db_seconds_bucket{le="1.0"} 6',
      'db_seconds_bucket{le="+Inf"} 8',
      'db_seconds_sum 8.42',
      'db_seconds_count 8',
      'size_bucket{le="-5.0"} 4',
      'size_bucket{le="0.0"} 6',
      'size_bucket{le="100.0"} 8',
      'size_bucket{le="+Inf"} 10',
      'size_sum 380',
      'size_count 10',
    ])
    expect((await scrape(backend, 'openmetrics')).map(({ type }) => type)).toEqual(['histogram', 'histogram'])
  })

  test('come with quantiles by another name when both are asked for', async () => {
    const backend = await open('prometheus:?timers=both&buckets=1')
    await backend.flush(sampleWindow([series('timer', 'db', [0.5, 2])]), never)
    expect((await scrape(backend)).map(({ name, type, samples }) => [name, type, samples.length])).toEqual([
      ['db_seconds', 'histogram', 4],
      ['db_seconds_quantile', 'summary', 9],
    ])
  })

  test('have the same buckets in both formats, as Prometheus itself would write them', async () => {
    const bounds = [1e-10, 0.000_1, 0.005, 1, 2.5, 10, 123_456, 1e6, 1_234_567, 1e21]
    const backend = await open(`prometheus:?timers=histogram&buckets=${bounds.join()}`)
    await backend.flush(sampleWindow([series('timer', 'db', [0.5])]), never)
    const les = async (format: Format): Promise<(string | undefined)[]> =>
      (await scrape(backend, format))[0]?.samples.map(({ labels }) => labels['le']) ?? []
    const written: (string | undefined)[] =
      '1e-10 0.0001 0.005 1.0 2.5 10.0 123456.0 1e+06 1.234567e+06 1e+21 +Inf'.split(' ')
    written.push(undefined, undefined)
    expect(await les('text')).toEqual(written)
    expect(await les('openmetrics')).toEqual(written)
  })

  test.each([
    ['buckets=1,1', 'the option buckets must be up to 500 ascending numbers'],
    ['buckets=', 'the option buckets must be'],
    ['histogram-buckets=1,x', 'the option histogram-buckets must be'],
    ['timers=summary&buckets=1', 'buckets are for timers=histogram and timers=both'],
    ['timers=native', 'timers=native must be summary or histogram or both'],
  ])('with %s are refused', async (options, message) => {
    const all = options.startsWith('timers') ? options : `timers=histogram&${options}`
    await expect(openBackend(`prometheus:?${all}`)).rejects.toThrow(message)
  })
})

describe('what has no new data', () => {
  async function aged(options: string, seconds: number): Promise<string[]> {
    let nowMs = 1_000_000
    const backend = new PrometheusBackend(parseBackendUrl(`prometheus:${options}`), () => nowMs)
    await backend.flush(sampleWindow(rollupsOfEveryType()), never)
    nowMs += seconds * 1000
    const names = (await lines(backend)).map((line) => line.replace(/[{ ].*/, ''))
    return [...new Set(names)]
  }
  const totals = ['orders_total', 'events_total', 'db_seconds_sum', 'db_seconds_count', 'size_sum', 'size_count']
  const gauges = ['events_m1', 'events_m5', 'events_m15', 'queue']
  const windows = ['db_seconds', 'size', 'users']

  test.each([
    [60, [...totals, ...gauges, ...windows]],
    [61, [...totals, ...gauges]],
    [300, [...totals, ...gauges]],
    [301, totals],
    [86_400, totals],
    [86_401, []],
  ])('for %d seconds leaves %j', async (seconds, names) => {
    expect((await aged('', seconds)).sort()).toEqual([...names].sort())
  })

  test('stays as long as its options say', async () => {
    expect((await aged('?expire=10m&keep=5m', 301)).sort()).toEqual([...gauges].sort())
  })

  test('is forgotten, and its name is free for others then', async () => {
    let nowMs = 0
    const backend = new PrometheusBackend(parseBackendUrl('prometheus:?keep=1m&expire=1m'), () => nowMs)
    await backend.flush(sampleWindow([series('gauge', 'a.b', [1]), series('histogram', 'x', [1])]), never)
    nowMs += 100_000
    await backend.flush(sampleWindow([], 1), never)
    await backend.flush(sampleWindow([series('gauge', 'a_b', [2]), series('gauge', 'x_count', [3])], 2), never)
    expect(await scrape(backend)).toMatchObject([
      { name: 'a_b', type: 'gauge' },
      { name: 'x_count', type: 'gauge' },
    ])
  })

  test('comes back with its total', async () => {
    let nowMs = 0
    const backend = new PrometheusBackend(parseBackendUrl('prometheus:?keep=1m'), () => nowMs)
    const counter = (index: number, total: number): Window =>
      sampleWindow([{ ...series('counter', 'a', [1]), total } as Rollup], index)
    await backend.flush(counter(0, 41), never)
    nowMs += 61_000
    expect(await lines(backend)).toEqual([])
    await backend.flush(counter(6, 42), never)
    expect(await lines(backend)).toEqual(['a_total 42'])
  })

  test('of a timer that a worker tells of all the same has no quantiles', async () => {
    const backend = await open()
    const idle = { ...series('timer', 'db', [0.5]), count: 0, sum: 0, min: 0, max: 0, p50: 0 } as Rollup
    await backend.flush(sampleWindow([series('timer', 'db', [0.5])], 0), never)
    await backend.flush(sampleWindow([idle], 1), never)
    expect(await lines(backend)).toEqual(['db_seconds_sum 0.5', 'db_seconds_count 1'])
  })
})

describe('over a socket', () => {
  test('a scrape is compressed where that is asked for, and the same', async () => {
    const backend = await open('prometheus://127.0.0.1:0')
    await backend.flush(sampleWindow(manyRollups(3000)), never)
    const plain = await fetched(backend.address ?? '')
    const packed = await fetched(backend.address ?? '', { 'accept-encoding': 'gzip' })
    expect(plain.response.headers).toMatchObject({ 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
    expect(plain.response.headers).not.toHaveProperty('content-encoding')
    expect(packed.response.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept, accept-encoding' })
    expect(gunzipSync(packed.body).equals(plain.body)).toBe(true)
    const refused = await fetched(backend.address ?? '', { 'accept-encoding': 'gzip;q=0, br' })
    expect(refused.body.equals(plain.body)).toBe(true)
  })

  test('only GET and HEAD of one path are answered', async () => {
    const backend = await open('prometheus://127.0.0.1:0/scrape')
    const address = backend.address ?? ''
    expect(address).toMatch(/\/scrape$/)
    await backend.flush(sampleWindow([series('gauge', 'a', [1])]), never)
    const statuses = async (method: string, url: string): Promise<[number | undefined, number]> => {
      const { response, body } = await fetched(url, {}, method)
      return [response.statusCode, body.length]
    }
    expect(await statuses('HEAD', address)).toEqual([200, 0])
    expect((await statuses('GET', `${address}?x=1`))[0]).toBe(200)
    expect((await statuses('POST', address))[0]).toBe(405)
    expect((await statuses('GET', address.replace('scrape', 'metrics')))[0]).toBe(404)
  })

  test.each([
    ['token=s3cret-token', 'Bearer s3cret-token'],
    ['user', `Basic ${Buffer.from('prom:s3cret-token').toString('base64')}`],
  ])('whoever has no %s is refused, and told no secret', async (kind, authorization) => {
    const who = kind === 'user' ? 'prom:s3cret-token@' : ''
    const backend = await open(`prometheus://${who}127.0.0.1:0${kind === 'user' ? '' : `?${kind}`}`)
    for (const wrong of ['', 'Bearer ', `${authorization}x`, authorization.slice(0, -1)]) {
      const { response, body } = await fetched(backend.address ?? '', { authorization: wrong })
      expect(response.statusCode).toBe(401)
      expect(body.toString()).not.toContain('s3cret')
    }
    expect((await fetched(backend.address ?? '', { authorization })).response.statusCode).toBe(200)
    expect(backend.handle(new Request('http://host/')).status).toBe(401)
    expect(backend.handle(new Request('http://host/', { headers: { authorization } })).status).toBe(200)
  })

  test('a port that is taken is told with the way out', async () => {
    const holder = createServer()
    holder.listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as { port: number }
    const backend = await openBackend(`prometheus://127.0.0.1:${port}`)
    await expect(backend.connect?.()).rejects.toThrow(
      `prometheus: cannot listen on 127.0.0.1:${port}: port ${port} is taken; name another in its URL`,
    )
    holder.close()
  })

  test.each([
    ['prometheus://0.0.0.0:0', 'would be open to others; add ?token=$NAME, or say ?insecure=yes'],
    ['prometheus://[::]:0', 'would be open to others'],
    ['prometheus://no.such.host.invalid:0', 'host no.such.host.invalid has no address'],
    ['prometheus:9464', 'names no host; write prometheus://127.0.0.1:9464'],
    ['prometheus+smtp://host', 'there is no prometheus+smtp'],
    ['prometheus://u:p@127.0.0.1?token=t', 'a user and'],
    ['prometheus:?token=', 'the option token is empty'],
    ['prometheus:?tokn=x', 'unknown option "tokn"'],
  ])('%s is refused', async (url, message) => {
    const error: unknown = await openBackend(url)
      .then((backend) => backend.connect?.())
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as Error).message).toContain(message)
  })

  test('it listens to others where that is said', async () => {
    for (const options of ['?insecure=yes', '?token=s3cret']) {
      const backend = await open(`prometheus://0.0.0.0:0${options}`)
      expect(backend.address).toMatch(/^http:\/\/0\.0\.0\.0:[1-9]/)
    }
  })

  test('a reader that leaves early disturbs nobody', async () => {
    const backend = await open('prometheus://127.0.0.1:0')
    await backend.flush(sampleWindow(manyRollups(20_000)), never)
    const early = get(backend.address ?? '', { agent: false })
    early.on('error', () => {})
    const [response] = (await once(early, 'response')) as [IncomingMessage]
    await once(response, 'data')
    early.destroy()
    const { body } = await fetched(backend.address ?? '')
    expect(parseExposition(body.toString(), 'text')).toHaveLength(20_000)
  })

  test('a scrape goes on while windows come, and stays well-formed', async () => {
    const backend = await open('prometheus://127.0.0.1:0')
    await backend.flush(sampleWindow(manyRollups(10_000)), never)
    const scrapes = Promise.all(
      FORMATS.map((format) => fetched(backend.address ?? '', { accept: format === 'text' ? '' : ACCEPT })),
    )
    for (let index = 1; index < 10; index++) {
      const rollups = manyRollups(2000).map((rollup) => ({ ...rollup, type: 'gauge', value: index }) as Rollup)
      await backend.flush(sampleWindow(rollups, index), never)
    }
    const [text, openMetrics] = await scrapes
    expect(parseExposition(text?.body.toString() ?? '', 'text').length).toBeGreaterThanOrEqual(10_000)
    expect(parseExposition(openMetrics?.body.toString() ?? '', 'openmetrics').length).toBeGreaterThanOrEqual(10_000)
  })
})

test('a body comes in pieces, however many series there are', async () => {
  const backend = await open()
  await backend.flush(sampleWindow(manyRollups(100_000)), never)
  const { body } = backend.handle(new Request('http://host/'))
  let [pieces, largest] = [0, 0]
  for await (const piece of body as unknown as AsyncIterable<Uint8Array>) {
    pieces++
    largest = Math.max(largest, piece.length)
  }
  expect(pieces).toBeGreaterThan(100)
  expect(largest).toBeLessThan(200_000)
})

describe('the format', () => {
  test.each([
    ['', 'text'],
    ['*/*', 'text'],
    ['text/plain', 'text'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', 'text'],
    [ACCEPT, 'openmetrics'],
    ['application/openmetrics-text', 'openmetrics'],
    ['Application/OpenMetrics-Text; version="1.0.0"; charset=utf-8', 'openmetrics'],
    ['application/openmetrics-text;version=0.0.1', 'text'],
    ['application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5', 'text'],
    ['application/openmetrics-text;q=0', 'text'],
    ['application/openmetrics-text;q=x', 'text'],
    // Prometheus 3
    [
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,' +
        'application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,' +
        'text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
  ])('for Accept %j is %s', async (accept, format) => {
    const { headers } = (await open()).handle(new Request('http://host/', { headers: { accept } }))
    expect(headers.get('content-type')?.includes('openmetrics')).toBe(format === 'openmetrics')
  })
})

test('the parser of these tests reads what another library writes, and refuses what is damaged', async () => {
  const registry = new ClientRegistry()
  new Counter({ name: 'c_total', help: 'a "c"\\\n', labelNames: ['l'], registers: [registry] }).inc({ l: 'a"\\\nb' }, 2)
  new Histogram({ name: 'h', help: 'an h', buckets: [0.1, 2.5], registers: [registry] }).observe(1)
  const text = await registry.metrics()
  const written = text
    .replaceAll('le="1"', 'le="1.0"')
    .replaceAll('\n\n', '\n')
    .replace(/# HELP (\S+) .*\n# TYPE .*\n/g, (head) => {
      const [help = '', type = ''] = head.split('\n')
      return `${type}\n${help}\n`
    })
  const [c, h] = parseExposition(written, 'text')
  expect(c?.samples).toEqual([{ name: 'c_total', labels: { l: 'a"\\\nb' }, value: 2 }])
  expect(h?.samples.map(({ value }) => value)).toEqual([0, 1, 1, 1, 1])
  for (const [from, to, said] of [
    ['c_total{', 'c_totals{', 'stands in the counter'],
    ['\\\\', '\\x', 'no escape'],
    ['le="2.5"} 1', 'le="2.5"} 7', 'does not ascend'],
    ['le="+Inf"', 'le="9.5"', 'is no count'],
    ['# TYPE h histogram', '# TYPE c_total histogram', 'comes twice'],
    ['h_count 1', 'h_count 2', 'is no count'],
    ['h_sum 1', 'h_sum  1', 'no value'],
  ] as const) {
    expect(written).toContain(from)
    expect(() => parseExposition(written.replace(from, to), 'text')).toThrow(said)
  }
})
