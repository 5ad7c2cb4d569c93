import { afterEach, describe, expect, test } from 'vitest'
import { type Backend, PermanentError, type Rollup, type Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { VERSION } from '../../client/version.ts'
import { Collector } from './otlp-collector.ts'
import type { TakenPoint } from './otlp-messages.ts'
import { status } from './service.ts'

const never = new AbortController().signal
const collectors: Collector[] = []

afterEach(async () => {
  for (const { service } of collectors.splice(0)) await service.stop()
})

async function open(options = ''): Promise<{ collector: Collector; backend: Backend }> {
  const collector = await Collector.start()
  collectors.push(collector)
  return { collector, backend: await openBackend(`otlp+http://127.0.0.1:${collector.service.port}${options}`) }
}

function counter(value: number, total: number, name = 'orders', source = 'web'): Rollup {
  return { type: 'counter', name, source, tags: {}, value, rate: value / 10, total }
}

function timer(values: readonly number[], name = 'db'): Rollup {
  return sampleRollup({ type: 'timer', name, source: 'web', tags: {} }, values)
}

const window = (index: number, ...rollups: Rollup[]): Window => sampleWindow(rollups, index)

/** Seconds; the sample windows begin at 1,700,000,000. */
const seconds = (nanoseconds: bigint): number => Number(nanoseconds / 1_000_000n) / 1000

describe('the contract', () => {
  /** What is compared of a point: the buckets have tests of their own. */
  const shown = (point: TakenPoint): object => {
    const { name, unit, kind, monotonic, attributes, start: from, time, value, histogram } = point
    const common = { name, unit, kind, monotonic, attributes, time: seconds(time), start: seconds(from) }
    if (histogram === undefined) return { ...common, value }
    const { count, sum, min, max } = histogram
    return { ...common, count: Number(count), sum, min, max }
  }

  /** What a record becomes; running totals are kept per series as a receiver would see them. */
  function becomes(record: RollupRecord, cumulative: boolean, kept: Map<string, Record<string, number>>): object[] {
    const { type, name, source, tags, time, interval } = record
    const attributes = source === 'not_specified' ? tags : { source, ...tags }
    const gauge = (called: string, value: unknown, unit = ''): object => {
      return { name: called, unit, kind: 'gauge', monotonic: false, attributes, start: 0, time, value }
    }
    const figure = record as unknown as Record<string, number>
    const key = JSON.stringify([type, name, source, tags])
    const before = cumulative ? kept.get(key) : undefined
    const start = before?.['start'] ?? time - interval
    switch (type) {
      case 'counter': {
        const monotonic = (figure['value'] as number) >= 0
        const common = { name, unit: '', kind: 'sum', monotonic, attributes, time }
        if (!cumulative) return [{ ...common, start, value: figure['value'] }]
        // the samples' totals are twice the value, so they began before; of 0 the double is 0
        return [{ ...common, start: figure['total'] === figure['value'] ? start : 0, value: figure['total'] }]
      }
      case 'meter': {
        const value = (before?.['value'] ?? 0) + (figure['count'] as number)
        kept.set(key, { start, value })
        const sum = { name, unit: '', kind: 'sum', monotonic: true, attributes, start, time, value }
        return [sum, ...['m1', 'm5', 'm15'].map((rate) => gauge(`${name}.${rate}`, figure[rate], '1/s'))]
      }
      case 'gauge':
      case 'set':
        return [gauge(name, figure['value'])]
      default: {
        const [count, sum, min, max] = ['count', 'sum', 'min', 'max'].map((of) => figure[of]) as number[]
        const now = {
          start,
          count: (before?.['count'] ?? 0) + (count as number),
          sum: (before?.['sum'] ?? 0) + (sum as number),
          min: Math.min(before?.['min'] ?? Infinity, min as number),
          max: Math.max(before?.['max'] ?? -Infinity, max as number),
        }
        kept.set(key, now)
        const unit = type === 'timer' ? 's' : ''
        const common = { name, unit, kind: 'histogram', monotonic: false, attributes, time }
        return [{ ...common, ...now, sum: now.min < 0 ? undefined : now.sum }]
      }
    }
  }

  const cases = ['protobuf', 'json'].flatMap((encoding) =>
    ['delta', 'cumulative'].map((temporality) => ({ encoding, temporality })),
  )
  describe.each(cases)('is kept in $encoding with $temporality points: it', ({ encoding, temporality }) => {
    let collector: Collector
    let kept = new Map<string, Record<string, number>>()
    const setup = {
      create: async () => {
        kept = new Map()
        collector = await Collector.start()
        const { port } = collector.service
        return openBackend(
          `otlp+http://127.0.0.1:${port}?encoding=${encoding}&temporality=${temporality}&header=k=s3cr3t`,
        )
      },
      received: () => {
        expect(collector.faults).toEqual([])
        return collector.points.map(shown)
      },
      expected: (record: RollupRecord) => becomes(record, temporality === 'cumulative', kept),
      breakTarget: () => {
        collector.service.answer = status(503)
      },
      hangTarget: () => {
        collector.service.answer = () => {}
      },
      mendTarget: () => {
        collector.service.answer = collector.take
      },
      secrets: ['s3cr3t'],
      destroy: () => collector.service.stop(),
    }
    test.each(backendContract(setup))('$title', async ({ run }) => {
      await expect(run()).resolves.toBeUndefined()
    })
  })
})

describe('a request', () => {
  test('says who sends it, in what scope, and how', async () => {
    const options = '?service=shop&resource=deployment.environment=prod&resource=k8s.pod.name=a=b'
    const { collector, backend } = await open(options)
    await backend.flush(window(0, counter(1, 1)), never)
    expect(collector.requests).toMatchObject([
      {
        resource: {
          'service.name': 'shop',
          'telemetry.sdk.name': 'zibrato',
          'telemetry.sdk.language': 'nodejs',
          'telemetry.sdk.version': VERSION,
          'deployment.environment': 'prod',
          'k8s.pod.name': 'a=b',
        },
        scope: { name: 'zibrato', version: VERSION },
      },
    ])
    expect(collector.service.requests[0]?.headers).toMatchObject({
      'content-type': 'application/x-protobuf',
      'content-encoding': 'gzip',
    })
  })

  test('carries the headers of the URL, goes to its path, and is compressed unless that is off', async () => {
    const collector = await Collector.start('/otlp/v1/metrics')
    collectors.push(collector)
    const authority = `user:pass%40word@127.0.0.1:${collector.service.port}`
    const url = `otlp+http://${authority}/otlp/v1/metrics?gzip=no&header=api-key=$KEY&header=X-Tenant=a=b`
    const backend = await openBackend(url, { KEY: 'secret' })
    await backend.flush(window(0, counter(1, 1)), never)
    expect(collector.faults).toEqual([])
    const { headers } = collector.service.requests[0] as { headers: Record<string, string> }
    expect(headers).toMatchObject({ 'api-key': 'secret', 'x-tenant': 'a=b' })
    expect(headers['authorization']).toBe(`Basic ${Buffer.from('user:pass@word').toString('base64')}`)
    expect(headers).not.toHaveProperty('content-encoding')
  })

  test('holds the same in both encodings', async () => {
    const rollups = [...rollupsOfEveryType(), ...manyRollups(50), timer(Array.from({ length: 500 }, (_, i) => i - 9))]
    const [protobuf, json] = [await open('?encoding=protobuf'), await open('?encoding=json')]
    for (const { backend } of [protobuf, json]) await backend.flush(sampleWindow(rollups), never)
    expect(protobuf.collector.faults).toEqual([])
    expect(json.collector.points).toEqual(protobuf.collector.points)
    expect(json.collector.points).toHaveLength(rollups.length + 3)
  })

  test('is about a megabyte at most before it is compressed', async () => {
    for (const encoding of ['protobuf', 'json']) {
      const { collector, backend } = await open(`?encoding=${encoding}`)
      await backend.flush(sampleWindow(manyRollups(20_000)), never)
      const sizes = collector.service.requests.map(({ bytes }) => bytes.length)
      expect(sizes.length).toBeGreaterThan(1)
      expect(Math.max(...sizes)).toBeLessThan(1.1 * 2 ** 20)
      expect(Math.max(...sizes)).toBeGreaterThan(0.7 * 2 ** 20)
      expect(collector.points).toHaveLength(20_000)
    }
  })

  test('names the source as an attribute, and a tag of that name otherwise', async () => {
    const { collector, backend } = await open()
    const series = { type: 'counter', name: 'orders' } as const
    const rollups = [
      { ...series, source: 'web', tags: { source: 'x', tag_source: 'y' } },
      { ...series, source: 'web', tags: { source: 'x' } },
      { ...series, source: 'not_specified', tags: { empty: '', ['__proto__']: 'odd' } },
    ].map((each) => ({ ...each, value: 1, rate: 0.1, total: 1 }))
    await backend.flush(window(0, ...rollups), never)
    expect(collector.points.map(({ attributes }) => attributes)).toEqual([
      { source: 'web', tag_tag_source: 'x', tag_source: 'y' },
      { source: 'web', tag_source: 'x' },
      Object.fromEntries([
        ['empty', ''],
        ['__proto__', 'odd'],
      ]),
    ])
  })

  test('has a point for each reading of a gauge where that is asked for', async () => {
    const { collector, backend } = await open('?readings=yes')
    const gauge = sampleRollup({ type: 'gauge', name: 'queue', source: 'web', tags: {} }, [3, 9, 4])
    await backend.flush(window(0, gauge, { ...gauge, name: 'repeated', readings: [] } as Rollup), never)
    expect(collector.points.map(({ name, time, value }) => [name, seconds(time), value])).toEqual([
      ['queue', 1_700_000_000, 3],
      ['queue', 1_700_000_001, 9],
      ['queue', 1_700_000_002, 4],
      ['repeated', 1_700_000_010, 4],
    ])
  })
})

describe('a counter', () => {
  const spans = (points: readonly TakenPoint[]): unknown[] =>
    points.map(({ start: from, time, value }) => [seconds(from), seconds(time), value])

  test('starts where its total began, and keeps that start', async () => {
    const { collector, backend } = await open()
    for (const [index, total] of [5, 8, 8].entries()) {
      await backend.flush(window(index, counter(index === 0 ? 5 : total - 5, total)), never)
    }
    expect(spans(collector.points)).toEqual([
      [1_700_000_000, 1_700_000_010, 5],
      [1_700_000_000, 1_700_000_020, 8],
      [1_700_000_000, 1_700_000_030, 8],
    ])
  })

  test('has no start when its total began before this process, until it begins anew', async () => {
    const { collector, backend } = await open()
    await backend.flush(window(0, counter(5, 105)), never)
    await backend.flush(window(1, counter(1, 106)), never)
    await backend.flush(window(2, counter(7, 7)), never)
    await backend.flush(window(3, counter(1, 8)), never)
    expect(spans(collector.points)).toEqual([
      [0, 1_700_000_010, 105],
      [0, 1_700_000_020, 106],
      [1_700_000_020, 1_700_000_030, 7],
      [1_700_000_020, 1_700_000_040, 8],
    ])
  })

  test('sends what each window brought where deltas are asked for', async () => {
    const { collector, backend } = await open('?temporality=delta')
    await backend.flush(window(0, counter(5, 105)), never)
    await backend.flush(window(1, counter(1, 106)), never)
    expect(spans(collector.points)).toEqual([
      [1_700_000_000, 1_700_000_010, 5],
      [1_700_000_010, 1_700_000_020, 1],
    ])
    expect(collector.points.map(({ temporality }) => temporality)).toEqual([1, 1])
  })

  test('is no monotonic sum any more, with all of its name, once one of them went down', async () => {
    const { collector, backend } = await open()
    await backend.flush(window(0, counter(5, 5, 'a'), counter(5, 5, 'b')), never)
    // the one that goes down comes last
    await backend.flush(window(1, counter(1, 6, 'a'), counter(1, 6, 'b'), counter(-1, -1, 'a', 'db')), never)
    await backend.flush(window(2, counter(1, 7, 'a'), counter(1, 7, 'b')), never)
    expect(collector.points.map(({ name, monotonic, time }) => [name, seconds(time) % 100, monotonic])).toEqual([
      ['a', 10, true],
      ['b', 10, true],
      ['a', 20, false],
      ['a', 20, false],
      ['b', 20, true],
      ['a', 30, false],
      ['b', 30, true],
    ])
  })
})

describe('a timer', () => {
  test('has the buckets of its values, in seconds', async () => {
    const { collector, backend } = await open('?temporality=delta')
    await backend.flush(window(0, timer([1, 1, 2, 0.5, 0, -1])), never)
    expect(collector.points).toMatchObject([
      {
        unit: 's',
        kind: 'histogram',
        histogram: {
          count: 6n,
          sum: undefined,
          min: -1,
          max: 2,
          scale: 6,
          zeroCount: 1n,
          negative: { offset: -1, counts: [1n] },
        },
      },
    ])
    const { offset, counts } = (collector.points[0] as Required<TakenPoint>).histogram.positive
    expect([offset, counts.length]).toEqual([-65, 129])
    expect(counts.flatMap((count, index) => (count === 0n ? [] : [[offset + index, count]]))).toEqual([
      [-65, 1n],
      [-1, 2n],
      [63, 1n],
    ])
  })

  test('adds up while the process lives where points are cumulative', async () => {
    const { collector, backend } = await open()
    const one = Array.from({ length: 100 }, (_, index) => 0.01 * (index + 1))
    await backend.flush(window(0, timer(one)), never)
    await backend.flush(window(1, timer([5, 0])), never)
    const both = await open('?temporality=delta')
    await both.backend.flush(window(0, timer([...one, 5, 0])), never)
    const [whole] = both.collector.points as [TakenPoint]
    const last = collector.points[1] as TakenPoint
    expect(seconds(last.start)).toBe(1_700_000_000)
    expect(last.histogram?.sum).toBeCloseTo(55.5)
    expect({ ...last.histogram, sum: 0 }).toEqual({ ...whole.histogram, sum: 0 })
  })

  test('counts once in a total however often its window is sent', async () => {
    const { collector, backend } = await open()
    await backend.flush(window(0, timer([1]), timer([2], 'other')), never)
    collector.service.next.push(status(503), collector.takeAndReset)
    const again = window(1, timer([1]), timer([2], 'other'))
    await expect(backend.flush(again, never)).rejects.toThrow('answered 503')
    await expect(backend.flush(again, never)).rejects.toThrow('no answer')
    await backend.flush(again, never)
    await backend.flush(again, never)
    expect(collector.points.map(({ histogram }) => histogram?.count)).toEqual([1n, 1n, 2n, 2n, 2n, 2n, 2n, 2n])
    expect(collector.points.slice(2, 4)).toEqual(collector.points.slice(4, 6))
  })

  test('that is one too many starts with each window, and leaves the others alone', async () => {
    const { collector, backend } = await open('?histograms=1')
    for (const index of [0, 1]) await backend.flush(window(index, timer([1], 'kept'), timer([1], 'more')), never)
    expect(collector.points.map(({ name, start: from, histogram }) => [name, seconds(from), histogram?.count])).toEqual(
      [
        ['kept', 1_700_000_000, 1n],
        ['more', 1_700_000_000, 1n],
        ['kept', 1_700_000_000, 2n],
        ['more', 1_700_000_010, 1n],
      ],
    )
  })

  test('makes room for another when it has been silent', async () => {
    const { collector, backend } = await open('?histograms=1')
    await backend.flush(window(0, timer([1], 'old')), never)
    await backend.flush(window(100, timer([1], 'new')), never)
    await backend.flush(window(101, timer([1], 'new')), never)
    expect(collector.points.map(({ histogram }) => histogram?.count)).toEqual([1n, 1n, 2n])
  })

  test('keeps to the buckets that are allowed, at a lower scale', async () => {
    const { collector, backend } = await open('?buckets=160')
    await backend.flush(window(0, timer([0.001, 10])), never)
    const { scale, positive } = (collector.points[0] as Required<TakenPoint>).histogram
    expect(scale).toBe(3)
    expect(positive.counts.length).toBeLessThanOrEqual(160)
  })

  test('without data is a histogram of nothing', async () => {
    const { collector, backend } = await open()
    const { distribution } = timer([]) as Extract<Rollup, { type: 'timer' }>
    const figures = { count: 0, rate: 0, sum: 0, min: 0, max: 0, mean: 0, stddev: 0 }
    const idle: Rollup = { type: 'timer', name: 'db', source: 'web', tags: {}, ...figures, distribution }
    await backend.flush(window(0, idle), never)
    await backend.flush(window(1, timer([2])), never)
    await backend.flush(window(2, idle), never)
    expect(collector.faults).toEqual([])
    expect(collector.points.map(({ histogram }) => [histogram?.count, histogram?.min])).toEqual([
      [0n, undefined],
      [1n, 2],
      [1n, 2],
    ])
  })
})

describe('what is rejected', () => {
  // partial_success { rejected_data_points: 300, error_message: 'late' }
  const protobuf = Buffer.from([0x0a, 0x09, 0x08, 0xac, 0x02, 0x12, 0x04, 0x6c, 0x61, 0x74, 0x65])
  const warning = Buffer.from([0x0a, 0x06, 0x12, 0x04, 0x6c, 0x61, 0x74, 0x65])

  test.each([
    ['protobuf', protobuf],
    ['json', '{"partialSuccess":{"rejectedDataPoints":"300","errorMessage":"late"}}'],
    ['json', '{"partialSuccess":{"rejectedDataPoints":300,"errorMessage":"late"}}'],
  ])('in a request of %s that is taken in part is counted, and nothing is sent again', async (encoding, answer) => {
    const { collector, backend } = await open(`?encoding=${encoding}`)
    collector.service.next.push(status(200, answer))
    const error: unknown = await backend
      .flush(sampleWindow(manyRollups(1000)), never)
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(PermanentError)
    expect(error).toMatchObject({ refused: 300, message: 'otlp: 300 data points were rejected: late' })
    expect(collector.service.requests).toHaveLength(1)
  })

  test('is nothing where there is only advice, or an answer that nobody can read', async () => {
    const answers = { protobuf: [warning, 'hello'], json: ['{"partialSuccess":{"errorMessage":"late"}}', 'hello', '3'] }
    for (const [encoding, texts] of Object.entries(answers)) {
      for (const text of texts) {
        const { collector, backend } = await open(`?encoding=${encoding}`)
        collector.service.next.push(status(200, text))
        await expect(backend.flush(window(0, counter(1, 1)), never)).resolves.toBeUndefined()
      }
    }
  })

  test('for one bad series takes no other along', async () => {
    const { collector, backend } = await open()
    collector.bad.add('many.13')
    await expect(backend.flush(sampleWindow(manyRollups(100)), never)).rejects.toMatchObject({
      name: 'PermanentError',
      refused: 1,
    })
    expect(collector.points.map(({ name }) => name).sort()).toEqual(
      manyRollups(100)
        .map(({ name }) => name)
        .filter((name) => name !== 'many.13')
        .sort(),
    )
  })

  test.each([400, 413, 500, 501])('with %i is not sent again', async (code) => {
    const { collector, backend } = await open()
    collector.service.answer = status(code)
    await expect(backend.flush(window(0, counter(1, 1)), never)).rejects.toMatchObject({ name: 'PermanentError' })
  })

  test.each([401, 403, 404, 429, 502, 503, 504])('with %i can be sent again', async (code) => {
    const { collector, backend } = await open()
    collector.service.next.push(status(code))
    const error: unknown = await backend.flush(window(0, counter(1, 1)), never).catch((reason: unknown) => reason)
    expect(error).not.toBeInstanceOf(PermanentError)
    await backend.flush(window(0, counter(1, 1)), never)
    expect(collector.points).toHaveLength(1)
  })

  test.each([429, 503])('with %i for a while waits as long as it is told', async (code) => {
    const { collector, backend } = await open()
    collector.service.next.push(status(code, '', { 'retry-after': '3' }))
    await expect(backend.flush(window(0, counter(1, 1)), never)).rejects.toMatchObject({ retryAfterMs: 3000 })
  })
})

describe('a request that nobody answers', () => {
  test.each(['', '?temporality=delta'])('is sent again (%s)', async (options) => {
    const { collector, backend } = await open(options)
    collector.service.next.push(collector.takeAndReset)
    await expect(backend.flush(window(0, counter(1, 1)), never)).rejects.toMatchObject({ name: 'NoAnswerError' })
    await backend.flush(window(0, counter(1, 1)), never)
    expect(collector.points).toHaveLength(2)
  })

  test('is given up and counted where the URL says so', async () => {
    const { collector, backend } = await open('?temporality=delta&in-doubt=drop')
    collector.service.next.push(collector.takeAndReset)
    const flush = backend.flush(window(0, counter(1, 1)), never)
    await expect(flush).rejects.toMatchObject({ name: 'PermanentError', refused: 1 })
  })

  test('is left when the time is over', async () => {
    const { collector, backend } = await open()
    collector.service.answer = () => {}
    const flush = backend.flush(window(0, counter(1, 1)), AbortSignal.timeout(50))
    await expect(flush).rejects.toThrow('no answer in time')
  })

  test('decides after a crash by whether points are cumulative', async () => {
    expect((await open()).backend.inDoubt).toBe('resend')
    expect((await open('?temporality=delta')).backend.inDoubt).toBe('drop')
  })
})

test.each([
  ['otlp://host', /does not say how to connect; write otlp\+http:\/\/host/],
  ['otlp+grpc://host', /does not say how to connect/],
  ['otlp+http://host?temporality=both', /temporality=both must be cumulative or delta/],
  ['otlp+http://host?encoding=xml', /encoding=xml must be protobuf or json/],
  ['otlp+http://host?buckets=8', /buckets=8 must be a whole number from 32/],
  ['otlp+http://host?header=no-value', /an option header is no header; write \?header=name=value$/],
  ['otlp+http://host?header=a=b%0Ac', /an option header is no header/],
  ['otlp+http://host?resource=x', /an option resource is no attribute; write \?resource=name=value/],
  ['otlp+http://host?protocol=grpc', /unknown option "protocol"/],
])('%s is refused', async (url, message) => {
  await expect(openBackend(url)).rejects.toMatchObject({
    name: 'UsageError',
    message: expect.stringMatching(message) as string,
  })
})

test('no header of the URL is shown', async () => {
  const { collector } = await open()
  const url = `otlp+http://127.0.0.1:${collector.service.port}?header=api-key=$KEY`
  const backend = await openBackend(url, { KEY: 's3cr3t-key' })
  collector.service.answer = status(403, 'who is s3cr3t-key?')
  await expect(backend.flush(window(0, counter(1, 1)), never)).rejects.toThrow('answered 403: who is ***?')
})
