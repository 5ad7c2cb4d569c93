import { DEFAULT_SOURCE } from '../../client/wire/series.ts'
import type { Rollup } from '../backend.ts'
import type { Named, Naming } from '../merge.ts'
import { shorten } from '../shorten.ts'

/** Datadog's limit of names, and of tags with their keys, in characters. */
const LENGTH = 200

const NAME = /^[A-Za-z][A-Za-z0-9_.]*$/
const FORBIDDEN_IN_NAME = /[^A-Za-z0-9_.]/gu
const PLAIN_TAG = /^[a-z][a-z0-9_\-./]*$/
const FORBIDDEN_IN_KEY = /[^\p{L}\p{N}_\-./]/gu
const PLAIN_VALUE = /^[a-z0-9_\-:./]*[a-z0-9_\-./]$/
const FORBIDDEN_IN_VALUE = /[^\p{L}\p{N}_\-:./]/gu

export interface NameOptions {
  /** Stands before every name. */
  readonly prefix: string
  /** What a source is to Datadog. */
  readonly source: 'tag' | 'host' | 'none'
  /** What timers and histograms become: suffixes of gauges and counts, or nothing where they are distributions. */
  readonly distribution: readonly string[]
}

/** How Datadog knows series: by name, host and tags. */
export class DatadogNames implements Naming {
  readonly suffixes: Naming['suffixes']
  readonly #options: NameOptions

  constructor(options: NameOptions) {
    this.#options = options
    const plain = ['']
    const { distribution } = options
    const meter = ['', '.m1', '.m5', '.m15']
    this.suffixes = { counter: plain, gauge: plain, set: plain, meter, timer: distribution, histogram: distribution }
  }

  rename({ name, source, tags }: Rollup): Named {
    const known = source === DEFAULT_SOURCE ? '' : source
    const clean: Record<string, string> = {}
    if (known !== '' && this.#options.source === 'tag') addTag(clean, 'source', known)
    for (const key in tags) addTag(clean, key, tags[key] as string)
    return {
      name: cleanName(this.#options.prefix + name),
      source: this.#options.source === 'host' ? known : '',
      tags: clean,
    }
  }

  identity({ name, source, tags }: Named): string {
    return `${name}\0${source}\0${Object.keys(tags).sort().join()}`
  }

  fold(name: string): string {
    return name
  }
}

/** A metric's name: letters, digits, `_` and `.`, a letter first; all else becomes `_`. */
export function cleanName(name: string): string {
  if (NAME.test(name)) return shorten(name, LENGTH)
  const clean = name.replace(FORBIDDEN_IN_NAME, '_')
  return shorten(/^[A-Za-z]/.test(clean) ? clean : `x${clean}`, LENGTH)
}

/** Tags stand in a record as `key:value`, each once. */
function addTag(tags: Record<string, string>, key: string, value: string): void {
  const tag = cleanTag(key, value)
  tags[tag] = tag
}

/** `key:value` in lower case, which Datadog makes of it in any case; `key` alone where there is no value. */
export function cleanTag(key: string, value: string): string {
  const name = PLAIN_TAG.test(key) ? key : cleanKey(key)
  if (value === '') return shorten(name, LENGTH)
  const text = PLAIN_VALUE.test(value)
    ? value
    : value
        .toLowerCase()
        .replace(FORBIDDEN_IN_VALUE, '_')
        .replace(/:+$/, (colons) => '_'.repeat(colons.length))
  return shorten(`${name}:${text}`, LENGTH)
}

function cleanKey(key: string): string {
  const clean = key.toLowerCase().replace(FORBIDDEN_IN_KEY, '_')
  return /^\p{L}/u.test(clean) ? clean : `x${clean}`
}
