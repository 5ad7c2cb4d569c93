/** One line with a value. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface ParsedFamily {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly unit: string
  readonly samples: readonly Sample[]
}

const TYPES = {
  text: ['counter', 'gauge', 'summary', 'histogram', 'untyped'],
  openmetrics: ['counter', 'gauge', 'summary', 'histogram', 'unknown'],
} as const
const METRIC = /^[a-zA-Z_][a-zA-Z0-9_]*$/
const LABEL = /[a-zA-Z_][a-zA-Z0-9_]*(?==")/y
const NUMBER = /^(?:NaN|[+-]Inf|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$/

/**
 * Reads the classic text format 0.0.4 or OpenMetrics 1.0, strictly: whatever a conforming reader may refuse is an error. Written
 * from the formats' documents alone.
 */
export function parseExposition(text: string, format: 'text' | 'openmetrics'): ParsedFamily[] {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line has no end')
  const lines = text.split('\n').slice(0, -1)
  if (format === 'openmetrics') {
    if (lines.pop() !== '# EOF') throw new Error('OpenMetrics ends with # EOF')
  }
  const families: { name: string; type: string; help?: string; unit?: string; samples: Sample[] }[] = []
  const names = new Set<string>()
  for (const line of lines) {
    const meta = /^# (TYPE|HELP|UNIT) (\S+) (.*)$/s.exec(line) as unknown as [string, string, string, string] | null
    if (meta === null) {
      const family = families.at(-1)
      if (family === undefined) throw new Error(`no family before ${line}`)
      family.samples.push(parseSample(line))
      continue
    }
    const [, kind, name, rest] = meta
    if (kind === 'TYPE') {
      if (!METRIC.test(name)) throw new Error(`no name: ${line}`)
      if (names.has(name)) throw new Error(`the family ${name} comes twice`)
      if (!(TYPES[format] as readonly string[]).includes(rest)) throw new Error(`no type: ${line}`)
      names.add(name)
      families.push({ name, type: rest, samples: [] })
      continue
    }
    const family = families.at(-1)
    if (family?.name !== name || family.samples.length > 0) throw new Error(`not at the head of its family: ${line}`)
    if (kind === 'HELP') {
      if (family.help !== undefined) throw new Error(`two helps of ${name}`)
      family.help = unescape(rest, format === 'openmetrics' ? ['\\', 'n', '"'] : ['\\', 'n'])
    } else {
      if (format === 'text' || family.unit !== undefined) throw new Error(`a unit too much: ${line}`)
      if (!name.endsWith(`_${rest}`)) throw new Error(`${name} does not end in its unit ${rest}`)
      family.unit = rest
    }
  }
  const parsed = families.map(({ name, type, help = '', unit = '', samples }) => ({ name, type, help, unit, samples }))
  const seen = new Set<string>()
  for (const family of parsed) {
    if (family.help === '') throw new Error(`${family.name} has no help`)
    checkFamily(family, format)
    for (const sample of family.samples) {
      const series = seriesOf(sample)
      if (seen.has(series)) throw new Error(`the series ${series} comes twice`)
      seen.add(series)
    }
  }
  return parsed
}

/** A text that is the same for the same series. */
export function seriesOf({ name, labels }: Pick<Sample, 'name' | 'labels'>): string {
  return JSON.stringify([name, Object.entries(labels).sort(([left], [right]) => (left < right ? -1 : 1))])
}

function parseSample(line: string): Sample {
  const name = /^[a-zA-Z0-9_]*/.exec(line)?.[0] as string
  if (!METRIC.test(name)) throw new Error(`no sample: ${line}`)
  let at = name.length
  const labels: Record<string, string> = Object.create(null) as Record<string, string>
  if (line[at] === '{') {
    do {
      at++
      LABEL.lastIndex = at
      const label = LABEL.exec(line)?.[0]
      if (label === undefined || label.startsWith('__')) throw new Error(`no label at ${at}: ${line}`)
      if (label in labels) throw new Error(`the label ${label} comes twice: ${line}`)
      at += label.length + 2
      const begin = at
      while (line[at] !== '"') {
        if (at >= line.length) throw new Error(`a value without an end: ${line}`)
        at += line[at] === '\\' ? 2 : 1
      }
      labels[label] = unescape(line.slice(begin, at), ['\\', 'n', '"'])
      // Prometheus takes it for no label at all
      if (labels[label] === '') throw new Error(`the label ${label} is empty: ${line}`)
      at++
    } while (line[at] === ',')
    if (line[at] !== '}') throw new Error(`no closing brace at ${at}: ${line}`)
    at++
  }
  const value = line.slice(at + 1)
  if (line[at] !== ' ' || !NUMBER.test(value)) throw new Error(`no value: ${line}`)
  return { name, labels, value: numberOf(value) }
}

function numberOf(text: string): number {
  return text.endsWith('Inf') ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text)
}

function unescape(text: string, allowed: readonly string[]): string {
  return text.replace(/\\(.?)/gs, (_, escaped: string) => {
    if (!allowed.includes(escaped)) throw new Error(`no escape: \\${escaped}`)
    return escaped === 'n' ? '\n' : escaped
  })
}

function checkFamily(family: ParsedFamily, format: 'text' | 'openmetrics'): void {
  const { name, type, samples } = family
  const suffixes: Readonly<Record<string, readonly string[]>> = {
    counter: format === 'openmetrics' ? ['_total'] : [''],
    gauge: [''],
    untyped: [''],
    unknown: [''],
    summary: ['', '_sum', '_count'],
    histogram: ['_bucket', '_sum', '_count'],
  }
  const metrics = new Map<string, Sample[]>()
  let current = ''
  for (const sample of samples) {
    if (!sample.name.startsWith(name)) throw new Error(`${sample.name} stands in the family ${name}`)
    const suffix = sample.name.slice(name.length)
    if (!suffixes[type]?.includes(suffix)) throw new Error(`${sample.name} stands in the ${type} ${name}`)
    const { le, quantile, ...labels } = sample.labels
    const isTyped = type === 'summary' || type === 'histogram'
    if (isTyped && (le !== undefined) !== (suffix === '_bucket')) throw new Error(`le at ${sample.name}`)
    if (isTyped && (quantile !== undefined) !== (suffix === '')) throw new Error(`quantile at ${sample.name}`)
    if ((le !== undefined || quantile !== undefined) && !/[.e]|^\+Inf$/.test(le ?? quantile ?? '')) {
      throw new Error(`no canonical bound: ${le ?? quantile}`)
    }
    const isTotal = type === 'counter' || (isTyped && suffix !== '')
    // a sum may go down in the classic format
    const mayGoDown = format === 'text' && suffix === '_sum'
    if (isTotal && !mayGoDown && !(sample.value >= 0)) throw new Error(`${sample.name} is ${sample.value}`)
    // elsewhere these are labels like any others
    const metric = seriesOf({ name, labels: isTyped ? labels : sample.labels })
    const known = metrics.get(metric)
    if (known === undefined) metrics.set(metric, [sample])
    else if (metric === current) known.push(sample)
    else throw new Error(`samples of ${metric} do not stand together`)
    current = metric
  }
  for (const metric of metrics.values()) {
    if (type === 'histogram') checkBuckets(metric)
    for (const { labels } of metric) {
      const quantile = Number(labels['quantile'] ?? '0')
      if (type === 'summary' && !(quantile >= 0 && quantile <= 1)) throw new Error(`quantile ${quantile}`)
    }
  }
}

function checkBuckets(metric: readonly Sample[]): void {
  const buckets = metric.filter(({ labels }) => labels['le'] !== undefined)
  let [bound, value] = [-Infinity, 0]
  for (const bucket of buckets) {
    const next = numberOf(bucket.labels['le'] as string)
    if (!(next > bound) || bucket.value < value) throw new Error(`${bucket.name} does not ascend at ${next}`)
    bound = next
    value = bucket.value
  }
  const count = metric.find(({ name }) => name.endsWith('_count'))?.value
  if (bound !== Infinity || count !== value) throw new Error(`${metric[0]?.name}: the last bucket is no count`)
}
