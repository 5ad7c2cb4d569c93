import { DEFAULT_SOURCE } from '../../client/wire/series.ts'
import type { Rollup } from '../backend.ts'
import { percentilesOf } from '../record.ts'

/** How times are counted; nanoseconds and microseconds are exact to the millisecond. */
export const PRECISIONS = ['s', 'ms', 'us', 'ns'] as const
export type Precision = (typeof PRECISIONS)[number]

/** Tags that InfluxDB refuses, or that lines have a use for of their own. */
const RESERVED: ReadonlySet<string> = new Set(['source', 'metric_type', 'time', '_measurement', '_field'])

/**
 * The lines of a rollup: one at the window's end, or none when no figure is a number. With `readings`, a gauge has one for each
 * reading before it, at its own time.
 *
 * ```
 * orders,metric_type=counter,source=web value=5,rate=0.5,total=105 1700000010000
 * ```
 */
export function linesOf(rollup: Rollup, end: number, precision: Precision, readings: boolean): string[] {
  const key = keyOf(rollup)
  const lines: string[] = []
  if (rollup.type === 'gauge' && readings) {
    for (const [time, value] of rollup.readings) addLine(lines, key, { value }, timestamp(time, precision))
  }
  addLine(lines, key, fieldsOf(rollup), timestamp(end, precision))
  return lines
}

function addLine(lines: string[], key: string, fields: Readonly<Record<string, number>>, time: string): void {
  let set = ''
  for (const name in fields) {
    const value = fields[name] as number
    // there is no way to write the others
    if (Number.isFinite(value)) set += `${set === '' ? '' : ','}${name}=${value}`
  }
  if (set !== '') lines.push(`${key} ${set} ${time}`)
}

function fieldsOf(rollup: Rollup): Readonly<Record<string, number>> {
  switch (rollup.type) {
    case 'counter':
      return { value: rollup.value, rate: rollup.rate, total: rollup.total }
    case 'gauge': {
      const { value, min, max, mean, count } = rollup
      return { value, min, max, mean, count }
    }
    case 'meter': {
      const { count, rate, m1, m5, m15 } = rollup
      return { count, rate, m1, m5, m15 }
    }
    case 'set':
      return { value: rollup.value }
    case 'timer':
    case 'histogram': {
      const { count, rate, sum, min, max, mean, stddev } = rollup
      return { count, rate, sum, min, max, mean, stddev, ...percentilesOf(rollup) }
    }
  }
}

/** Measurement and tags, which are the series. Tags are sorted by name, or InfluxDB would have to. */
function keyOf({ type, name, source, tags }: Rollup): string {
  const all: [name: string, value: string][] = [['metric_type', type]]
  // a tag cannot be empty; to InfluxDB, one that is not there is
  if (source !== DEFAULT_SOURCE && source !== '') all.push(['source', escapeTag(source)])
  for (const tag in tags) {
    const value = tags[tag] as string
    if (value !== '') all.push([escapeTag(tagName(tag, tags)), escapeTag(value)])
  }
  all.sort(([left], [right]) => (left < right ? -1 : 1))
  return `${escapeMeasurement(name)},${all.map((pair) => pair.join('=')).join()}`
}

/** A tag that may not have its name is called `tag_` and its name, as often as it takes to be the only one. */
function tagName(tag: string, tags: Readonly<Record<string, string>>): string {
  if (!RESERVED.has(tag)) return tag
  let name = `tag_${tag}`
  while (name in tags) name = `tag_${name}`
  return name
}

/** Exported for its tests. */
export function escapeMeasurement(text: string): string {
  const plain = encodeUnwritable(text)
  // the line would be a comment, or begin, to one reader or another, after the white space; a space is escaped in any case
  const start = /^[#\s]/.test(plain) && plain[0] !== ' ' ? encodeURIComponent(plain[0] as string) : plain[0]
  return `${start ?? ''}${plain.slice(1)}`.replace(/[, ]/g, '\\$&')
}

/** Exported for its tests. */
export function escapeTag(text: string): string {
  return encodeUnwritable(text).replace(/[,= ]/g, '\\$&')
}

/**
 * What the protocol has no way to write, as percent-encoding has it: line breaks and NUL; and a backslash at the end or before
 * one of `, =` or another backslash, where it would be taken for an escape, or would be the end of one. Elsewhere a backslash
 * is only a backslash.
 */
function encodeUnwritable(text: string): string {
  if (!UNWRITABLE.test(text)) return text
  return text.replace(
    UNWRITABLES,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}

// oxlint-disable-next-line no-control-regex
const UNWRITABLE = /[\0\r\n]|\\(?=[, =\\]|$)/
const UNWRITABLES = new RegExp(UNWRITABLE, 'g')

function timestamp(seconds: number, precision: Precision): string {
  if (precision === 's') return String(Math.round(seconds))
  const milliseconds = String(Math.round(seconds * 1000))
  return milliseconds + { ms: '', us: '000', ns: '000000' }[precision]
}
