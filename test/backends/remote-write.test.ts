import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Backend, PermanentError, Rollup } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { inDoubtOf, openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import { UsageError } from '../../client/errors.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import type { Type } from '../../client/wire/series.ts'
import { markedRollups } from './prometheus/arbitrary.ts'
import { seriesOf } from './prometheus/parser.ts'
import { type Histogram, type Mood, Receiver } from './prometheus/receiver.ts'
import { type Expected, Translation } from './prometheus/translation.ts'

const never = new AbortController().signal

let receiver: Receiver
beforeEach(async () => {
  receiver = await Receiver.start()
})
afterEach(() => receiver.stop())

async function open(options = '', user = ''): Promise<Backend> {
  return openBackend(`prometheus+http://${user}127.0.0.1:${receiver.port}${options}`)
}

function series(type: Type, name: string, values: readonly number[], tags = {}, source = 'not_specified'): Rollup {
  return sampleRollup({ type, name, source, tags }, values)
}

/** All samples that the receiver holds. */
function held(): Expected[] {
  return [...receiver.series.values()].flatMap(({ labels: { __name__: name = '', ...labels }, samples }) =>
    samples.map(({ timeMs, value }) => ({ at: timeMs / 1000, series: seriesOf({ name, labels }), value })),
  )
}

/** [ms after the first sample window's end, value] of a series. */
function samplesOf(name: string, labels: Record<string, string> = {}): (readonly [number, number])[] {
  const samples = receiver.at({ __name__: name, ...labels })?.samples ?? []
  return samples.map(({ timeMs, value }) => [timeMs - sampleWindow([]).end * 1000, value] as const)
}

function histogramsOf(name: string): readonly Histogram[] {
  return receiver.at({ __name__: name })?.histograms ?? []
}

describe('prometheus+http:// passes the backend contract and', () => {
  let translation: Translation
  const setup = {
    create: () => {
      translation = new Translation()
      return open('?token=s3cret-token')
    },
    received: held,
    expected: (record: RollupRecord) => translation.samples(record, true),
    breakTarget: () => void (receiver.mood = { status: 503, body: 's3cret-token is right' }),
    hangTarget: () => void (receiver.mood = { silent: true }),
    mendTarget: () => void (receiver.mood = undefined),
    secrets: ['s3cret-token'],
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('a request', () => {
  test('says who sends it, to whom, and for which tenant', async () => {
    await (await open('?tenant=shop', 'me:s3cret@')).flush(sampleWindow(rollupsOfEveryType()), never)
    await (await open('/receive?token=s3cret')).flush(sampleWindow(rollupsOfEveryType()), never)
    const [basic, bearer] = receiver.requests
    expect(basic?.path).toBe('/api/v1/write')
    expect(basic?.headers).toMatchObject({
      authorization: `Basic ${Buffer.from('me:s3cret').toString('base64')}`,
      'x-scope-orgid': 'shop',
    })
    expect(bearer).toMatchObject({ path: '/receive', headers: { authorization: 'Bearer s3cret' } })
    expect(bearer?.headers).not.toHaveProperty('x-scope-orgid')
  })

  test('holds about as many samples as the option says, and never a part of a rollup', async () => {
    await (await open('?batch=100')).flush(sampleWindow(manyRollups(300)), never)
    const sizes = receiver.requests.map(({ samples }) => samples)
    expect(Math.max(...sizes)).toBeLessThan(100 + 13)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100 * 2 + 100 + 100 * 13)
    expect(receiver.series.size).toBe(100 + 100 + 100 * 11)
  })

  test.each([
    ['prometheus+http:path', 'names no host; write prometheus+http://host:9090/api/v1/write'],
    ['prometheus+http://h?timers=x', 'timers=x must be summary or histogram or both or native'],
    ['prometheus+http://h?batch=0', 'batch=0 must be a whole number from 1'],
    ['prometheus+http://u:p@h?token=t', 'a user and a token'],
    ['prometheus+http://h?expire=1m', 'unknown option "expire"'],
  ])('to %s is refused', async (url, message) => {
    const error: unknown = await openBackend(url).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UsageError)
    expect((error as Error).message).toContain(message)
  })
})

describe('what grows', () => {
  const counter = (value: number, total: number): Rollup => ({ ...series('counter', 'a', [value]), total }) as Rollup

  test('says what it was before the window, when it was not in the window before', async () => {
    const backend = await open()
    await backend.flush(sampleWindow([counter(5, 105)], 0), never)
    await backend.flush(sampleWindow([counter(1, 106)], 1), never)
    await backend.flush(sampleWindow([counter(2, 108)], 3), never)
    expect(samplesOf('a_total')).toEqual([
      [-9999, 100],
      [0, 105],
      [10_000, 106],
      [20_001, 106],
      [30_000, 108],
    ])
  })

  test('of timers and meters is added up here', async () => {
    const backend = await open()
    const rollups = [series('timer', 't', [1, 2]), series('meter', 'm', [3])]
    for (const index of [0, 1, 4]) await backend.flush(sampleWindow(rollups, index), never)
    const times = [-9999, 0, 10_000, 30_001, 40_000]
    expect(samplesOf('t_seconds_sum')).toEqual([0, 3, 6, 6, 9].map((value, index) => [times[index], value]))
    expect(samplesOf('t_seconds_count')).toEqual([0, 2, 4, 4, 6].map((value, index) => [times[index], value]))
    expect(samplesOf('m_total')).toEqual([0, 3, 6, 6, 9].map((value, index) => [times[index], value]))
    expect(samplesOf('t_seconds', { quantile: '0.5' })).toEqual([0, 10_000, 40_000].map((time) => [time, 1]))
  })

  test('begins again after a restart where the next window can be told from a reset', async () => {
    await (await open()).flush(sampleWindow([series('timer', 't', [1, 2])], 0), never)
    await (await open()).flush(sampleWindow([series('timer', 't', [1, 2, 3])], 1), never)
    expect(samplesOf('t_seconds_count')).toEqual([
      [-9999, 0],
      [0, 2],
      [1, 0],
      [10_000, 3],
    ])
  })

  test('is the same in a window that is sent again, also in part', async () => {
    const backend = await open('?batch=1')
    const window = sampleWindow([series('timer', 't', [1]), series('timer', 'u', [1])])
    receiver.next.push({ status: 503, taken: true }, { status: 500 })
    await expect(backend.flush(window, never)).rejects.toThrow('answered 503')
    await expect(backend.flush(window, never)).rejects.toThrow('answered 500')
    await backend.flush(window, never)
    expect(samplesOf('t_seconds_count')).toEqual([
      [-9999, 0],
      [0, 1],
    ])
    expect(samplesOf('u_seconds_sum')).toEqual([
      [-9999, 0],
      [0, 1],
    ])
  })
})

test('classic histograms have their buckets', async () => {
  const backend = await open('?timers=histogram&buckets=0.1,1')
  await backend.flush(sampleWindow([series('timer', 'db', [0.05, 0.5, 5], { le: 'mine' }, 'Web')]), never)
  const labels = { source: 'Web', exported_le: 'mine' }
  const counts = ['0.1', '1.0', '+Inf'].map((le) => samplesOf('db_seconds_bucket', { ...labels, le }).at(-1)?.[1])
  expect(counts).toEqual([1, 2, 3])
  expect(samplesOf('db_seconds_count', labels).at(-1)).toEqual([0, 3])
})

test('labels in capitals stand before the name, as their bytes have it', async () => {
  await (await open()).flush(sampleWindow([series('timer', 'db', [1], { A: '1', Z: '2', _a: '3', z: '4' })]), never)
  expect(receiver.series.size).toBe(11)
})

describe('native histograms', () => {
  /** Weight by the index of the bucket, whose bounds are worked out with logarithms. */
  function bucketsOf(values: readonly number[], weight: number): Map<number, number> {
    const buckets = new Map<number, number>()
    for (const value of [...values].sort((left, right) => left - right)) {
      const index = Math.ceil(Math.log2(value) * 64 - 1e-9)
      buckets.set(index, (buckets.get(index) ?? 0) + weight)
    }
    return buckets
  }

  test('are the sketch, bucket for bucket, over all windows', async () => {
    // clear of the bounds, which logarithms miss by a bit
    const value = fc.double({ noNaN: true, min: 1e-9, max: 1e9 }).filter((each) => {
      const place = Math.abs((Math.log2(each) * 64) % 1)
      return place > 1e-6 && place < 1 - 1e-6
    })
    const values = fc.oneof(
      value,
      value.map((each) => -each),
      fc.constant(0),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(values, { minLength: 1, maxLength: 100 }), { minLength: 1, maxLength: 3 }),
        // often enough, the values themselves are not kept
        fc.constantFrom(1, 65),
        fc.constantFrom(1, 2, 1 / 3),
        async (some, repeats, weight) => {
          const windows = some.map((all) => Array.from({ length: repeats }, () => all).flat())
          receiver.series.clear()
          const backend = await open('?timers=native')
          for (const [index, all] of windows.entries()) {
            const distribution = new Distribution()
            for (const each of all) distribution.add(each, weight)
            await backend.flush(
              sampleWindow([{ ...series('histogram', 'h', all), distribution } as Rollup], index),
              never,
            )
          }
          const all = windows.flat()
          const newest = histogramsOf('h').at(-1)
          expect(newest?.zeros).toBeCloseTo(all.filter((each) => each === 0).length * weight, 6)
          expect(newest?.count).toBeCloseTo(all.length * weight, 6)
          const rounded = (buckets: ReadonlyMap<number, number> | undefined): [number, number][] =>
            [...(buckets ?? [])].map(([index, each]) => [index, Math.round(each * 1e6)])
          const above = all.filter((each) => each > 0)
          const below = all.filter((each) => each < 0).map((each) => -each)
          expect(rounded(newest?.positive)).toEqual(rounded(bucketsOf(above, weight)))
          expect(rounded(newest?.negative)).toEqual(rounded(bucketsOf(below, weight)))
        },
      ),
      { numRuns: 100 },
    )
  })

  test('have whole numbers where all weights are', async () => {
    const backend = await open('?timers=native')
    for (const [index, weight] of [1, 0.5, 0.5].entries()) {
      const distribution = new Distribution()
      distribution.add(1, weight)
      await backend.flush(sampleWindow([{ ...series('histogram', 'h', [1]), distribution } as Rollup], index), never)
    }
    expect(histogramsOf('h').map(({ count, isFloat }) => [count, isFloat])).toEqual([
      [0, false],
      [1, false],
      [1.5, true],
      [2, false],
    ])
  })

  test('of the name and labels of a gauge are refused', async () => {
    const backend = await open('?timers=native')
    const flush = backend.flush(sampleWindow([series('gauge', 'x', [1]), series('histogram', 'x', [1])]), never)
    await expect(flush).rejects.toMatchObject({ name: 'PermanentError', refused: 1 })
    expect(receiver.requests).toHaveLength(1)
    expect(samplesOf('x')).toEqual([[0, 1]])
  })

  test('have bounds that belong to the bucket below, and say what was before', async () => {
    const backend = await open('?timers=native')
    await backend.flush(sampleWindow([series('timer', 't', [1, 2, 2.000_001, 0.5])]), never)
    await backend.flush(sampleWindow([series('timer', 't', [2])], 2), never)
    const shown = histogramsOf('t_seconds').map(({ timeMs, count, sum, positive }) => [
      timeMs - sampleWindow([]).end * 1000,
      count,
      sum,
      Object.fromEntries(positive),
    ])
    expect(shown).toEqual([
      [-9999, 0, 0, {}],
      [0, 4, 5.500_001, { [-64]: 1, 0: 1, 64: 1, 65: 1 }],
      [10_001, 4, 5.500_001, { [-64]: 1, 0: 1, 64: 1, 65: 1 }],
      [20_000, 5, 7.500_001, { [-64]: 1, 0: 1, 64: 2, 65: 1 }],
    ])
    expect(receiver.series.size).toBe(1)
  })
})

describe('an answer', () => {
  const window = sampleWindow(manyRollups(9))
  async function outcome(
    mood: Mood,
    options = '',
  ): Promise<Error & Partial<PermanentError> & { retryAfterMs?: number }> {
    receiver.next.push(mood)
    const backend = await open(options)
    return (await backend.flush(window, never).catch((error: unknown) => error)) as Error
  }

  test.each([500, 502, 503, 504, 408])('of %d has the window sent again', async (status) => {
    const error = await outcome({ status, body: 'a reason' })
    expect(error.name).toBe('Error')
    expect(error.message).toContain(`prometheus+http: answered ${status}: a reason`)
  })

  test('of 429 or 503 with Retry-After says when', async () => {
    for (const status of [429, 503]) {
      expect(await outcome({ status, headers: { 'retry-after': '7' } })).toMatchObject({
        name: 'RetryLaterError',
        retryAfterMs: 7000,
      })
    }
  })

  test('of 401 says what to look at, and is tried again', async () => {
    const error = await outcome({ status: 401 })
    expect(error.name).toBe('Error')
    expect(error.message).toContain('check the user and token')
  })

  test.each([{ cut: true }, { status: 500, taken: true }] as const)(
    'that is lost after the request was taken (%j) leaves nothing twice',
    async (mood) => {
      const backend = await open()
      receiver.next.push(mood)
      await expect(backend.flush(window, never)).rejects.toThrow(/no answer|answered 500/)
      const before = held()
      expect(before.length).toBeGreaterThan(0)
      await backend.flush(window, never)
      expect(held()).toEqual(before)
    },
  )

  test('that does not come is not waited for beyond the limit', async () => {
    receiver.next.push({ silent: true })
    const backend = await open()
    await expect(backend.flush(window, AbortSignal.timeout(50))).rejects.toThrow(/no answer.*in time/)
    await backend.flush(window, never)
    expect(held()).toHaveLength(3 * 2 + 3 + 3 * 13)
  })

  test('of 400 for one series drops that one alone, as a request is refused whole', async () => {
    const other = await open()
    await other.flush(sampleWindow([series('gauge', 'many.4', [77], { i: '4' }, 'web')]), never)
    const backend = await open()
    const error: unknown = await backend.flush(window, never).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'PermanentError', refused: 1 })
    expect((error as Error).message).toContain('answered 400: duplicate sample for timestamp')
    expect(held()).toHaveLength(3 * 2 + 3 + 3 * 13)
    await backend.flush(sampleWindow(manyRollups(9), 1), never)
  })

  test('of 400 to everything is given up after a bounded number of requests', async () => {
    receiver.mood = { status: 400, body: 'out of bounds' }
    const error: unknown = await (
      await open('?batch=300')
    )
      .flush(sampleWindow(manyRollups(3000)), never)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'PermanentError', refused: 3000 })
    expect(receiver.requests.length).toBeLessThan(300)
  })

  test('to a window with a series that would be another is that one refused and all others taken', async () => {
    const rollups = [series('gauge', 'a.b', [1]), series('gauge', 'a_b', [2]), series('gauge', 'c', [3])]
    const error: unknown = await (await open()).flush(sampleWindow(rollups), never).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'PermanentError', refused: 1 })
    expect((error as Error).message).toMatch(/^prometheus\+http: the gauge "a_b" is left out/)
    expect(samplesOf('a_b')).toEqual([[0, 1]])
    expect(samplesOf('c')).toEqual([[0, 3]])
  })
})

test.each(['summary', 'histogram', 'both', 'native'])(
  'every series of any name is sent or refused, one by one (%s)',
  async (timers) => {
    await fc.assert(
      fc.asyncProperty(markedRollups, async (rollups) => {
        receiver.series.clear()
        const backend = await open(`?timers=${timers}`)
        const error: unknown = await backend.flush(sampleWindow(rollups), never).catch((reason: unknown) => reason)
        const values = new Set(
          [...receiver.series.values()].flatMap(({ samples, histograms }) => [
            ...samples.map(({ value }) => value),
            ...histograms.map(({ sum }) => sum),
          ]),
        )
        const sent = rollups.filter((_, index) => values.has(1_000_000 + index))
        expect(sent.length + ((error as PermanentError | undefined)?.refused ?? 0)).toBe(rollups.length)
      }),
      { numRuns: 100 },
    )
  },
)

test('a window in doubt is sent again whatever the URL says', async () => {
  const backend = await open('?in-doubt=drop')
  expect(inDoubtOf(backend, parseBackendUrl('prometheus+http://h?in-doubt=drop'))).toBe('resend')
})
