/**
 * StatsD lines as the documentation in gateway/README.md has them, read with split and regular expressions: what the
 * intake must agree with. Lines are "binary" texts, a character a byte.
 */
export class StatsdModel {
  readonly bad: Record<string, number> = {}
  readonly series: Map<string, ModelSeries> = new Map()
  lines = 0
  metrics = 0
  events = 0
  checks = 0
  #nowMs = 0
  #frame = 0
  readonly #sanitize: boolean
  readonly #decoder: TextDecoder
  // what was found of a type, name and tags before
  readonly #found = new Map<string, ModelSeries | 'name' | 'tags'>()

  constructor(sanitize: boolean) {
    this.#sanitize = sanitize
    this.#decoder = new TextDecoder('utf-8', { fatal: !sanitize, ignoreBOM: true })
  }

  /** What comes from here on is of another frame. */
  flush(): void {
    this.#frame++
  }

  packet(text: string, nowMs: number): void {
    this.#nowMs = nowMs
    for (const line of text.split('\n')) this.#line(line.replace(/[ \t\r]+$/, ''))
  }

  #line(line: string): void {
    if (line === '') return
    this.lines++
    if (line.startsWith('_e{')) this.events++
    else if (line.startsWith('_sc|')) this.checks++
    else {
      const [, name, rest] = /^([^:]+):(.*)$/s.exec(line) ?? []
      if (name === undefined || rest === undefined) this.#refuse('format')
      else this.#groups(name, rest)
    }
  }

  #groups(name: string, rest: string): void {
    const groups: RegExpExecArray[] = []
    let left: string | undefined = rest
    while (left !== undefined) {
      const group: RegExpExecArray | null = /^([^|]*)\|([^|:]*)((?:\|@[^|:]*)*)(?=[|:]|$)/.exec(left)
      if (group === null) {
        this.#refuse('format')
        for (const each of groups) this.#group(name, each, '')
        return
      }
      groups.push(group)
      const behind: string = left.slice(group[0].length)
      if (!behind.startsWith(':')) {
        for (const each of groups) this.#group(name, each, behind)
        return
      }
      left = behind.slice(1)
    }
  }

  #group(name: string, [, values = '', typeText = '', rates = '']: RegExpExecArray, behind: string): void {
    const type = TYPES.get(typeText.replaceAll(/^[ \t\r]+|[ \t\r]+$/g, ''))
    if (type === undefined) return this.#refuse('type')
    let weight = 1
    let tags = ''
    let timeMs: number | undefined
    for (const field of (rates + behind).split('|').slice(1)) {
      if (field.startsWith('@')) {
        const rate = /^[^-+ \t]/.test(field.slice(1)) ? decimal(field.slice(1)) : Number.NaN
        if (!(rate > 0 && rate <= 1 && 1 / rate < Infinity)) return this.#refuse('rate')
        weight = 1 / rate
      } else if (field.startsWith('#')) tags = field.slice(1)
      else if (field.startsWith('T')) {
        if (!/^T\d{1,12}$/.test(field) || Number(field.slice(1)) === 0) return this.#refuse('timestamp')
        timeMs = Number(field.slice(1)) * 1000
        if (type === 'gauge' && timeMs > this.#nowMs + 600_000) return this.#refuse('timestamp')
      }
    }
    if (type === 'set') {
      if (values === '') return this.#refuse('value')
      const series = this.#find(type, name, tags)
      if (series === undefined) return
      this.metrics++
      series.members.add(values)
      return
    }
    for (const text of values.split(':')) {
      // plus 0, which takes the sign of a zero away: it tells nothing apart
      const number = decimal(text) + 0
      const value = type === 'timer' ? number / 1000 : type === 'counter' || type === 'meter' ? number * weight : number
      if (!Number.isFinite(value) || (type === 'timer' && value < 0)) {
        this.#refuse('value')
        continue
      }
      const series = this.#find(type, name, tags)
      if (series === undefined) return
      if (type === 'gauge') {
        const reading = /^[-+]/.test(text) && series.newest !== undefined ? series.newest + value : value
        if (!Number.isFinite(reading)) {
          this.#refuse('value')
          continue
        }
        series.newest = reading
        series.readings.push({ timeMs: timeMs ?? this.#nowMs, value: reading, frame: this.#frame })
      } else series.values.push([value, weight])
      this.metrics++
    }
  }

  #find(type: string, rawName: string, rawTags: string): ModelSeries | undefined {
    const line = `${type}|${rawTags}|${rawName}`
    const found = this.#found.get(line) ?? this.#identify(type, rawName, rawTags)
    this.#found.set(line, found)
    if (typeof found !== 'string') return found
    this.#refuse(found)
    return undefined
  }

  #identify(type: string, rawName: string, rawTags: string): ModelSeries | 'name' | 'tags' {
    const name = this.#text(rawName)
    if (name === undefined || rawName.includes('|') || /^$|[\0\r\n]/.test(name) || Buffer.byteLength(name) > 255) {
      return 'name'
    }
    const decoded = this.#decode(rawTags)
    const tags = decoded === undefined ? undefined : this.#tags(decoded)
    if (tags === undefined) return 'tags'
    const id = [`${type} ${name}`, ...tags].join(' ')
    let series = this.series.get(id)
    if (series === undefined) this.series.set(id, (series = new ModelSeries(type)))
    return series
  }

  #tags(text: string): string[] | undefined {
    const pairs: [string, string][] = text
      .split(',')
      .filter((part) => part !== '' && !part.startsWith('dd.internal.'))
      .map((part) => (part.includes(':') ? part : `${part}:true`))
      .map((part) => [part.slice(0, part.indexOf(':')), part.slice(part.indexOf(':') + 1)])
    const cleaned = this.#sanitize
      ? pairs.map((pair) => pair.map((part) => clean(part).replaceAll(';', '_')) as [string, string])
      : pairs
    const keys = [...new Set(cleaned.map(([key]) => key))].sort((a, b) =>
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
    )
    const joined = keys.map((key) => {
      const values = new Set(cleaned.filter(([other]) => other === key).map(([, value]) => value))
      return [key, [...values].sort().join(',')] as const
    })
    const isBad = joined.some(
      ([key, value]) =>
        key === '' || /[\0\r\n]/.test(key + value) || Buffer.byteLength(key) > 128 || Buffer.byteLength(value) > 255,
    )
    return isBad || joined.length > 32 ? undefined : joined.map(([key, value]) => `${key}=${value}`)
  }

  #text(raw: string): string | undefined {
    const text = this.#decode(raw)
    return text !== undefined && this.#sanitize ? clean(text) : text
  }

  #decode(raw: string): string | undefined {
    try {
      return this.#decoder.decode(Buffer.from(raw, 'latin1'))
    } catch {
      return undefined
    }
  }

  #refuse(reason: string): void {
    this.bad[reason] = (this.bad[reason] ?? 0) + 1
  }
}

export interface ModelReading {
  readonly timeMs: number
  readonly value: number
  /** Which frame tells of it, counted. */
  readonly frame: number
}

export class ModelSeries {
  readonly type: string
  /** [value, weight] */
  readonly values: [number, number][] = []
  /** Of a gauge, in the order that they came. */
  readonly readings: ModelReading[] = []
  readonly members: Set<string> = new Set()
  newest: number | undefined

  constructor(type: string) {
    this.type = type
  }
}

const TYPES: ReadonlyMap<string, string> = new Map([
  ['c', 'counter'],
  ['m', 'meter'],
  ['g', 'gauge'],
  ['ms', 'timer'],
  ['h', 'histogram'],
  ['d', 'histogram'],
  ['s', 'set'],
])

/** statsd 0.9, stats.js. */
function clean(key: string): string {
  return key
    .replace(/\s+/g, '_')
    .replace(/\//g, '-')
    .replace(/[^a-zA-Z_\-0-9.;=]/g, '')
}

function decimal(text: string): number {
  const bare = text.replaceAll(/^[ \t]+|[ \t]+$/g, '')
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(bare) ? Number(bare) : Number.NaN
}
