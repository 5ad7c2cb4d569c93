import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { type Backend, PermanentError, type Rollup } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { escapeMeasurement, escapeTag, linesOf } from '../../backends/influx/line.ts'
import { openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { type Point, parseLine } from './influx-lines.ts'
import { InfluxServer } from './influx-server.ts'
import { status } from './service.ts'

const never = new AbortController().signal
const servers: InfluxServer[] = []

afterEach(async () => {
  for (const { service } of servers.splice(0)) await service.stop()
})

const V1 = '/write?db=metrics&precision=ms'
const V2 = '/api/v2/write?org=my+org&bucket=b&precision=ms'

async function start(options = '?db=metrics', expected = V1): Promise<{ server: InfluxServer; backend: Backend }> {
  const server = await InfluxServer.start(expected)
  servers.push(server)
  return { server, backend: await openBackend(`influx+http://127.0.0.1:${server.service.port}${options}`) }
}

function counter(name = 'orders', tags: Record<string, string> = {}, source = 'web'): Rollup {
  return { type: 'counter', name, source, tags, value: 5, rate: 0.5, total: 105 }
}

const END = 1_700_000_010

function point(rollup: Rollup, end = END): Point {
  const [line, ...others] = linesOf(rollup, end, 'ms', false)
  expect(others).toEqual([])
  return parseLine(line as string)
}

/** What a backslash that cannot be written becomes, and what else has no place in a line. */
const written = (text: string): string =>
  text.replace(/\\(?=[, =\\]|$)/g, '%5C').replace(/[\0\r\n]/g, (each) => ({ '\0': '%00', '\r': '%0D' })[each] ?? '%0A')

describe.each([
  { version: 1, options: '?db=metrics', expected: V1, secret: 'hunter22' },
  { version: 2, options: '?org=my%20org&bucket=b&token=s3cr3t-token', expected: V2, secret: 's3cr3t-token' },
])('the contract, with version $version, is kept: it', ({ version, options, expected, secret }) => {
  let server: InfluxServer
  const setup = {
    create: async () => {
      server = await InfluxServer.start(expected)
      const user = version === 1 ? `admin:${secret}@` : ''
      return openBackend(`influx+http://${user}127.0.0.1:${server.service.port}${options}`)
    },
    received: () => {
      expect(server.faults).toEqual([])
      return server.points
    },
    expected: ({ time, interval: _interval, type, name, source, tags, ...figures }: RollupRecord) => {
      const { readings: _readings, ...fields } = figures as Record<string, unknown>
      const all = { ...tags, metric_type: type, ...(source === 'not_specified' ? {} : { source }) }
      return [{ measurement: name, tags: all, fields, time }]
    },
    breakTarget: () => {
      server.service.answer = status(503)
    },
    hangTarget: () => {
      server.service.answer = () => {}
    },
    mendTarget: () => {
      server.service.answer = server.take
    },
    secrets: [secret],
    destroy: () => server.service.stop(),
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('a line', () => {
  test('is what the protocol says', () => {
    expect(linesOf(counter('orders', { route: '/pay', a: 'b c' }), END, 'ms', false)).toEqual([
      'orders,a=b\\ c,metric_type=counter,route=/pay,source=web value=5,rate=0.5,total=105 1700000010000',
    ])
  })

  test.each([
    ['s', '1700000010'],
    ['ms', '1700000010250'],
    ['us', '1700000010250000'],
    ['ns', '1700000010250000000'],
  ] as const)('counts its time in %s', (precision, time) => {
    expect(
      linesOf(counter(), END + 0.25, precision, false)[0]
        ?.split(' ')
        .at(-1),
    ).toBe(time)
  })

  test('has the figures of its type as fields', () => {
    const distribution = 'count rate sum min max mean stddev p50 p75 p90 p95 p98 p99 p999'
    expect(rollupsOfEveryType().map((rollup) => Object.keys(point(rollup).fields).join(' '))).toEqual([
      'value rate total',
      'count rate m1 m5 m15',
      'value min max mean count',
      distribution,
      distribution,
      'value',
    ])
  })

  test('leaves out what is no number, and is none when nothing is left', () => {
    const broken = { ...counter(), rate: Number.NaN, total: Infinity } as Rollup
    expect(point(broken).fields).toEqual({ value: 5 })
    expect(linesOf({ ...broken, value: -Infinity } as Rollup, END, 'ms', false)).toEqual([])
  })

  test('has no tag for an empty value, nor for a source that nobody named', () => {
    expect(point(counter('a', { empty: '', full: 'x' }, 'not_specified')).tags).toEqual({
      full: 'x',
      metric_type: 'counter',
    })
    expect(point(counter('a', {}, '')).tags).toEqual({ metric_type: 'counter' })
  })

  test('calls a tag otherwise whose name is taken or refused', () => {
    const tags = { source: '1', tag_source: '2', time: '3', metric_type: '4', _field: '5', _measurement: '6' }
    expect(point(counter('a', tags)).tags).toEqual({
      source: 'web',
      metric_type: 'counter',
      tag_tag_source: '1',
      tag_source: '2',
      tag_time: '3',
      tag_metric_type: '4',
      tag__field: '5',
      tag__measurement: '6',
    })
  })

  test('is no comment and loses no first character, whatever the name begins with', () => {
    expect(point(counter('#hash')).measurement).toBe('%23hash')
    expect(point(counter('\ttab')).measurement).toBe('%09tab')
    expect(point(counter('\u000bline')).measurement).toBe('%0Bline')
    expect(point(counter('\u00a0hard')).measurement).toBe('%C2%A0hard')
    expect(point(counter(' space')).measurement).toBe(' space')
    expect(point(counter('#')).measurement).toBe('%23')
  })

  test('holds readings of a gauge before its value where they are asked for', async () => {
    const gauge = sampleRollup({ type: 'gauge', name: 'queue', source: 'web', tags: {} }, [3, 9, 4])
    expect(linesOf(gauge, END, 's', true).map((line) => line.replace(/^\S+ /, ''))).toEqual([
      'value=3 1700000000',
      'value=9 1700000001',
      'value=4 1700000002',
      'value=4,min=3,max=9,mean=5.333333333333333,count=3 1700000010',
    ])
    const { server, backend } = await start('?db=metrics&readings=yes')
    await backend.flush(sampleWindow([gauge]), never)
    expect(server.points).toHaveLength(4)
  })

  // what separates, escapes and quotes, more often than chance would have it
  const trouble = fc.constantFrom('\\', ',', ' ', '=', '"', '#', '\t', '\r', '\n', '\0', '%', 'a')
  const text = fc
    .array(fc.oneof(trouble, fc.string({ unit: 'binary', maxLength: 1 })), { maxLength: 12 })
    .map((parts) => parts.join('').toWellFormed())
  const named = text.filter((each) => each !== '')

  test('brings every name, source and tag over whole', () => {
    fc.assert(
      fc.property(named, text, fc.dictionary(named, text, { maxKeys: 5 }), (name, source, tags) => {
        // their own rules, tested above
        fc.pre(!/^(?! )[#\s]/.test(name) && source !== 'not_specified')
        const others = Object.entries(tags).filter(
          ([tag]) => !/^(source|metric_type|time|_field|_measurement)$/.test(tag),
        )
        // two names that cannot be written may come to one
        fc.pre(new Set(others.map(([tag]) => written(tag))).size === others.length)
        const all = [...others, ['source', source] as const].filter(([, value]) => value !== '')
        const parsed = point(counter(name, Object.fromEntries(others), source))
        expect(parsed.measurement).toBe(written(name))
        expect(parsed.tags).toEqual(
          Object.fromEntries([
            ['metric_type', 'counter'],
            ...all.map(([tag, value]) => [written(tag), written(value)]),
          ]),
        )
      }),
      { numRuns: 1000 },
    )
  })

  test('never lets a text reach into the line after it', () => {
    fc.assert(
      fc.property(named, named, (one, other) => {
        for (const escaped of [escapeMeasurement(one), escapeTag(one)]) {
          expect(escaped).not.toMatch(/[\n\r]|\\$|(?<!\\)[ ,]/)
        }
        const lines = [counter(one, { [other]: one }), counter()].flatMap((rollup) => linesOf(rollup, END, 'ms', false))
        expect(lines.join('\n').split('\n')).toHaveLength(2)
      }),
      { numRuns: 1000 },
    )
  })

  test('brings every finite number over exactly', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        // there is only one 0 to a database
        expect(point({ ...counter(), value } as Rollup).fields['value']).toBe(value === 0 ? 0 : value)
      }),
    )
  })
})

describe('a request', () => {
  test('to version 1 says who asks, and where to', async () => {
    const server = await InfluxServer.start('/influx/write?db=my+db&rp=a%26b&precision=u')
    servers.push(server)
    const authority = `admin:pass%40word@127.0.0.1:${server.service.port}`
    const backend = await openBackend(`influx+http://${authority}/influx/?db=my db&rp=a%26b&precision=us`)
    await backend.flush(sampleWindow([counter()]), never)
    expect(server.faults).toEqual([])
    expect(server.points).toMatchObject([{ measurement: 'orders', time: END }])
    expect(server.service.requests[0]?.headers).toMatchObject({
      authorization: `Basic ${Buffer.from('admin:pass@word').toString('base64')}`,
      'content-encoding': 'gzip',
    })
  })

  test('to version 2 carries the token, and is not compressed where that is off', async () => {
    const server = await InfluxServer.start(V2)
    servers.push(server)
    const url = `influx+http://127.0.0.1:${server.service.port}?org=my org&bucket=b&token=$TOKEN&gzip=no`
    await (await openBackend(url, { TOKEN: 't0ken' })).flush(sampleWindow([counter()]), never)
    expect(server.points).toHaveLength(1)
    const { headers } = server.service.requests[0] as { headers: Record<string, string> }
    expect(headers['authorization']).toBe('Token t0ken')
    expect(headers).not.toHaveProperty('content-encoding')
  })

  test('holds 5,000 lines at most, and fewer when they are long', async () => {
    const { server, backend } = await start()
    await backend.flush(sampleWindow(manyRollups(12_000)), never)
    expect(server.service.requests.map(({ body }) => body.split('\n').length)).toEqual([5000, 5000, 2000])
    const long = manyRollups(3000).map((rollup) => ({ ...rollup, tags: { a: 'x'.repeat(255 * 20) } }))
    await backend.flush(sampleWindow(long, 1), never)
    expect(server.service.requests.length).toBeGreaterThan(5)
    expect(server.points).toHaveLength(15_000)
  })
})

describe('what is refused', () => {
  test.each(['v1', 'v3'] as const)(
    'of a request that %s takes in part is counted, and nothing is sent again',
    async (drops) => {
      const { server, backend } = await start()
      server.drops = drops
      for (const name of ['many.3', 'many.700', 'many.701']) server.bad.add(name)
      const error: unknown = await backend
        .flush(sampleWindow(manyRollups(1000)), never)
        .catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(PermanentError)
      expect(error).toMatchObject({
        refused: 3,
        message: expect.stringMatching(/answered 400: .*partial write/) as string,
      })
      expect(server.points).toHaveLength(997)
      expect(server.service.requests).toHaveLength(1)
    },
  )

  test('is counted by the lines that could not be read, too', async () => {
    const { server, backend } = await start()
    const why = `partial write: unable to parse 'a b': missing fields\nunable to parse 'c d': missing fields dropped=0`
    server.service.next.push(status(400, JSON.stringify({ error: why })))
    await expect(backend.flush(sampleWindow(manyRollups(10)), never)).rejects.toMatchObject({ refused: 2 })
  })

  test('by a service that refuses all for one takes no other along', async () => {
    const { server, backend } = await start()
    server.drops = 'all'
    server.bad.add('many.13')
    await expect(backend.flush(sampleWindow(manyRollups(100)), never)).rejects.toMatchObject({
      name: 'PermanentError',
      refused: 1,
    })
    expect(server.points).toHaveLength(99)
  })

  test.each([401, 404, 429, 500, 503])('with %i can be sent again', async (code) => {
    const { server, backend } = await start()
    server.service.next.push(status(code, '{"error":"database not found: \\"metrics\\""}'))
    const error: unknown = await backend.flush(sampleWindow([counter()]), never).catch((reason: unknown) => reason)
    expect(error).not.toBeInstanceOf(PermanentError)
    expect((error as Error).message).toContain('database not found')
    await backend.flush(sampleWindow([counter()]), never)
    expect(server.points).toHaveLength(1)
  })

  test.each([429, 503])('with %i for a while waits as long as it is told', async (code) => {
    const { server, backend } = await start()
    server.service.next.push(status(code, '', { 'retry-after': '3' }))
    await expect(backend.flush(sampleWindow([counter()]), never)).rejects.toMatchObject({ retryAfterMs: 3000 })
  })
})

describe('a request that nobody answers', () => {
  test('is sent again, and its points are there once', async () => {
    const { server, backend } = await start()
    server.service.next.push(server.takeAndReset)
    const window = sampleWindow(manyRollups(100))
    await expect(backend.flush(window, never)).rejects.toMatchObject({ name: 'NoAnswerError' })
    await backend.flush(window, never)
    expect(server.points).toHaveLength(100)
    expect(server.service.requests).toHaveLength(2)
  })

  test('is left when the time is over', async () => {
    const { server, backend } = await start()
    server.service.answer = () => {}
    await expect(backend.flush(sampleWindow([counter()]), AbortSignal.timeout(50))).rejects.toThrow('no answer in time')
  })
})

test.each([
  ['influx://host?db=a', /does not say how to connect; write influx\+http:\/\/host/],
  ['influx+http://host', /names no database; write \?org=ORG&bucket=BUCKET&token=\$TOKEN/],
  ['influx+http://host?db=a&bucket=b', /names two databases; write/],
  ['influx+http://host?bucket=b', /the option org is missing/],
  ['influx+http://host?org=o', /the option bucket is missing/],
  ['influx+http://host?db=', /the option db is missing/],
  ['influx+http://u:p@host?org=o&bucket=b', /a bucket is written with a token/],
  ['influx+http://u:p@host?db=a&token=t', /has a token and a user; remove one/],
  ['influx+http://host?org=o&bucket=b&rp=x', /the option rp goes with db/],
  ['influx+http://host?db=a&precision=m', /precision=m must be s or ms or us or ns/],
  ['influx+http://host?db=a&retention=x', /unknown option "retention"/],
])('%s is refused', async (url, message) => {
  await expect(openBackend(url)).rejects.toMatchObject({
    name: 'UsageError',
    message: expect.stringMatching(message) as string,
  })
})
