import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { PermanentError, type Rollup, type Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { GraphiteBackend, type GraphiteOptions } from '../../backends/graphite.ts'
import { toMs, withoutNoise } from '../../backends/graphite/milliseconds.ts'
import { openBackend } from '../../backends/open.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { summarise } from '../../backends/worker/rollup.ts'
import { UsageError } from '../../client/errors.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import type { Series, Type } from '../../client/wire/series.ts'
import { until } from '../until.ts'
import { Carbon, type Point } from './carbon.ts'
import { type Counted, sentByStatsd } from './statsd-graphite.ts'

const never = new AbortController().signal
const TIME = 1_700_000_010
const open: Carbon[] = []

afterEach(async () => {
  for (const carbon of open.splice(0)) await carbon.stop()
})

async function listening(host?: string): Promise<Carbon> {
  const carbon = new Carbon(host)
  open.push(carbon)
  await carbon.listen()
  return carbon
}

const plain = (type: Type, name: string, tags: Readonly<Record<string, string>> = {}): Series => ({
  type,
  name,
  source: 'not_specified',
  tags,
})

/** A timer or histogram of values that weigh something. */
function distributed(series: Series, values: readonly (readonly [value: number, weight: number])[]): Rollup {
  const distribution = new Distribution()
  for (const [value, weight] of values) distribution.add(value, weight)
  return { ...series, type: series.type as 'timer', ...summarise(distribution, 10, []), distribution }
}

/** What carbon gets of some rollups, but the backend's own figures: `[path, value]`, sorted. */
async function sent(
  options: string | Omit<GraphiteOptions, 'host'>,
  rollups: readonly Rollup[],
): Promise<[string, number][]> {
  const carbon = await listening()
  const backend =
    typeof options === 'string'
      ? await openBackend(carbon.url + options)
      : new GraphiteBackend({ ...options, host: carbon.host, port: carbon.port })
  await backend.flush(sampleWindow(rollups), never)
  await carbon.stop()
  expect(carbon.bad).toEqual([])
  return carbon.measured.map(({ path, value }): [string, number] => [path, value]).sort(byPathName)
}

const byPathName = ([left]: [string, unknown], [right]: [string, unknown]): number => (left < right ? -1 : 1)

async function pathsOf(options: string, rollups: readonly Rollup[]): Promise<string[]> {
  return (await sent(options, rollups)).map(([path]) => path)
}

describe('graphite: passes the backend contract and', () => {
  let carbon: Carbon
  const setup = {
    create: async () => {
      carbon = await listening()
      return openBackend(carbon.url)
    },
    received: () => {
      expect(carbon.bad).toEqual([])
      return carbon.measured.filter(({ path }) => COMPARED.test(path)).map(rounded)
    },
    expected: (record: RollupRecord) => pointsOf(record).map(rounded),
    breakTarget: () => carbon.stop(),
    hangTarget: () => void (carbon.reads = false),
    mendTarget: async () => {
      carbon.reads = true
      await carbon.stop()
      await carbon.listen()
    },
    destroy: () => carbon.stop(),
    patienceMs: 20_000,
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })

  // of timers and histograms a record holds too little to work out the rest, which the comparison with statsd covers
  const COMPARED = /^stats(_counts)?\.(?!(timers|histograms)\.)|\.(count|lower|upper|sum|mean)(;|$)/
  const rounded = ({ path, value, time }: Point): object => ({ path, value: Number(value.toPrecision(12)), time })

  function pointsOf(record: RollupRecord): Point[] {
    const { type, time, interval } = record
    const clean = (text: string): string =>
      text
        .replace(/\s+/g, '_')
        .replace(/\//g, '-')
        .replace(/[^a-zA-Z_\-0-9.;=]/g, '')
    const tag = ([key, value]: [string, string]): string => {
      const [, cleanKey, cleanValue] = /^([^=]*)=(.*)$/.exec(clean(`${key}=${value}`.replace(/[;,]/g, '_'))) ?? []
      return `;${cleanKey || '_'}=${cleanValue || 'true'}`
    }
    const [name, ...rest] = clean(record.name).split(';')
    const sources: [string, string][] = record.source === 'not_specified' ? [] : [['source', record.source]]
    const tags =
      rest.map((part) => (part === '' ? '' : `;${part}`)).join('') +
      [...Object.entries(record.tags), ...sources].map(tag).join('')
    const point = (before: string, figure: string, value: unknown): Point => ({
      path: `${before}.${name || '_'}${figure}${tags}`,
      value: value as number,
      time,
    })
    if (type === 'counter') {
      return [point('stats', '', (record['value'] as number) / interval), point('stats_counts', '', record['value'])]
    }
    if (type === 'gauge') return [point('stats.gauges', '', record['value'])]
    if (type === 'set') return [point('stats.sets', '.count', record['value'])]
    if (type === 'meter') {
      return ['count', 'rate', 'm1', 'm5', 'm15'].map((each) => point('stats.meters', `.${each}`, record[each]))
    }
    const ms = (value: unknown): number =>
      Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, (value as number) * (type === 'timer' ? 1000 : 1)))
    return [
      point(`stats.${type}s`, '.count', record['count']),
      point(`stats.${type}s`, '.lower', ms(record['min'])),
      point(`stats.${type}s`, '.upper', ms(record['max'])),
      point(`stats.${type}s`, '.sum', ms(record['sum'])),
      point(`stats.${type}s`, '.mean', ms(record['mean'])),
    ]
  }
})

describe('names are those of statsd', () => {
  const rollups = [
    sampleRollup(plain('counter', 'a.hits'), [5]),
    sampleRollup(plain('gauge', 'a.queue'), [3, 4]),
    sampleRollup(plain('set', 'a.users'), [1, 2]),
    sampleRollup(plain('timer', 'a.db'), [0.32]),
    sampleRollup(plain('histogram', 'a.size'), [512]),
    sampleRollup(plain('meter', 'a.events'), [20]),
  ]
  const figures = ['count', 'count_ps', 'lower', 'upper', 'sum', 'sum_squares', 'mean', 'median', 'std']
  const of90 = ['count_90', 'mean_90', 'upper_90', 'sum_90', 'sum_squares_90']

  test('in the old namespace, which is the default', async () => {
    const points = await sent('', rollups)
    expect(points.filter(([path]) => !/a\.(db|size)/.test(path))).toEqual([
      ['stats.a.hits', 0.5],
      ['stats.gauges.a.queue', 4],
      ['stats.meters.a.events.count', 20],
      ['stats.meters.a.events.m1', 2],
      ['stats.meters.a.events.m15', 0.5],
      ['stats.meters.a.events.m5', 1],
      ['stats.meters.a.events.rate', 2],
      ['stats.sets.a.users.count', 2],
      ['stats_counts.a.hits', 5],
    ])
    const paths = points.map(([path]) => path)
    const timer = [...figures, ...of90].map((figure) => `stats.timers.a.db.${figure}`)
    expect(paths.filter((path) => path.includes('a.db'))).toEqual(timer.sort())
    const histogram = [...figures, ...of90].map((figure) => `stats.histograms.a.size.${figure}`)
    expect(paths.filter((path) => path.includes('a.size'))).toEqual(histogram.sort())
    expect(Object.fromEntries(points)).toMatchObject({
      'stats.timers.a.db.upper': 320,
      'stats.histograms.a.size.sum': 512,
    })
  })

  test('in the new namespace, with prefixes and a suffix', async () => {
    const some = '?legacyNamespace=no&globalPrefix=app&prefixCounter=c&prefixGauge=&globalSuffix=web1&percentThreshold='
    const paths = await pathsOf(some, rollups)
    expect(paths).toEqual(
      [
        'app.c.a.hits.rate.web1',
        'app.c.a.hits.count.web1',
        'app.a.queue.web1',
        'app.sets.a.users.count.web1',
        ...['count', 'rate', 'm1', 'm5', 'm15'].map((figure) => `app.meters.a.events.${figure}.web1`),
        ...figures.map((figure) => `app.timers.a.db.${figure}.web1`),
        ...figures.map((figure) => `app.histograms.a.size.${figure}.web1`),
      ].sort(),
    )
  })

  test('and its own figures go where they went', async () => {
    const own = async (options: string): Promise<string[]> => {
      const carbon = await listening()
      const backend = await openBackend(carbon.url + options)
      await backend.flush(sampleWindow([]), never)
      return [...carbon.points.values()].map(({ path }) => path).sort()
    }
    const graphite = ['calculationtime', 'flush_length', 'flush_time', 'last_exception', 'last_flush']
    expect(await own('')).toEqual([
      ...graphite.map((figure) => `stats.statsd.graphiteStats.${figure}`),
      'stats.statsd.processing_time',
      'statsd.numStats',
    ])
    expect(await own('?legacyNamespace=no&globalPrefix=app&prefixStats=me&globalSuffix=x')).toEqual([
      ...graphite.map((figure) => `app.me.graphiteStats.${figure}.x`),
      'app.me.numStats.x',
      'app.me.processing_time.x',
    ])
    expect(await own('?prefixStats=')).toEqual([])
  })
})

describe('what goes to Graphite is what statsd 0.9 sends', () => {
  // decimal numbers as programs write them, of up to 15 digits
  const ms = fc.oneof(
    fc.nat(100_000),
    fc.tuple(fc.nat(1_000_000_000), fc.constantFrom(10, 1000, 100_000)).map(([digits, parts]) => digits / parts),
  )
  const name = fc.string({ unit: fc.constantFrom(...'abcXYZ019._- /é'.split('')), minLength: 1, maxLength: 12 })
  const prefix = fc.option(fc.constantFrom('', 'app', 'a.b'), { nil: undefined })
  const threshold = fc.oneof(fc.integer({ min: -100, max: 100 }), fc.constantFrom(99.9, 0.5, -0.1, -12.5))
  const block = fc.record({
    legacyNamespace: fc.option(fc.boolean(), { nil: undefined }),
    globalPrefix: prefix,
    prefixCounter: prefix,
    prefixTimer: prefix,
    prefixGauge: prefix,
    prefixSet: prefix,
    globalSuffix: fc.option(fc.constantFrom('host1', 'x.y'), { nil: undefined }),
  })
  const settings = fc.record({
    percentThreshold: fc.option(fc.uniqueArray(threshold, { maxLength: 4 }), { nil: undefined }),
    flush_counts: fc.option(fc.boolean(), { nil: undefined }),
    prefixStats: fc.option(fc.constantFrom('statsd', 'me'), { nil: undefined }),
    histogram: fc.option(
      fc.array(
        fc.record({
          metric: fc.constantFrom('a', 'X', ''),
          bins: fc
            .uniqueArray(fc.constantFrom(0.5, 1, 50, 1000, 60_000), { maxLength: 4 })
            .chain((bins) => fc.constantFrom([...bins.sort((left, right) => left - right), 'inf' as const], bins)),
        }),
        { maxLength: 2 },
      ),
      { nil: undefined },
    ),
    calculatedTimerMetrics: fc.option(
      fc.subarray(['count', 'median', 'upper_percent', 'lower_percent', 'sum_99_percent', 'histogram', 'std']),
      { nil: undefined },
    ),
  })
  const tags = fc.dictionary(fc.constantFrom('route', 'env', 'x y'), fc.constantFrom('a', 'b/c', '1.2'), { maxKeys: 2 })
  const weight = fc.constantFrom(1, 1, 2, 10, 1 / 0.3)
  const series = fc.record({
    name,
    tags,
    counter: fc.option(fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true }))),
    gauge: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })),
    timer: fc.option(fc.array(fc.tuple(ms, weight), { maxLength: 64 })),
    set: fc.option(fc.uniqueArray(fc.nat(1000), { maxLength: 20 })),
  })
  type AnySeries = ReturnType<typeof series.generate>['value']

  /** statsd's stats.js makes a line's name and tags into this. */
  function keyOf({ name: own, tags: ownTags }: AnySeries): string {
    const text = [own, ...Object.entries(ownTags).map(([key, value]) => `${key}=${value}`)].join(';')
    return text
      .replace(/\s+/g, '_')
      .replace(/\//g, '-')
      .replace(/[^a-zA-Z_\-0-9.;=]/g, '')
  }

  function rollupsOf({ name: own, tags: ownTags, counter, gauge, timer, set }: AnySeries): Rollup[] {
    // as they come from a worker
    const sorted = Object.fromEntries(Object.entries(ownTags).sort(byPathName))
    const rollups: Rollup[] = []
    if (counter !== null) rollups.push(sampleRollup(plain('counter', own, sorted), [counter]))
    if (gauge !== null) rollups.push(sampleRollup(plain('gauge', own, sorted), [gauge]))
    if (timer !== null) {
      rollups.push(
        distributed(
          plain('timer', own, sorted),
          timer.map(([value, each]) => [value / 1000, each]),
        ),
      )
    }
    if (set !== null) rollups.push(sampleRollup(plain('set', own, sorted), set))
    return rollups
  }

  function countedOf(all: readonly AnySeries[]): Counted {
    const pick = <Field extends 'counter' | 'gauge' | 'timer' | 'set'>(
      field: Field,
    ): Record<string, NonNullable<AnySeries[Field]>> =>
      Object.fromEntries(
        all.flatMap((each) => {
          const value = each[field]
          return value === null ? [] : [[keyOf(each), value]]
        }),
      )
    const sets = Object.entries(pick('set')).map(([key, members]): [string, string[]] => [
      key,
      members.map((each) => `m${each}`),
    ])
    return { counters: pick('counter'), gauges: pick('gauge'), timers: pick('timer'), sets: Object.fromEntries(sets) }
  }

  /** Figures by path, with tags in one order, as carbon has them. */
  function byPath(points: readonly Point[]): Map<string, number> {
    return new Map(
      points.map(({ path, value }) => {
        const [first, ...own] = path.split(';')
        return [[first, ...own.sort()].join(';'), value]
      }),
    )
  }

  const PASSING = /\.(calculationtime|processing_time|flush_time|flush_length|last_flush|last_exception)(\.|$)/

  /** Paths that only one has, and those whose values are not the same to `isSame`. */
  function differences(
    statsd: ReadonlyMap<string, number>,
    ours: ReadonlyMap<string, number>,
    isSame: (own: number, statsd: number, path: string) => boolean,
  ): unknown[] {
    const paths = new Set([...statsd.keys(), ...ours.keys()])
    return [...paths].flatMap((path) => {
      const [value, own] = [statsd.get(path), ours.get(path)]
      if (value === undefined || own === undefined) return [[path, value, own]]
      // statsd says NaN, which carbon throws away, of a threshold that takes all of the largest
      if (PASSING.test(path) || (Number.isNaN(value) && !Number.isNaN(own))) return []
      return isSame(own, value, path) ? [] : [[path, value, own]]
    })
  }

  async function both(
    all: readonly AnySeries[],
    graphite: Omit<GraphiteOptions, 'host'>,
    config: Omit<GraphiteOptions, 'host'>,
  ): Promise<[statsd: Map<string, number>, ours: Map<string, number>]> {
    const statsd = await sentByStatsd({ ...config, graphite }, 10_000, TIME, countedOf(all))
    const carbon = await listening()
    const backend = new GraphiteBackend({ ...graphite, ...config, host: carbon.host, port: carbon.port })
    await backend.flush(sampleWindow(all.flatMap(rollupsOf)), never)
    await carbon.stop()
    expect(carbon.bad).toEqual([])
    return [byPath(statsd), byPath([...carbon.points.values()])]
  }

  test('for any settings, names and values: exactly, up to 64 values', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          series.filter((each) => !keyOf(each).startsWith(';') && keyOf(each) !== ''),
          { selector: keyOf, maxLength: 8 },
        ),
        block,
        settings,
        async (all, graphite, config) => {
          const [statsd, ours] = await both(all, graphite, config)
          expect(differences(statsd, ours, (own, value) => own === value)).toEqual([])
        },
      ),
      { numRuns: 200 },
    )
  })

  test('of more values counts and sums exactly and the rest within 1 %', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(100_000), { minLength: 65, maxLength: 3000, size: 'max' }),
        fc.constantFrom(1, 10, 1 / 0.3),
        fc.array(threshold, { maxLength: 3 }),
        async (values, each, percentThreshold) => {
          const timer = values.map((value): [number, number] => [value, each])
          const one = { name: 'db', tags: {}, counter: null, gauge: null, set: null, timer }
          const [statsd, ours] = await both([one], {}, { percentThreshold, histogram: [{ metric: '', bins: ['inf'] }] })
          const isExact = /\.(count_\w+|sum|sum_squares|lower|upper|bin_inf)$/
          const isSame = (own: number, value: number, path: string): boolean =>
            own === value ||
            // what adding up so many doubles can be off by; of whole milliseconds only their squares come that far
            (path.endsWith('.sum_squares') && Math.abs(own - value) <= value * 2 ** -53 * (values.length + 4)) ||
            // squares are off by twice as much
            (!isExact.test(path) &&
              Math.abs(own - value) <= Math.abs(value) * (path.includes('squares') ? 0.02 : 0.01)) ||
            // that many thirds add up to one thing or another in the last digit
            (/\.count(_ps)?$/.test(path) && Math.abs(own / value - 1) < 1e-12)
          expect(differences(statsd, ours, isSame)).toEqual([])
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('milliseconds', () => {
  test('come out as they went in, with up to 15 digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }), fc.nat(15), (digits, places) => {
        const value = Number(`${digits}e-${places}`)
        expect(toMs(value / 1000)).toBe(value === 0 ? 0 : value)
      }),
      { numRuns: 10_000 },
    )
  })

  test('are added up without what adding seconds leaves', () => {
    for (const [step, count] of [
      [0.1, 1_000_000],
      [0.001, 300_000],
      [0.32, 12_345],
    ] as const) {
      let sum = 0
      for (let index = 0; index < count; index++) sum += step
      expect(sum * 1000).not.toBe(Math.round(step * 1000) * count)
      expect(withoutNoise(sum * 1000, count)).toBe(Math.round(step * 1000) * count)
    }
    expect(withoutNoise(0.123_456_789_012_3, 3)).toBe(0.123_456_789_012_3)
  })
})

describe('names and tags', () => {
  const counter = (name: string, tags: Readonly<Record<string, string>> = {}, source = 'not_specified'): Rollup =>
    sampleRollup({ type: 'counter', name, source, tags }, [1])
  const one = '?flush_counts=no'

  test.each([
    ['a b/c!d', {}, 'stats.a_b-cd'],
    ['温度', {}, 'stats._'],
    ['a', { route: '/pay', env: 'x' }, 'stats.a;route=-pay;env=x'],
    ['a', { empty: '' }, 'stats.a;empty=true'],
    ['a', { name: 'b' }, 'stats.a;name_=b'],
    ['a', { ü: 'b' }, 'stats.a;_=b'],
    ['a', { x: 'é' }, 'stats.a;x=true'],
    ['a', { x: 'b;c,d', 'y;z': '1' }, 'stats.a;x=b_c_d;y_z=1'],
    ['a', { 'x y': '1', x_y: '2' }, 'stats.a;x_y=2'],
    ['a;x=1', { y: '2' }, 'stats.a;x=1;y=2'],
    ['a;bare;;=v', {}, 'stats.a;bare=true;_=v'],
    ['a', Object.fromEntries([['__proto__', 'x']]), 'stats.a;__proto__=x'],
  ])('%s %o go to %s', async (name, tags, path) => {
    expect(await pathsOf(one, [counter(name, tags)])).toEqual([path])
  })

  test('a source is a tag, behind the others', async () => {
    expect(await pathsOf(one, [counter('a', {}, 'web 1')])).toEqual(['stats.a;source=web_1'])
    expect(await pathsOf(one, [counter('a', { source: 'own' }, 'web')])).toEqual(['stats.a;source=own;source_=web'])
  })

  test('tags=path puts them into the name, tags=drop leaves them out', async () => {
    const rollup = counter('a', { route: '/pay.v2', env: 'x=y' }, 'web')
    expect(await pathsOf(`${one}&tags=path`, [rollup])).toEqual(['stats.a.source.web.route.-pay_v2.env.x_y'])
    expect(await pathsOf(`${one}&tags=drop`, [rollup])).toEqual(['stats.a'])
  })

  test('keyNameSanitize=no leaves in tags what Graphite can bear', async () => {
    const rollup = counter('a/b', { über: '~a/b c\t\u0001!', 'x!y^': '1:2' })
    expect(await pathsOf(`${one}&keyNameSanitize=no`, [rollup])).toEqual(['stats.a-b;über=a/b_c_!;xy=1:2'])
  })
})

describe('series that come to have one name', () => {
  test('are merged: counters, meters and sets add up, timers merge whole, of gauges the last reading stays', async () => {
    const twice = (make: (name: string, index: number) => Rollup): Rollup[] => ['a b', 'a/b!', 'a_b'].map(make)
    const gauges = twice((name, index) => ({
      ...sampleRollup(plain('gauge', name), [index]),
      readings: [[TIME - (index === 1 ? 1 : 5), index]],
    }))
    const points = Object.fromEntries(
      await sent('?percentThreshold=50', [
        ...twice((name) => sampleRollup(plain('counter', name), [5])),
        ...twice((name) => sampleRollup(plain('meter', name), [20])),
        ...twice((name, index) => sampleRollup(plain('set', name), [1, 2, index + 5])),
        ...twice((name, index) => sampleRollup(plain('timer', name), [0.001 * (index + 1), 0.32])),
        ...gauges,
      ]),
    )
    expect(points).toMatchObject({
      'stats.a_b': 1,
      'stats_counts.a_b': 10,
      'stats.a-b': 0.5,
      'stats.meters.a_b.count': 40,
      'stats.meters.a_b.m1': 4,
      'stats.sets.a_b.count': 4,
      'stats.sets.a-b.count': 3,
      'stats.timers.a_b.count': 4,
      'stats.timers.a_b.sum': 644,
      'stats.timers.a_b.upper_50': 3,
      'stats.gauges.a_b': 2,
      'stats.gauges.a-b': 1,
    })
  })

  test('count once in numStats, and leave the window as it is', async () => {
    const carbon = await listening()
    const backend = await openBackend(`${carbon.url}?tags=drop`)
    const rollups = ['x', 'y', 'z'].map((value) => sampleRollup(plain('timer', 'db', { value }), [0.01]))
    await backend.flush(sampleWindow(rollups), never)
    await backend.flush(sampleWindow(rollups), never)
    expect(carbon.value('statsd.numStats')).toBe(1)
    expect(carbon.value('stats.timers.db.count')).toBe(3)
  })
})

test('a timer without values tells that alone, as in statsd', async () => {
  const rollup = distributed(plain('timer', 'db'), [])
  const options = '?percentThreshold=90,-10&histogram=:10,inf'
  expect(await sent(options, [rollup])).toEqual([
    ['stats.timers.db.count', 0],
    ['stats.timers.db.count_ps', 0],
  ])
  expect(await sent(`${options}&calculatedTimerMetrics=count,median`, [rollup])).toEqual([['stats.timers.db.count', 0]])
})

test('histograms of negative and many values tell of the values themselves, without a unit', async () => {
  const values = Array.from({ length: 1001 }, (_, index): [number, number] => [index - 500, 1])
  const points = new Map(
    await sent('?percentThreshold=10,-10&histogram=:-250,0,250', [distributed(plain('histogram', 'h'), values)]),
  )
  const figure = (name: string): number => points.get(`stats.histograms.h.${name}`) as number
  expect([figure('lower'), figure('upper'), figure('sum'), figure('count_10'), figure('median')]).toEqual([
    -500, 500, 0, 100, 0,
  ])
  expect(figure('upper_10') / -401).toBeCloseTo(1, 2)
  expect(figure('lower_top10') / 401).toBeCloseTo(1, 2)
  expect(figure('sum_10') / -45_050).toBeCloseTo(1, 2)
  expect(figure('sum_top10') / 45_050).toBeCloseTo(1, 2)
  expect(figure('histogram.bin_-250') / 250).toBeCloseTo(1, 1)
  expect(figure('histogram.bin_0') / 250).toBeCloseTo(1, 1)
  expect(figure('histogram.bin_250') / 250).toBeCloseTo(1, 1)
})

test('numbers that Graphite cannot hold do not reach it', async () => {
  const rollups = [
    sampleRollup(plain('histogram', 'h'), [8e307, 8e307, -8e307]),
    sampleRollup(plain('timer', 't'), [8e307]),
  ]
  for (const [path, value] of await sent('?percentThreshold=90,-90', rollups)) {
    expect([path, Number.isFinite(value)]).toEqual([path, true])
  }
})

describe('its own figures', () => {
  test('tell of the flush before', async () => {
    const carbon = await listening()
    const backend = await openBackend(carbon.url)
    await backend.flush(sampleWindow(rollupsOfEveryType(), 0), never)
    expect(carbon.value('stats.statsd.graphiteStats.flush_length')).toBe(0)
    expect(carbon.value('stats.statsd.graphiteStats.last_exception')).toBe(0)
    expect(carbon.value('statsd.numStats')).toBe(6)
    const before = Math.round(Date.now() / 1000)
    await carbon.stop()
    await expect(backend.flush(sampleWindow(rollupsOfEveryType(), 1), never)).rejects.toThrow('ECONNREFUSED')
    await carbon.listen()
    await backend.flush(sampleWindow(rollupsOfEveryType(), 1), never)
    expect(carbon.value('stats.statsd.graphiteStats.flush_length')).toBe(carbon.texts[0]?.length)
    expect(carbon.value('stats.statsd.graphiteStats.last_exception')).toBeGreaterThanOrEqual(before)
    expect(carbon.value('stats.statsd.graphiteStats.last_flush')).toBeGreaterThanOrEqual(before - 60)
  })
})

describe('a flush', () => {
  const big = (): Window => sampleWindow(manyRollups(30_000))

  test('reaches a carbon that listens on IPv6', async () => {
    const carbon = await listening('::1')
    await (await openBackend(carbon.url)).flush(sampleWindow(rollupsOfEveryType()), never)
    expect(carbon.value('stats.orders;source=web')).toBe(0.5)
  })

  test('waits for a carbon that reads slowly, and for its end', async () => {
    const carbon = await listening()
    let pauses = 0
    carbon.onText = (socket) => {
      if (pauses++ > 20) return
      socket.pause()
      setTimeout(() => socket.resume(), 5)
    }
    const backend = await openBackend(`${carbon.url}?tags=drop`)
    await backend.flush(big(), never)
    // all of it was read when flush resolved, though nothing was waited for here
    expect(carbon.measured).toHaveLength(10_000 * (2 + 1 + 14))
    expect(pauses).toBeGreaterThan(20)
  })

  test('that meets a carbon that resets it halfway is sent again whole', async () => {
    const carbon = await listening()
    const backend = await openBackend(carbon.url)
    let reset: Promise<void> | undefined
    carbon.onText = () => void (reset ??= carbon.stop().then(() => carbon.listen()))
    const error = await backend.flush(big(), never).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(Error)
    expect(error).not.toBeInstanceOf(PermanentError)
    await reset
    await backend.flush(big(), never)
    expect(carbon.measured).toHaveLength(10_000 * (2 + 1 + 14))
    expect(carbon.bad).toEqual([])
  })

  test('to a carbon that ends before it has read all is no success', async () => {
    const carbon = await listening()
    carbon.onText = (socket) => void socket.end()
    const backend = await openBackend(carbon.url)
    await expect(backend.flush(big(), never)).rejects.toThrow(/graphite: /)
  })

  test('that was read but not ended is given up when its time is over, and says so', async () => {
    const carbon = await listening()
    carbon.ends = false
    const backend = await openBackend(carbon.url)
    const giveUp = new AbortController()
    const flush = backend.flush(sampleWindow(rollupsOfEveryType()), giveUp.signal)
    flush.catch(() => {})
    await until(() => carbon.points.size > 0, 'carbon has read something')
    giveUp.abort()
    await expect(flush).rejects.toThrow(/^graphite: .*127\.0\.0\.1:\d+/)
  })

  test('is one connection, which is gone afterwards', async () => {
    const carbon = await listening()
    const backend = await openBackend(carbon.url)
    for (let index = 0; index < 3; index++) await backend.flush(sampleWindow(rollupsOfEveryType(), index), never)
    expect(carbon.texts).toHaveLength(3)
    expect(carbon.texts.every((text) => text.endsWith('\n'))).toBe(true)
  })
})

describe('an option that makes no sense is refused by name:', () => {
  test.each([
    ['graphite://host:2003?globalPrefix=app', /globalPrefix changes nothing without legacyNamespace=false/],
    ['graphite://host:2003?globalSuffix=a%20b', /globalSuffix must not hold spaces/],
    ['graphite://host:2003?percentThreshold=90,x', /percentThreshold must be numbers from -100 to 100/],
    ['graphite://host:2003?percentThreshold=101', /percentThreshold/],
    ['graphite://host:2003?histogram=render', /histogram=render must be METRIC:BINS/],
    ['graphite://host:2003?histogram=render:1,many', /bins of the option histogram must be numbers or inf/],
    ['graphite://host:2003?tags=no', /tags=no must be tag or path or drop/],
    ['graphite://host:2003?prefixTimers=x', /unknown option "prefixTimers"/],
    ['graphite://host:2003/path', /name a host, and nothing behind it/],
    ['graphite:host', /name a host/],
    ['graphite://user@host', /takes no user or password/],
    ['graphite+udp://host', /only the plain text protocol over TCP/],
    ['graphite+pickle://host', /only the plain text protocol over TCP/],
  ])('%s', async (url, message) => {
    await expect(openBackend(url)).rejects.toThrow(message)
    await expect(openBackend(url)).rejects.toBeInstanceOf(UsageError)
  })

  test('and of options in code too', () => {
    expect(() => new GraphiteBackend({ host: '::1', percentThreshold: [200] })).toThrow(
      /\[::1\]:2003: .*percentThreshold/,
    )
  })
})
