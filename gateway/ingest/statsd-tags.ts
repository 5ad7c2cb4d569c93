/** The value of a tag that is a word alone: what it becomes as a label of Prometheus must not be empty. */
const BARE = 'true'
/** Tags by which Datadog's clients tell its agent of their container. */
const INTERNAL = 'dd.internal.'

/**
 * What statsd makes of a name with `keyNameSanitize` (its stats.js): white space becomes `_`, `/` becomes `-`, and what is
 * none of letters, digits and `_-.;=` goes.
 */
export function cleanKey(text: string): string {
  return text
    .replaceAll(/\s+/g, '_')
    .replaceAll('/', '-')
    .replaceAll(/[^a-zA-Z_\-0-9.;=]/g, '')
}

/**
 * The tags of `key:value,word,key:value`. Of a key that comes more than once, the distinct values, sorted and joined by
 * commas, are one, so that the order in which tags come never matters.
 */
export function tagsOf(text: string, sanitize: boolean): Readonly<Record<string, string>> {
  const tags = new Map<string, string>()
  let repeated: Map<string, Set<string>> | undefined
  for (const part of text.split(',')) {
    if (part === '' || part.startsWith(INTERNAL)) continue
    const colon = part.indexOf(':')
    let key = colon < 0 ? part : part.slice(0, colon)
    let value = colon < 0 ? BARE : part.slice(colon + 1)
    if (sanitize) {
      // `;` parts tags from each other in Graphite, and statsd does not let it through here
      key = cleanKey(key).replaceAll(';', '_')
      value = cleanKey(value).replaceAll(';', '_')
    }
    const known = tags.get(key)
    if (known === undefined) tags.set(key, value)
    else {
      repeated ??= new Map()
      const values = repeated.get(key)
      if (values === undefined) repeated.set(key, new Set([known, value]))
      else values.add(value)
    }
  }
  for (const [key, values] of repeated ?? []) tags.set(key, [...values].sort().join(','))
  // entries, because `__proto__` is a tag like any other
  return Object.fromEntries(tags)
}
