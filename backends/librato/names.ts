import { byBytes, DEFAULT_SOURCE } from '../../client/wire/series.ts'
import type { Rollup } from '../backend.ts'
import type { Named, Naming } from '../merge.ts'
import { shorten } from '../shorten.ts'

/** Librato's limits of names, sources and values of tags, and of names of tags, in characters. */
const NAME_LENGTH = 255
const TAG_NAME_LENGTH = 64

// `test` is much cheaper than replacing nothing
const FORBIDDEN = /[^A-Za-z0-9.:_-]/
const EACH_FORBIDDEN = /[^A-Za-z0-9.:_-]/gu
// in values of tags a blank is allowed
const FORBIDDEN_IN_VALUE = /[^A-Za-z0-9.:_ -]/
const EACH_FORBIDDEN_IN_VALUE = /[^A-Za-z0-9.:_ -]/gu

export interface NameOptions {
  /** Stands before every name. */
  readonly prefix: string
  /** What measurements that name no source are said to come from; not empty. */
  readonly source: string
  /** Whether tags stand behind the name, are left out, or go along as tags. */
  readonly tags: 'name' | 'drop' | 'tags'
  /** What the percentiles that are sent are called. */
  readonly percentiles: readonly string[]
}

/** How Librato knows series: upper and lower case are the same to it. */
export class LibratoNames implements Naming {
  readonly suffixes: Naming['suffixes']
  readonly #options: NameOptions

  constructor(options: NameOptions) {
    this.#options = options
    const plain = ['']
    const distribution = ['', ...options.percentiles.map((name) => `.${name}`)]
    const meter = ['', '.m1', '.m5', '.m15']
    this.suffixes = { counter: plain, gauge: plain, set: plain, meter, timer: distribution, histogram: distribution }
  }

  rename({ name, source, tags }: Rollup): Named {
    const options = this.#options
    const from = source === DEFAULT_SOURCE || source === '' ? options.source : source
    if (options.tags === 'tags') {
      return { name: cleanName(options.prefix + name), source: '', tags: cleanTags(from, tags) }
    }
    let full = options.prefix + name
    if (options.tags === 'name') {
      for (const tag of Object.keys(tags).sort(byBytes)) full += `.${tag}:${tags[tag] as string}`
    }
    return { name: cleanName(full), source: cleanSource(from), tags: {} }
  }

  identity({ name, source, tags }: Named): string {
    let text = `${name}\0${source}`
    for (const tag in tags) text += `\0${tag}\0${tags[tag] as string}`
    return text.toLowerCase()
  }

  fold(name: string): string {
    return name.toLowerCase()
  }
}

/** A metric's name: characters that Librato does not take become `:`, as they always did in Zibrato's sources. */
export function cleanName(name: string): string {
  return shorten(FORBIDDEN.test(name) ? name.replace(EACH_FORBIDDEN, ':') : name, NAME_LENGTH)
}

function cleanSource(source: string): string {
  // the word stands for all sources in Librato's queries
  return /^all$/i.test(source) ? `${source}:` : cleanName(source)
}

/** Tags as Librato keeps them, in lower case and sorted; the source is one of them. */
function cleanTags(source: string, tags: Readonly<Record<string, string>>): Record<string, string> {
  const clean: [name: string, value: string][] = [['source', cleanValue(source)]]
  for (const tag in tags) {
    const name = shorten(cleanName(tag), TAG_NAME_LENGTH).toLowerCase()
    clean.push([name === 'source' ? 'source:' : name, cleanValue(tags[tag] as string)])
  }
  return Object.fromEntries(clean.sort(([left], [right]) => (left < right ? -1 : 1)))
}

function cleanValue(value: string): string {
  const clean = FORBIDDEN_IN_VALUE.test(value) ? value.replace(EACH_FORBIDDEN_IN_VALUE, ':') : value
  // an empty one is not allowed
  return shorten(clean === '' ? ':' : clean, NAME_LENGTH).toLowerCase()
}
