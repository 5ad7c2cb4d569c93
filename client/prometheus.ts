import { DEFAULT_SOURCE, type Series } from './wire/series.ts'

export type Label = readonly [name: string, value: string]

const NO_NAME = /[^a-zA-Z0-9_]/gu
const FIRST_DIGIT = /^(?=\d)/
/** Labels with a meaning of their own here. (What clashes with a target's own, Prometheus renames the same way.) */
const TAKEN = new Set(['le', 'quantile', 'source'])

/** The name of a metric: one `_` for each character that none may have; colons too, which are for recording rules. */
export function metricName(name: string): string {
  return name.replace(NO_NAME, '_').replace(FIRST_DIGIT, '_')
}

/** What the names of a series' samples begin with; timers end with their unit. */
export function baseName({ type, name }: Pick<Series, 'type' | 'name'>, prefix = ''): string {
  const base = metricName(prefix + name)
  if (type === 'timer') return base.endsWith('_seconds') ? base : `${base}_seconds`
  // what its total is called anyway
  return type === 'counter' || type === 'meter' ? base.replace(/(?<=.)_total$/, '') : base
}

/**
 * The name of a label for a tag: one `_` for each character that none may have, and only one at the beginning, since names
 * with two are Prometheus' own. What has a meaning already is prefixed with `exported_`, as Prometheus does.
 */
export function labelName(tag: string): string {
  const name = tag.replace(NO_NAME, '_').replace(FIRST_DIGIT, '_').replace(/^__+/, '_')
  return TAKEN.has(name) ? `exported_${name}` : name
}

/**
 * The labels of a series, sorted: `source`, unless it is the default one, and its tags. Tags that come to the same label
 * are joined with `;`, in their order. A label without a value is none to Prometheus, so it is left out.
 */
export function labelsOf({ source, tags }: Pick<Series, 'source' | 'tags'>): Label[] {
  const labels: [string, string][] = []
  if (source !== '' && source !== DEFAULT_SOURCE) labels.push(['source', source])
  for (const tag in tags) {
    const value = tags[tag] as string
    if (value === '') continue
    const name = labelName(tag)
    const same = labels.find((label) => label[0] === name)
    if (same === undefined) labels.push([name, value])
    else same[1] += `;${value}`
  }
  // names are ASCII, so this is the order of their bytes
  return labels.sort(([left], [right]) => (left < right ? -1 : 1))
}

/** Labels as they stand between braces: `a="x",b="y"`. */
export function labelText(labels: readonly Label[]): string {
  return labels.map(([name, value]) => `${name}="${escapeQuoted(value)}"`).join()
}

/** For label values, and help in OpenMetrics. */
export function escapeQuoted(text: string): string {
  return /["\\\n]/.test(text) ? escapeHelp(text).replaceAll('"', '\\"') : text
}

/** For help in the classic format, where quotes stand for themselves. */
export function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

/**
 * A bound or quantile as the value of a label: as Go prints it, with `.0` where nothing says that it is no integer. It is
 * the same in all formats, so that a series does not change with the format it is fetched in.
 */
export function boundText(bound: number): string {
  if (bound === Infinity) return '+Inf'
  const [digits, power] = bound.toExponential().split('e') as [string, string]
  const exponent = Number(power)
  if (exponent >= -4 && exponent < 6) return Number.isInteger(bound) ? `${bound}.0` : String(bound)
  const size = String(Math.abs(exponent)).padStart(2, '0')
  return `${digits}e${exponent < 0 ? '-' : '+'}${size}`
}

/** A value of a sample. */
export function valueText(value: number): string {
  // at once for what is finite, as almost all are
  if (value - value === 0) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}

/** The quantile that a rollup calls `p50` or `p999`; undefined when that is none. */
export function quantileOf(percentile: string): number | undefined {
  const digits = /^p(\d+)$/.exec(percentile)?.[1]
  if (digits === undefined) return undefined
  if (digits === '100') return 1
  // `p05` is half a percent: a whole number of percent is not written with a zero first
  const whole = digits.startsWith('0') && digits.length > 1 ? 1 : 2
  return Number(`${digits.slice(0, whole)}.${digits.slice(whole)}e-2`)
}
