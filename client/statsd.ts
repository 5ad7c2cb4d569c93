import { DEFAULT_SOURCE, type Series } from './wire/series.ts'

/** How a StatsD line says which series it is of. */
export interface NameStyle {
  /** Begins every name. */
  readonly prefix: string
  /** Tags as further parts of the name, as DogStatsD's, or not at all. */
  readonly tags: 'name' | 'dogstatsd' | 'drop'
}

/** The name of a series, and what stands at the end of its lines. */
export function identityOf(
  { name, source, tags }: Pick<Series, 'name' | 'source' | 'tags'>,
  { prefix, tags: style }: NameStyle,
): [name: string, tags: string] {
  const plain = prefix + clean(name)
  if (style === 'drop') return [plain, '']
  const all = Object.entries(tags)
  if (source !== DEFAULT_SOURCE && source !== '') all.unshift(['source', source])
  if (style === 'name') return [all.reduce((path, [key, value]) => `${path}.${part(key)}.${part(value)}`, plain), '']
  if (all.length === 0) return [plain, '']
  return [plain, `|#${all.map(([key, value]) => `${cleanTag(key)}:${cleanTag(value)}`).join(',')}`]
}

/** A line, or two that must stay together. */
export function gaugeLine(name: string, value: number, tags: string): string {
  // a sign makes it a change of the value there was: so that is made 0 first
  return value < 0 ? `${name}:0|g${tags}\n${name}:${value}|g${tags}` : `${name}:${value}|g${tags}`
}

/** Times 1000, without the noise that this leaves in the last digits: 1.001 s are 1001 ms. */
export function milliseconds(seconds: number): number {
  const ms = seconds * 1000
  return Number.isFinite(ms) ? Number(ms.toPrecision(15)) : seconds < 0 ? -Number.MAX_VALUE : Number.MAX_VALUE
}

function clean(name: string): string {
  return name.replace(/[\s\p{Cc}:|@#]/gu, '_')
}

/** Part of a name: without the dots that part it. */
function part(text: string): string {
  return clean(text).replaceAll('.', '_')
}

function cleanTag(text: string): string {
  return text.replace(/[\s\p{Cc},|#]/gu, '_')
}
