import type { Account, Entry } from './publishers.ts'
import type { Point, Recorder } from './recorder.ts'

/**
 * Violations of what holds always, and of `nothing is lost` where that was promised; empty when there are none.
 *
 * @param others who recorded too, of whom anything may be lost
 */
export function judge(
  recorder: Recorder,
  accounts: readonly Account[],
  loses: 'nothing' | 'perhaps',
  others: readonly Account[] = [],
): string[] {
  const violations: string[] = []
  for (const [key, windows] of recorder.points) {
    const points = [...windows].toSorted(([left], [right]) => left - right)
    violations.push(...judgeWindows(key, points))
  }
  const known = new Set<string>()
  for (const account of [...accounts, ...others]) {
    const promised = loses === 'nothing' && !others.includes(account)
    for (const [key, entry] of account.attempted) {
      known.add(key)
      violations.push(...judgeSums(key, recorder, entry, promised ? account.acknowledged.get(key) : undefined))
    }
  }
  for (const key of recorder.points.keys()) if (!known.has(key)) violations.push(`${key}: nobody recorded it`)
  return violations
}

/** Series of which not all that was acknowledged has come out. */
export function missing(recorder: Recorder, accounts: readonly Account[]): string[] {
  return accounts.flatMap(({ acknowledged }) =>
    [...acknowledged]
      .filter(([key, entry]) => {
        const { count, sum } = recorder.sum(key)
        if (isCounted(key)) return sum < entry.sum
        return isMeasured(key) ? count < entry.count : !recorder.points.has(key)
      })
      .map(([key]) => key),
  )
}

/** One value for each window, whole windows, running totals that are running sums, and rates that go on. */
function* judgeWindows(key: string, points: readonly (readonly [end: number, point: Point])[]): Generator<string> {
  let total = 0
  let rates: { m1: number; m5: number; m15: number; end: number } | undefined
  for (const [end, { rollup, interval, others }] of points) {
    const window = `${key}, window ${end}`
    for (const other of others) yield `${window}: two values: ${other}`
    if (Math.abs(end / interval - Math.round(end / interval)) > 1e-6) yield `${window}: is no multiple of ${interval} s`
    const { value = 0, count = 0, tags } = rollup
    if (rollup.type === 'counter') {
      total += value
      if (rollup.total !== total) yield `${window}: total ${rollup.total} is not the running sum ${total}`
    }
    if (tags['second'] !== undefined && end <= Number(tags['second'])) yield `${window}: ended before it was recorded`
    if (rollup.type === 'meter') {
      const { m1 = 0, m5 = 0, m15 = 0 } = rollup
      const expected = advance(rates, count, end, interval)
      for (const [name, is, should] of [
        ['m1', m1, expected.m1],
        ['m5', m5, expected.m5],
        ['m15', m15, expected.m15],
      ] as const) {
        if (Math.abs(is - should) > 1e-6 * Math.max(1, should)) yield `${window}: ${name} is ${is}, not ${should}`
      }
      rates = { m1, m5, m15, end }
    }
  }
}

/** As of Unix load averages, from the window before; stillness where windows are missing. */
function advance(
  before: { m1: number; m5: number; m15: number; end: number } | undefined,
  count: number,
  end: number,
  interval: number,
): { m1: number; m5: number; m15: number } {
  const rate = count / interval
  if (before === undefined) return { m1: rate, m5: rate, m15: rate }
  const gap = end - before.end - interval
  const step = (mean: number, minutes: number): number => {
    const still = mean * Math.exp(-gap / (60 * minutes))
    return still + (rate - still) * (1 - Math.exp(-interval / (60 * minutes)))
  }
  return { m1: step(before.m1, 1), m5: step(before.m5, 5), m15: step(before.m15, 15) }
}

function* judgeSums(
  key: string,
  recorder: Recorder,
  attempted: Entry,
  acknowledged: Entry | undefined,
): Generator<string> {
  const windows = recorder.points.get(key)
  const out = recorder.sum(key)
  const seen = `in ${windows?.size ?? 0} windows (${[...(windows?.keys() ?? [])]
    .toSorted((left, right) => left - right)
    .slice(-8)
    .join(' ')})`
  if (isCounted(key) || isMeasured(key)) {
    const least = acknowledged?.sum ?? 0
    if (out.sum > attempted.sum) yield `${key}: ${out.sum} came out of ${attempted.sum} recorded, ${seen}`
    if (out.sum < least) yield `${key}: ${out.sum} came out of ${least} acknowledged, ${seen}`
    if (isMeasured(key)) {
      if (out.count > attempted.count) yield `${key}: ${out.count} values of ${attempted.count} recorded, ${seen}`
      const count = acknowledged?.count ?? 0
      if (out.count < count) yield `${key}: ${out.count} values of ${count} acknowledged, ${seen}`
    }
    return
  }
  for (const [end, { rollup }] of windows ?? []) {
    const most = key.startsWith('gauge') ? attempted.max : attempted.count
    const { value = 0 } = rollup
    if (!Number.isInteger(value) || value < 1 || value > most) yield `${key}, window ${end}: was never ${value}`
  }
  if (acknowledged !== undefined && windows === undefined) yield `${key}: never came out`
}

function isCounted(key: string): boolean {
  return /^(counter|meter) /.test(key)
}

function isMeasured(key: string): boolean {
  return /^(histogram|timer) /.test(key)
}
