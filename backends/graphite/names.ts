import { DEFAULT_SOURCE, type Series, type Type } from '../../client/wire/series.ts'
import type { GraphiteOptions } from './options.ts'

/** A series' key, taken apart. */
export interface SeriesPath {
  /** Never empty. */
  readonly name: string
  /** `;key=value` of each tag, or nothing. */
  readonly tags: string
}

/** How Graphite names series, figures and the backend's own numbers: as statsd 0.9 does. */
export class Names {
  readonly legacy: boolean
  /** In front of `numStats`. */
  readonly numStats: string
  /** In front of the backend's other figures. */
  readonly stats: string
  readonly #before: Readonly<Record<Type, string>>
  readonly #suffix: string
  readonly #sanitised: boolean
  readonly #tags: 'tag' | 'path' | 'drop'

  constructor(options: GraphiteOptions) {
    this.legacy = options.legacyNamespace ?? true
    const global = this.legacy ? 'stats' : (options.globalPrefix ?? 'stats')
    const under = (legacy: string, prefix: string): string => joined(global, this.legacy ? legacy : prefix)
    this.#before = {
      counter: under('', options.prefixCounter ?? 'counters'),
      timer: under('timers', options.prefixTimer ?? 'timers'),
      gauge: under('gauges', options.prefixGauge ?? 'gauges'),
      set: under('sets', options.prefixSet ?? 'sets'),
      histogram: under('histograms', options.prefixHistogram ?? 'histograms'),
      meter: under('meters', options.prefixMeter ?? 'meters'),
    }
    const own = options.prefixStats ?? 'statsd'
    this.stats = joined(global, own)
    this.numStats = this.legacy ? joined(own) : this.stats
    const suffix = options.globalSuffix ?? ''
    this.#suffix = suffix === '' ? '' : `.${suffix}`
    this.#sanitised = options.keyNameSanitize ?? true
    this.#tags = options.tags ?? 'tag'
  }

  /**
   * What stands for a series in Graphite, as in statsd: `name` or `name;key=value;key=value`. Two series of one type may come
   * to have the same.
   */
  keyOf(series: Pick<Series, 'name' | 'source' | 'tags'>): string {
    const [head = '', ...own] = series.name.split(';')
    const name = sanitised(head) || '_'
    const { tags, source } = series
    const keys = Object.keys(tags)
    const sourceless = source === DEFAULT_SOURCE || source === ''
    if (this.#tags === 'drop' || (own.length === 0 && keys.length === 0 && sourceless)) return name
    // a Map, because of two tags that come to have one key Graphite keeps the last
    const pairs = new Map<string, string>()
    for (const segment of own) this.#add(pairs, segment)
    for (const key of keys) {
      const value = tags[key] as string
      this.#add(pairs, (value === '' ? key : `${key}=${value}`).replaceAll(/[;,]/g, '_'))
    }
    if (!sourceless) {
      const key = pairs.has('source') ? 'source_' : 'source'
      this.#add(pairs, `${key}=${source.replaceAll(/[;,]/g, '_')}`)
    }
    if (this.#tags === 'tag') return name + asTags(pairs)
    const all = [...pairs]
    // where it was measured comes first, as in names that people make up
    const last = sourceless ? undefined : all.pop()
    return name + inPath(last === undefined ? all : [last, ...all])
  }

  pathOf(key: string): SeriesPath {
    const semicolon = key.indexOf(';')
    return semicolon < 0 ? { name: key, tags: '' } : { name: key.slice(0, semicolon), tags: key.slice(semicolon) }
  }

  /**
   * A line's first word.
   *
   * @param figure with a dot in front, or nothing
   */
  figure(type: Type, { name, tags }: SeriesPath, figure: string): string {
    return `${this.#before[type]}${name}${figure}${this.#suffix}${tags}`
  }

  /** Where the sum of a counter goes. */
  counterSum(path: SeriesPath): string {
    return this.legacy ? `stats_counts.${path.name}${this.#suffix}${path.tags}` : this.figure('counter', path, '.count')
  }

  /** Where a figure of the backend's own goes; `before` is one of {@link Names.stats} and {@link Names.numStats}. */
  own(before: string, figure: string): string {
    return `${before}${figure}${this.#suffix}`
  }

  #add(pairs: Map<string, string>, segment: string): void {
    if (segment === '') return
    const text = this.#sanitised ? sanitised(segment) : bearable(segment)
    const equals = text.indexOf('=')
    const key = (equals < 0 ? text : text.slice(0, equals)).replace(/[!^]/g, '') || '_'
    // carbon refuses a line with an empty value; and what is called `name` it replaces by the name
    const value = (equals < 0 ? '' : text.slice(equals + 1)).replace(/^~+/, '') || 'true'
    pairs.set(key === 'name' ? 'name_' : key, value)
  }
}

/** `a.b.` */
function joined(...parts: readonly string[]): string {
  return parts
    .filter((part) => part !== '')
    .map((part) => `${part}.`)
    .join('')
}

/** As statsd 0.9 does it on receipt. */
function sanitised(text: string): string {
  if (/^[a-zA-Z_\-0-9.=]*$/.test(text)) return text
  return text
    .replace(/\s+/g, '_')
    .replace(/\//g, '-')
    .replace(/[^a-zA-Z_\-0-9.=]/g, '')
}

/** Without what would break a line. */
function bearable(text: string): string {
  return text.replace(/\s+/g, '_').replace(/\p{Cc}/gu, '')
}

function asTags(pairs: ReadonlyMap<string, string>): string {
  let text = ''
  for (const [key, value] of pairs) text += `;${key}=${value}`
  return text
}

function inPath(pairs: Iterable<readonly [string, string]>): string {
  let text = ''
  for (const [key, value] of pairs) text += `.${component(key)}.${component(value)}`
  return text
}

function component(text: string): string {
  return sanitised(text).replace(/[.=]/g, '_') || '_'
}
