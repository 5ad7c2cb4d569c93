import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type {
  CounterRollup,
  DistributionRollup,
  GaugeRollup,
  MeterRollup,
  SetRollup,
} from '../../../backends/backend.ts'
import { recordOf } from '../../../backends/record.ts'
import { Gauge } from '../../../client/sketch/gauge.ts'
import type { Writer } from '../../../client/wire/bytes.ts'
import type { EncodedKey } from '../../../client/wire/series.ts'
import { distributionOf, counter, frame, gauge, keyIn, meter, repeated, set, timer } from './frames.ts'
import { Owner, SHARD, T0, plain } from './owner.ts'
import { KEYS, Play, steps } from './play.ts'

describe('a shard', () => {
  it('emits what a naive model does, and the same after any number of restarts', async () => {
    let full = 0
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const play = new Play()
        for (const step of taken) play.play(step)
        play.finish()
        const { got, wanted } = await play.outcome()
        expect(got).toEqual(wanted)
        full += play.owner.kinds.filter((kind) => kind === 'full').length
      }),
      { numRuns: 120, interruptAfterTimeLimit: 20_000 },
    )
    expect(full).toBeGreaterThan(0)
  })

  it('goes on the same from a full snapshot, changes behind it, and the log behind those', async () => {
    const owner = new Owner()
    const keys = Array.from({ length: 1_500 }, (_, index) => keyIn(SHARD, `series.${index}.`))
    let seq = 0
    const work = (each: Owner, from: number, to: number, at: number): void =>
      each.take(frame({ seq: at }, ...keys.slice(from, to).map((key, index) => counter(key, index))))
    while (!owner.kinds.includes('full')) {
      work(owner, seq * 200, seq * 200 + 400, ++seq)
      owner.pass(10_000)
    }
    work(owner, 100, 300, ++seq)
    owner.pass(10_000)
    expect(owner.kinds.at(-1)).toBe('changes')
    work(owner, 0, 1_500, ++seq)
    const next = owner.restored()
    const from = owner.commits.length
    for (const each of [owner, next]) {
      // known to the filter from the snapshot, from changes and from the log
      for (let known = 1; known <= seq; known++) work(each, 0, 1_500, known)
      work(each, 0, 1_500, seq + 1)
      each.pass(10_000)
      work(each, 700, 900, seq + 2)
      each.pass(10_000)
    }
    expect(next.shard.series).toBe(1_500)
    expect(plain(await next.windows())).toEqual(plain(await owner.windows(from)))
    expect(next.commits.at(-1)?.snapshot.bytes).toEqual(owner.commits.at(-1)?.snapshot.bytes)
  })

  it('puts what comes for a window committed early into the next one', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 'c')
    owner.take(frame({ seq: 1 }, counter(key, 1)))
    owner.pass(4_000)
    owner.commit()
    const next = owner.restored()
    for (const each of [owner, next]) {
      each.take(frame({ seq: 2 }, counter(key, 2)))
      each.pass(6_000)
      each.take(frame({ seq: 3 }, counter(key, 4)))
      each.pass(9_999)
      expect(each.commits.at(-1)?.end).not.toBe(T0 + 20_000)
      each.pass(1)
      expect(await each.last()).toMatchObject([{ value: 6, total: 7 }])
      expect(each.commits.at(-1)?.end).toBe(T0 + 20_000)
    }
  })

  it('commits no windows while nothing comes, and then the one of the time that it is', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 'c')
    owner.take(frame({ seq: 1 }, counter(key, 1)))
    owner.pass(10_000)
    for (let step = 0; step < 100; step++) owner.pass(5_000)
    owner.take(frame({ seq: 2 }, counter(key, 2)))
    owner.pass(10_000)
    expect(owner.commits.map(({ end }) => end - T0)).toEqual([10_000, 520_000])
    expect(await owner.last()).toMatchObject([{ value: 2, total: 3 }])
  })

  it('keeps to multiples of the window length when that has changed over a restart', () => {
    const owner = new Owner()
    owner.take(frame({ seq: 1 }, counter(keyIn(SHARD, 'c'), 1)))
    owner.pass(10_000)
    const next = owner.restored({ intervalMs: 6_000 })
    expect(next.shard.end % 6_000).toBe(0)
    expect(next.shard.end).toBeGreaterThan(owner.commits[0]?.end as number)
    expect(next.shard.end).toBeLessThanOrEqual(next.nowMs + 6_000)
  })

  it('has windows of a fraction of a second', async () => {
    const owner = new Owner({ intervalMs: 250 })
    const key = keyIn(SHARD, 'c')
    for (let seq = 1; seq <= 8; seq++) {
      owner.take(frame({ seq }, counter(key, seq), meter(key, seq)))
      owner.pass(125)
    }
    const windows = await owner.windows()
    expect(windows.map(({ start, end }) => [start, end])).toEqual(
      [0, 0.25, 0.5, 0.75].map((start) => [T0 / 1000 + start, T0 / 1000 + start + 0.25]),
    )
    expect(windows[3]?.rollups).toMatchObject([
      { type: 'counter', value: 15, rate: 60, total: 36 },
      { type: 'meter', count: 15, rate: 60 },
    ])
  })

  it('merges the levels of one series into one rollup, though each has its own order', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 'c')
    owner.take(frame({ seq: 1 }, counter(key, 1)), frame({ seq: 1, level: 'crit' }, counter(key, 2)))
    owner.take(frame({ seq: 1, level: 'crit' }, counter(key, 2)), frame({ seq: 2, level: 'crit' }, counter(key, 4)))
    owner.pass(10_000)
    expect(await owner.last()).toMatchObject([{ value: 7 }])
    expect(owner.shard.figures).toMatchObject({ merged: 3, replays: 1 })
    expect(owner.shard.publishers).toBe(2)
  })

  it('refuses a frame that lies, or came under the topic of another shard, and takes its neighbours', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 'c')
    const liar = keyIn(SHARD, 'l')
    const elsewhere = keyIn(6, 'e')
    owner.take(
      frame({ seq: 1 }, counter(key, 1)),
      // nothing of it counts, its good entry neither; and its seq is not taken
      frame({ seq: 2 }, counter(key, 100), counter({ ...liar, hash: key.hash }, 100)),
      frame({ seq: 2 }, counter(key, 100), counter({ ...liar, hash: (liar.hash ^ 32) >>> 0 }, 100)),
      frame({ seq: 2, shard: 6 }, counter(elsewhere, 100)),
      frame({ seq: 2, shard: SHARD }, counter(key, 100), counter(elsewhere, 100)),
      frame({ seq: 2 }, counter(key, 2)),
    )
    owner.pass(10_000)
    expect(await owner.last()).toMatchObject([{ type: 'counter', value: 3 }])
    expect(owner.shard.figures).toMatchObject({ merged: 2, invalid: 4, replays: 0 })
    expect(owner.shard.series).toBe(1)
  })

  it('shows every frame that it merges, and no other', () => {
    const shown: Uint8Array[] = []
    const owner = new Owner({ onFrame: (bytes, start, end) => shown.push(bytes.slice(start, end)) })
    const frames = [1, 2].map((seq) => frame({ seq }, counter(keyIn(SHARD, 'c'), seq)))
    owner.take(...frames, Uint8Array.of(1), frames[0] as Uint8Array)
    expect(shown).toEqual(frames)
  })

  it('stays finite under absurd values', async () => {
    const owner = new Owner({ intervalMs: 250 })
    const key = keyIn(SHARD, 'c')
    const heavy = distributionOf([])
    heavy.add(3, 1e308)
    const distributions = [1e308, -1e308].map((value) => distributionOf(Array.from({ length: 40 }, () => value)))
    const summary = new Gauge('last')
    for (let time = 0; time < 3; time++) summary.set(1e308, T0)
    for (let seq = 1; seq <= 6; seq++) {
      const sign = seq > 4 ? -1 : 1
      owner.take(
        frame(
          { seq, publisher: seq },
          counter(key, sign * 1e308),
          meter(key, sign * 1e308),
          timer(key, 1e308, 1e308),
          { type: 'histogram', key, aggregate: seq % 2 === 0 ? heavy : (distributions[seq > 3 ? 1 : 0] as never) },
          gauge(keyIn(SHARD, 'combined'), sign * 1e308, T0, 'sum'),
          { type: 'gauge', key, aggregate: summary },
        ),
        frame({ seq: seq + 1, publisher: seq }, counter(key, sign * 1e308), meter(key, sign * 1e308)),
      )
      owner.pass(seq % 2 === 0 ? 250 : 0)
    }
    owner.pass(250)
    const windows = await owner.windows()
    expect(windows.length).toBeGreaterThanOrEqual(3)
    const absurd = windows
      .flatMap(({ rollups }) => rollups.flatMap((rollup) => Object.entries(rollup)))
      .filter(([, value]) => typeof value === 'number' && !Number.isFinite(value))
    expect(absurd).toEqual([])
    expect(windows[0]?.rollups[0]).toMatchObject({ type: 'counter', value: Number.MAX_VALUE, total: Number.MAX_VALUE })
  })
})

describe('series beyond the bound', () => {
  it('count in one series for each type, tagged with the shard, and are reported once per window', async () => {
    const reported: string[] = []
    const owner = new Owner({ maxSeries: 3, onOverflow: (key) => reported.push(key.split('\0')[0] as string) })
    const keys = Array.from({ length: 6 }, (_, index) => keyIn(SHARD, `k${index}.`))
    owner.take(frame({ seq: 1 }, ...keys.map((key) => counter(key, 10)), timer(keys[0] as EncodedKey, 1, 2)))
    owner.take(frame({ seq: 2 }, ...keys.map((key) => counter(key, 1)), timer(keys[1] as EncodedKey, 3)))
    owner.pass(10_000)
    const rollups = await owner.last()
    const over = rollups.filter(({ name }) => name === 'zibrato.overflow')
    expect(over).toMatchObject([
      { type: 'counter', source: 'not_specified', value: 33, tags: { shard: String(SHARD) } },
      { type: 'timer', count: 3, sum: 6 },
    ])
    expect(rollups).toHaveLength(5)
    expect(owner.shard.figures.overflowed).toBe(8)
    expect(reported).toHaveLength(1)
    owner.take(frame({ seq: 3 }, counter(keys[5] as EncodedKey, 1), counter(keys[4] as EncodedKey, 1)))
    owner.pass(10_000)
    expect(reported).toHaveLength(2)
    expect(await owner.last()).toMatchObject([{ name: 'zibrato.overflow', value: 2, total: 35 }])
  })

  it('still do after a restart, with the same total', async () => {
    const owner = new Owner({ maxSeries: 1 })
    const [one, two, three] = ['a', 'b', 'c'].map((name) => keyIn(SHARD, name)) as [EncodedKey, EncodedKey, EncodedKey]
    owner.take(frame({ seq: 1 }, counter(one, 1), counter(two, 2)))
    owner.pass(10_000)
    const next = owner.restored()
    next.take(frame({ seq: 2 }, counter(one, 1), counter(two, 2), counter(three, 4)))
    next.pass(10_000)
    expect(await next.last()).toMatchObject([{ total: 2 }, { name: 'zibrato.overflow', value: 6, total: 8 }])
  })
})

describe('series of which nothing lasts', () => {
  it('count towards the bound after a restart too', () => {
    const owner = new Owner({ maxSeries: 2 })
    const keys = ['a', 'b', 'c'].map((name) => keyIn(SHARD, name))
    owner.take(frame({ seq: 1 }, ...keys.slice(0, 2).map((key) => timer(key, 1))))
    owner.pass(10_000)
    const next = owner.restored()
    expect(next.shard.series).toBe(2)
    next.take(frame({ seq: 2 }, ...keys.map((key) => timer(key, 1))))
    expect(next.shard.figures.overflowed).toBe(1)
  })

  it('are written into one snapshot, not into each', () => {
    const owner = new Owner()
    const key = KEYS[2] as EncodedKey
    const sizes = [1, 2, 3].map((seq) => {
      owner.take(frame({ seq }, timer(key, 1), set(key, 'a')))
      owner.pass(10_000)
      return owner.commits.at(-1)?.snapshot.bytes.length as number
    })
    expect(sizes[0]).toBeGreaterThan(2 * key.bytes.length)
    expect(sizes[1]).toBeLessThan(100)
    expect(sizes[2]).toBe(sizes[1])
  })
})

describe('series without data', () => {
  it('are forgotten after a day, with the next full snapshot, while others stay', async () => {
    const owner = new Owner()
    const [idle, busy] = [keyIn(SHARD, 'idle'), keyIn(SHARD, 'busy')]
    const wideKeys = [KEYS[2], KEYS[3]] as [EncodedKey, EncodedKey]
    owner.take(frame({ seq: 1 }, counter(idle, 5), counter(busy, 5), gauge(idle, 1, T0, 'sum'), gauge(busy, 2, T0)))
    owner.pass(10_000)
    owner.pass(86_380_000)
    owner.take(frame({ publisher: 2, seq: 1 }, counter(busy, 1)))
    owner.pass(10_000)
    expect(owner.shard.series).toBe(4)
    let seq = 1
    while (owner.kinds.at(-1) !== 'full') {
      owner.take(frame({ publisher: 2, seq: ++seq }, ...wideKeys.map((key) => counter(key, 1))))
      owner.pass(10_000)
    }
    expect(owner.shard.series).toBe(3)
    for (const each of [owner, owner.restored()]) {
      each.take(frame({ publisher: 2, seq: seq + 1 }, counter(idle, 1), counter(busy, 1)))
      each.pass(10_000)
      expect(await each.last()).toMatchObject([
        { name: expect.stringMatching(/^busy/), total: 7 },
        { name: expect.stringMatching(/^idle/), total: 1 },
      ])
    }
  })

  const zero = { type: 'counter', value: 0, rate: 0, total: 5 }
  const nobody = { type: 'set', value: 0 }
  const readings = [[T0 / 1000 + 20, 7]]
  const again = { type: 'gauge', value: 7, min: 7, max: 7, mean: 7, count: 0, readings }

  it.each([
    ['skip', []],
    ['zero', [zero, nobody]],
    ['repeat', [zero, again, nobody]],
  ] as const)('are emitted as asked for: %s', async (idle, expected) => {
    const owner = new Owner({ idle })
    const key = keyIn(SHARD, 'c')
    owner.take(frame({ seq: 1 }, counter(key, 5), gauge(key, 7, T0), timer(key, 1), set(key, 'a', 'b')))
    owner.pass(10_000)
    expect(await owner.last()).toHaveLength(4)
    const next = owner.restored()
    for (const [each, committed] of [
      [owner, 1],
      [next, 0],
    ] as const) {
      each.pass(10_000)
      const rollups = (await each.windows(committed)).flatMap((window) => window.rollups)
      expect(rollups).toMatchObject(expected)
    }
  })

  it('are emitted type by type for as many windows as asked for, counted from their last data, over restarts too', async () => {
    const idle = { counter: 4, gauge: 2, set: 1, timer: 3 }
    const key = keyIn(SHARD, 'i')
    const first = new Owner({ idle, intervalMs: 250 })
    const all = [counter(key, 5), gauge(key, 7, T0), timer(key, 1), set(key, 'a', 'b'), meter(key, 0)]
    first.take(frame({ seq: 1 }, ...all, { ...timer(key, 2), type: 'histogram' }))
    first.pass(250)
    first.take(frame({ seq: 2 }, ...all))
    first.pass(250)
    for (const restarts of [false, true]) {
      let owner = first.restored()
      const emitted: string[][] = []
      const idleTimers: DistributionRollup[] = []
      for (let window = 0; window < 6; window++) {
        owner.pass(250)
        const rollups = (await owner.windows()).at(-1)?.rollups ?? []
        emitted.push(owner.commits.at(-1)?.outbox === undefined ? [] : rollups.map(({ type }) => type))
        idleTimers.push(...rollups.filter((rollup): rollup is DistributionRollup => rollup.type === 'timer'))
        if (restarts) owner = owner.restored()
      }
      expect(emitted).toEqual([
        ['counter', 'gauge', 'set', 'timer'],
        ['counter', 'gauge', 'timer'],
        ['counter', 'timer'],
        ['counter'],
        [],
        [],
      ])
      const nothing = { count: 0, rate: 0, sum: 0, min: 0, max: 0, mean: 0, stddev: 0, p50: 0, p999: 0 }
      expect(idleTimers).toMatchObject([nothing, nothing, nothing])
      expect(idleTimers.map(({ distribution }) => distribution.count)).toEqual([0, 0, 0])
      const records = idleTimers.map((rollup) => recordOf({ start: 0, end: 1 }, rollup))
      expect(JSON.stringify(records)).not.toContain('null')
    }
  })

  it('are remembered as long as they are emitted, be it for more than a day', async () => {
    const owner = new Owner({ idle: { gauge: 3 * 8_640, counter: 1 } })
    const [first, second] = [keyIn(SHARD, 'first'), keyIn(SHARD, 'second')]
    owner.take(frame({ seq: 1 }, counter(first, 5), gauge(first, 7, T0)))
    owner.pass(10_000)
    let seq = 0
    const wide = KEYS.slice(2, 4)
    const untilFull = (): void => {
      const from = owner.commits.length
      while (!owner.kinds.slice(from).includes('full')) {
        owner.take(frame({ publisher: 2, seq: ++seq }, counter(second, 1), ...wide.map((key) => counter(key, 1))))
        owner.pass(10_000)
      }
    }
    owner.pass(2 * 86_400_000)
    untilFull()
    expect(await owner.last()).toContainEqual(expect.objectContaining({ type: 'gauge', value: 7, count: 0 }))
    expect(owner.shard.series).toBe(4)
    owner.pass(86_400_000)
    untilFull()
    expect(owner.shard.series).toBe(3)
  })

  it('are emitted while they are meters that decay, until they are still', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 'm')
    owner.take(frame({ seq: 1 }, meter(key, 10)))
    let previous = Number.POSITIVE_INFINITY
    let windows = 0
    for (let step = 0; step < 800; step++) {
      owner.pass(10_000)
      if (owner.commits.length === windows) break
      windows = owner.commits.length
      const [rollup] = (await owner.last()) as MeterRollup[]
      expect(rollup?.m15).toBeLessThan(previous)
      previous = rollup?.m15 as number
    }
    // from 1 per second to 1 in a quarter of an hour takes ln 900 quarters
    expect(windows).toBe(Math.ceil((900 * Math.log(900)) / 10) + 1)
    expect(previous).toBeLessThan(1 / 900)
    const next = owner.restored()
    for (const each of [owner, next]) {
      each.pass(100_000)
      each.take(frame({ publisher: 2, seq: 1 }, meter(key, 10)))
      each.pass(10_000)
    }
    const [after] = (await owner.last()) as MeterRollup[]
    expect(after?.m15).toBeCloseTo(previous * Math.exp(-110 / 900) + (1 - Math.exp(-10 / 900)), 3)
    expect(plain(await next.windows())).toEqual(plain(await owner.windows(windows)))
  })
})

describe('a gauge', () => {
  const key = keyIn(SHARD, 'g')

  it.each([
    ['sum', 12],
    ['min', 3],
    ['max', 9],
  ] as const)('takes the %s over its publishers', async (combine, value) => {
    const owner = new Owner()
    owner.take(frame({ publisher: 1 }, gauge(key, 5, T0, combine)), frame({ publisher: 2 }, gauge(key, 9, T0, combine)))
    owner.take(frame({ publisher: 1, seq: 2 }, gauge(key, 3, T0 + 1_000, combine)))
    owner.pass(10_000)
    expect(await owner.last()).toMatchObject([{ value, min: 3, max: 9, count: 3, readings: [[T0 / 1000 + 10, value]] }])
  })

  it('counts publishers while they say their value again, and for 30 s after their last word, over restarts too', async () => {
    let owner = new Owner()
    let seq = 0
    owner.take(frame({ publisher: 1, seq: ++seq }, gauge(key, 5, T0, 'sum')))
    owner.take(frame({ publisher: 2 }, gauge(key, 7, T0, 'sum')))
    const values: (number | undefined)[] = []
    for (let step = 1; step <= 12; step++) {
      if (step <= 6) owner.take(frame({ publisher: 1, seq: ++seq }, repeated(key, 5, owner.nowMs, 'sum')))
      owner.pass(10_000)
      values.push(((await owner.last()) as GaugeRollup[])[0]?.value)
      if (step % 4 === 0) {
        owner = owner.restored()
        values.push(-step)
      }
    }
    // at the end of the window in which nobody is left nothing is emitted
    expect(values.filter((value) => value === undefined || value > 0)).toEqual([
      ...Array.from({ length: 3 }, () => 12),
      ...Array.from({ length: 5 }, () => 5),
      ...Array.from({ length: 4 }, () => undefined),
    ])
    expect(owner.shard.dirty).toBe(false)
  })

  it('gives a publisher of long spans three of them', async () => {
    const owner = new Owner()
    owner.take(frame({ publisher: 1, spanMs: 20_000 }, gauge(key, 5, T0, 'max')))
    for (let step = 0; step < 6; step++) owner.pass(10_000)
    expect(await owner.last()).toMatchObject([{ value: 5, count: 0 }])
    owner.pass(10_000)
    expect(owner.commits.at(-1)?.outbox).toBeUndefined()
  })

  it('is not lost when all its publishers have come and gone within one long window', async () => {
    const owner = new Owner({ intervalMs: 60_000 })
    owner.nowMs = T0
    owner.take(frame({ publisher: 1 }, gauge(key, 5, T0, 'sum')))
    owner.pass(2_000)
    owner.take(frame({ publisher: 2 }, gauge(key, 7, T0 + 2_000, 'sum')))
    owner.pass(58_000)
    expect(await owner.last()).toMatchObject([{ value: 12, count: 2 }])
    const committed = owner.commits.length
    owner.pass(60_000)
    owner.pass(60_000)
    expect(await owner.windows(committed)).toEqual([])
  })

  it('of which publishers differ combines by the higher code, whatever is repeated', async () => {
    const owner = new Owner()
    owner.take(
      frame({ publisher: 1 }, repeated(key, 5, T0, 'max')),
      frame({ publisher: 2 }, repeated(key, 9, T0, 'sum')),
    )
    owner.pass(10_000)
    expect(await owner.last()).toMatchObject([{ value: 9 }])
    for (const each of [owner, owner.restored()]) {
      each.take(frame({ publisher: 1, seq: 2 }, repeated(key, 5, T0, 'max')))
      each.take(frame({ publisher: 2, seq: 2 }, repeated(key, 9, T0, 'sum')))
      each.pass(10_000)
      expect(await each.last()).toMatchObject([{ value: 9, count: 0 }])
    }
  })

  it('that is only said again has its value, and no readings counted', async () => {
    const owner = new Owner()
    owner.take(frame({ seq: 1 }, repeated(key, 5, T0, 'last')))
    owner.pass(10_000)
    expect(await owner.last()).toMatchObject([{ value: 5, min: 5, max: 5, mean: 5, count: 0 }])
  })

  it('keeps a summary of what it read more often than it keeps readings', async () => {
    const owner = new Owner()
    const many = new Gauge()
    for (let index = 0; index < 200; index++) many.set(index, T0 - 200_000 + index * 1_000)
    owner.take(
      frame({ seq: 1 }, { type: 'gauge', key, aggregate: { encode: (writer: Writer) => many.encode(writer) } }),
    )
    owner.pass(10_000)
    const [rollup] = (await owner.last()) as GaugeRollup[]
    expect(rollup).toMatchObject({ value: 199, min: 0, max: 199, count: 200, mean: 99.5 })
    expect(rollup?.readings).toHaveLength(64)
  })
})

describe('a set', () => {
  it('counts distinct members over publishers, each window anew', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 's')
    owner.take(frame({ publisher: 1 }, set(key, 'a', 'b')), frame({ publisher: 2 }, set(key, 'b', 'c')))
    owner.pass(10_000)
    expect(((await owner.last()) as SetRollup[])[0]?.value).toBe(3)
    owner.take(frame({ publisher: 1, seq: 2 }, set(key, 'a')))
    owner.pass(10_000)
    expect(((await owner.last()) as SetRollup[])[0]?.value).toBe(1)
  })
})

describe('the replay filter of a shard', () => {
  it('counts what never came as missing, and as lost once its publisher is forgotten', async () => {
    const owner = new Owner()
    const key = keyIn(SHARD, 'c')
    owner.take(frame({ seq: 1 }, counter(key, 1)), frame({ seq: 4 }, counter(key, 1)))
    expect([owner.shard.missing, owner.shard.lost]).toEqual([2, 0])
    owner.take(frame({ seq: 3 }, counter(key, 1)))
    owner.pass(10_000)
    expect(owner.shard.missing).toBe(1)
    owner.pass(700_000)
    owner.take(frame({ publisher: 2 }, counter(key, 1)))
    owner.pass(10_000)
    expect([owner.shard.missing, owner.shard.lost, owner.shard.publishers]).toEqual([0, 1, 1])
    const next = owner.restored()
    expect([next.shard.missing, next.shard.lost, next.shard.publishers]).toEqual([0, 1, 1])
    expect(((await owner.last()) as CounterRollup[])[0]?.total).toBe(4)
  })
})
