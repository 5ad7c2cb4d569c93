import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Rollup } from '../../backends/backend.ts'
import { Merger, type Naming } from '../../backends/merge.ts'
import { percentilesOption } from '../../backends/percentiles.ts'
import { sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { shorten } from '../../backends/shorten.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import type { Type } from '../../client/wire/series.ts'

/** A service without tags, upper case and blanks, where timers become `.count` and `.avg`. */
const naming: Naming = {
  rename: ({ name, source }) => ({ name: name.replaceAll(' ', '_'), source, tags: {} }),
  identity: ({ name, source }) => `${name} ${source}`.toLowerCase(),
  fold: (name) => name.toLowerCase(),
  suffixes: {
    counter: [''],
    gauge: [''],
    set: [''],
    meter: ['', '.m1'],
    timer: ['.count', '.avg'],
    histogram: ['.count', '.avg'],
  },
}

const rollup: fc.Arbitrary<Rollup> = fc
  .record({
    type: fc.constantFrom<Type[]>('counter', 'meter', 'gauge', 'timer', 'histogram', 'set'),
    name: fc.constantFrom('a b', 'a_b', 'A_b', 'x', 'x.count', 'X.m1', 'x.counter', 'x.timer'),
    source: fc.constantFrom('web', 'WEB', 'db'),
    tags: fc.constantFrom({}, { i: '1' }),
    values: fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 5 }),
  })
  .map(({ values, ...series }) => sampleRollup(series, values))

/** The metrics that a service gets, each told by what the service goes by. */
function metricsOf(rollups: readonly Rollup[]): string[] {
  return rollups.flatMap(({ type, name, source }) =>
    naming.suffixes[type].map((suffix) => naming.identity({ name: name + suffix, source, tags: {} })),
  )
}

const figureOf = (each: Rollup): number =>
  'value' in each && each.type !== 'set' ? each.value : 'count' in each ? each.count : 0

describe('a merged window', () => {
  test('has no two metrics of one name, and all that was counted in each', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(rollup, { maxLength: 30 }), async (rollups) => {
        const { rollups: merged } = await new Merger(naming).merge(sampleWindow(rollups))
        const metrics = metricsOf(merged)
        expect(new Set(metrics).size).toBe(metrics.length)
        for (const type of ['counter', 'meter', 'timer', 'histogram'] as const) {
          const sum = (list: readonly Rollup[]): number =>
            list.filter((each) => each.type === type).reduce((total, each) => total + figureOf(each), 0)
          expect(sum(merged)).toBe(sum(rollups))
        }
        const readings = (list: readonly Rollup[]): number =>
          list.reduce((total, each) => total + (each.type === 'gauge' ? each.readings.length : 0), 0)
        expect(readings(merged)).toBe(readings(rollups))
      }),
    )
  })

  test('is the same when it is made again', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(rollup, { maxLength: 30 }), async (rollups) => {
        const merger = new Merger(naming)
        const names = async (): Promise<string[]> =>
          (await merger.merge(sampleWindow(rollups))).rollups.map(({ type, name }) => `${type} ${name}`)
        expect(await names()).toEqual(await names())
      }),
    )
  })

  test('merges the members of sets and the values of timers', async () => {
    const [merged] = (
      await new Merger(naming).merge(
        sampleWindow([
          sampleRollup({ type: 'set', name: 'u', source: 's', tags: {} }, [1, 2]),
          sampleRollup({ type: 'set', name: 'U', source: 's', tags: { i: '1' } }, [2, 3]),
        ]),
      )
    ).rollups
    expect(merged).toMatchObject({ name: 'u', tags: {}, value: 3 })
    const timers = [[1, 2], [9], [4]].map((values) =>
      sampleRollup({ type: 'timer', name: 't', source: 's', tags: {} }, values),
    )
    const [timer] = (await new Merger(naming).merge(sampleWindow(timers))).rollups
    expect(timer).toMatchObject({ count: 4, sum: 16, min: 1, max: 9, mean: 4, rate: 0.4 })
  })

  test('has the newest value of gauges, and how many there were', async () => {
    const gauges = [[3, 8], [5]].map((values) =>
      sampleRollup({ type: 'gauge', name: 'g', source: 's', tags: {} }, values),
    )
    const [gauge] = (await new Merger(naming).merge(sampleWindow(gauges))).rollups
    expect(gauge).toMatchObject({ value: 8, min: 3, max: 8, count: 3, mean: 16 / 3 })
  })

  test('keeps a series apart from another type from the first time they met', async () => {
    const merger = new Merger(naming)
    const [counter, gauge] = (['counter', 'gauge'] as const).map((type) =>
      sampleRollup({ type, name: 'x', source: 's', tags: {} }, [1]),
    ) as [Rollup, Rollup]
    const names = async (...rollups: Rollup[]): Promise<string[]> =>
      (await merger.merge(sampleWindow(rollups))).rollups.map(({ name }) => name)
    expect(await names(gauge)).toEqual(['x'])
    expect(await names(gauge, counter)).toEqual(['x.gauge', 'x'])
    expect(await names(gauge)).toEqual(['x.gauge'])
  })
})

test('a text that is shortened fits, stays well formed, and stays another than others', () => {
  const text = fc.string({ unit: 'binary', maxLength: 80 })
  fc.assert(
    fc.property(text, text, (left, right) => {
      const [one, two] = [shorten(left, 40), shorten(right, 40)]
      expect(one.length).toBeLessThanOrEqual(40)
      expect(one.isWellFormed()).toBe(left.isWellFormed())
      expect(one === two).toBe(left === right)
      expect(one === left).toBe(left.length <= 40)
    }),
  )
})

test.each([
  [undefined, ['p95']],
  ['none', []],
  ['50,99.9', ['p50', 'p999']],
  ['p5,p95,p999,95', ['p5', 'p95', 'p999']],
])('the option percentiles=%s means %j', (text, names) => {
  const url = parseBackendUrl(text === undefined ? 'aa:' : `aa:?percentiles=${text}`, {})
  expect(percentilesOption(url, [0.95]).map(({ name }) => name)).toEqual(names)
})

test.each(['', 'p', '0', '100', '1e1', '-5', '50,,90', 'p99.9.9'])('the option percentiles=%s is refused', (text) => {
  expect(() => percentilesOption(parseBackendUrl(`aa:?percentiles=${text}`, {}), [])).toThrow(
    'the option percentiles must be a list such as 95,99.9, or none',
  )
})
