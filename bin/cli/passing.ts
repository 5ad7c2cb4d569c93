import { formatNumber, formatSeconds } from '../../backends/units.ts'
import { Sum } from '../../client/sketch/aggregate.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { Gauge } from '../../client/sketch/gauge.ts'
import type { Frame, FrameEntry } from '../../client/wire/frame.ts'
import { DEFAULT_SOURCE } from '../../client/wire/series.ts'

// would move the cursor, or turn the line round
// oxlint-disable-next-line no-control-regex
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** What a publisher measured of one series since its frame before, as a line to read. */
export function lineOf({ closedMs, level }: Frame, { series, aggregate }: FrameEntry): string {
  const source = series.source === DEFAULT_SOURCE ? '-' : series.source
  const tags = Object.entries(series.tags).map(([key, value]) => `${key}=${value}`)
  const show = series.type === 'timer' ? formatSeconds : formatNumber
  const figures = Object.entries(figuresOf(aggregate)).map(([name, value]) =>
    name === 'value' ? show(value) : `${name}=${name === 'count' ? formatNumber(value) : show(value)}`,
  )
  const columns: readonly (readonly [text: string, width: number])[] = [
    [clock(closedMs), 12],
    [level, 5],
    [series.type, 9],
    [series.name, 24],
    [source, 12],
    [tags.length === 0 ? '-' : tags.join(' '), 20],
    [figures.join(' '), 0],
  ]
  return columns.map(([text, width]) => text.replace(UNPRINTABLE, '�').padEnd(width)).join('  ')
}

/** The same as one JSON object; times in seconds. */
export function jsonOf({ publisher, seq, closedMs, level }: Frame, { series, aggregate }: FrameEntry): string {
  const { type, name, source, tags } = series
  return JSON.stringify({
    time: closedMs / 1000,
    level,
    type,
    name,
    source,
    tags,
    ...figuresOf(aggregate),
    publisher,
    seq,
  })
}

function figuresOf(aggregate: FrameEntry['aggregate']): Record<string, number> {
  if (aggregate instanceof Sum) return { value: aggregate.value }
  if (aggregate instanceof Gauge) {
    const { value, count, min, max } = aggregate
    return count > 1 ? { value, count, min, max } : { value }
  }
  if (!(aggregate instanceof Distribution)) return { value: aggregate.size }
  const { count, sum, min, max } = aggregate
  const [p50, p99] = aggregate.quantiles([0.5, 0.99]) as [number, number]
  return count === 1 ? { value: sum } : { count, sum, min, p50, p99, max }
}

function clock(ms: number): string {
  const date = new Date(ms)
  const two = (value: number): string => String(value).padStart(2, '0')
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
  return `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
