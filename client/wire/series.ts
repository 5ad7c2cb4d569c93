import { checkOneOf, unfit } from '../describe.ts'
import { FNV_BASIS, FNV_PRIME, hashKey, mix32 } from './hash.ts'
import { utf8 } from './bytes.ts'

/** Types as they travel; their position is the type's byte in a frame. Code says `unique`, the wire says `set`. */
export const TYPES = ['', 'counter', 'meter', 'gauge', 'timer', 'histogram', 'set'] as const

export type Type = 'counter' | 'meter' | 'gauge' | 'timer' | 'histogram' | 'set'

/** The type's byte in frames and tables. */
export const TYPE_CODE: Readonly<Record<Type, number>> = {
  counter: 1,
  meter: 2,
  gauge: 3,
  timer: 4,
  histogram: 5,
  set: 6,
}

export type TagValue = string | number | boolean | undefined

/** Where a measurement was made; `undefined` leaves a tag out. */
export type Tags<Key extends string = string> = { readonly [K in Key]?: TagValue }

/** What identifies one series. `tags` are text and sorted by key. */
export interface Series {
  readonly type: Type
  readonly name: string
  readonly source: string
  readonly tags: Readonly<Record<string, string>>
}

export const DEFAULT_SOURCE = 'not_specified'
export const SHARDS = 32

const TEXT_BYTES = 255
const TAG_KEY_BYTES = 128
const LEVEL_BYTES = 64
const MOST_TAGS = 32

export const LIMITS: Readonly<Record<'name' | 'source' | 'tagKey' | 'tagValue' | 'tags' | 'level', number>> = {
  name: TEXT_BYTES,
  source: TEXT_BYTES,
  tagKey: TAG_KEY_BYTES,
  tagValue: TEXT_BYTES,
  tags: MOST_TAGS,
  level: LEVEL_BYTES,
}

// NUL separates the parts of a key; line breaks would break text lines and logs
// oxlint-disable-next-line no-control-regex
const FORBIDDEN = /[\0\r\n]/

function checkPart(what: string, text: unknown, least: number, limit = TEXT_BYTES): void {
  if (
    typeof text !== 'string' ||
    text.length < least ||
    FORBIDDEN.test(text) ||
    // three bytes is the most one UTF-16 unit takes, so short texts need no encoding
    (text.length * 3 > limit && utf8(text).length > limit)
  ) {
    throw unfit(what, `a text of ${least} to ${limit} bytes without NUL or line break`, text)
  }
}

/** @throws InvalidMeasurementError when no series may have the tag, or it is not among those allowed */
export function checkTag(tag: string, value: TagValue, allowed?: readonly string[]): void {
  if (allowed !== undefined) checkOneOf('tag key', tag, allowed)
  checkPart('tag key', tag, 1, TAG_KEY_BYTES)
  if (!tag.isWellFormed()) throw unfit('tag key', 'of whole characters', tag)
  const text = typeof value === 'number' || typeof value === 'boolean' ? `${value}` : value
  checkPart(`tag "${tag}"`, text, 0)
}

/**
 * @throws InvalidMeasurementError for an empty level, one over 64 bytes, with `|`, NUL or a line break, or that starts
 * with `#` or `?`.
 */
export function checkLevel(level: string): void {
  checkPart('level', level, 1, LEVEL_BYTES)
  if (/^[#?]|\|/.test(level)) throw unfit('level', 'without "|", and without "#" or "?" in front', level)
}

/**
 * The key of a series: `name NUL source NUL tagKey NUL tagValue NUL ...`, tags sorted by key. Identity is (type, key).
 * Lone surrogates have no UTF-8 and become U+FFFD, except in a tag's key, where two tags could become one.
 *
 * @throws InvalidMeasurementError naming the part that no series may have
 */
export function seriesKey(name: string, source: string, tags: Tags = {}): string {
  checkPart('name', name, 1)
  checkPart('source', source, 0)
  let key = `${name}\0${source}\0`
  const used = Object.keys(tags).filter((tag) => tags[tag] !== undefined)
  if (used.length > MOST_TAGS) throw unfit('tags', `${MOST_TAGS} at the most`, used.length)
  for (const tag of used.sort(byBytes)) {
    checkTag(tag, tags[tag])
    key += `${tag}\0${tags[tag]}\0`
  }
  return key.toWellFormed()
}

/** Order of the UTF-8 bytes, which for astral characters is not the order of UTF-16 units. */
export function byBytes(left: string, right: string): number {
  for (let index = 0; ; index++) {
    const a = left.codePointAt(index) ?? -1
    const b = right.codePointAt(index) ?? -1
    if (a !== b || a < 0) return a - b
  }
}

// `__proto__` is a tag like any other, but what `Object.create(null)` makes is a hash table inside, three times as slow
const TagMap = /* @__PURE__ */ (() => {
  const Bare = function () {} as unknown as new () => Record<string, string>
  Bare.prototype = Object.create(null)
  return Bare
})()

/** The inverse of {@link seriesKey}, for keys that a decoder has checked. */
export function parseKey(type: Type, key: string): Series {
  const parts = key.split('\0')
  const tags = new TagMap()
  for (let index = 2; index + 1 < parts.length; index += 2) tags[parts[index] as string] = parts[index + 1] as string
  return { type, name: parts[0] as string, source: parts[1] as string, tags }
}

/**
 * The hash of a key, or -1 when the bytes are none: an even number of NUL-ended parts, at least name and source, within the
 * limits, tags sorted. In one pass, because every entry that comes in takes it.
 */
export function hashIfKey(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > 2 * (TEXT_BYTES + 1) + MOST_TAGS * (TAG_KEY_BYTES + TEXT_BYTES + 2) || bytes[start] === 0) return -1
  let hash = FNV_BASIS
  let parts = 0
  let partStart = start
  let tagStart = -1
  let bits = 0
  for (let index = start; index < end; index++) {
    const byte = bytes[index] as number
    hash = Math.imul(hash ^ byte, FNV_PRIME)
    bits |= byte
    if (byte > 13) continue
    if (byte === 10 || byte === 13) return -1
    if (byte !== 0) continue
    const isTagKey = parts > 1 && parts % 2 === 0
    if (index - partStart > (isTagKey ? LIMITS.tagKey : 255)) return -1
    if (isTagKey) {
      if (index === partStart || (tagStart >= 0 && !precedes(bytes, tagStart, partStart))) return -1
      tagStart = partStart
    }
    partStart = index + 1
    parts++
  }
  if (partStart !== end || parts < 2 || parts % 2 !== 0 || parts > 2 + 2 * LIMITS.tags) return -1
  return bits < 0x80 || isUtf8(bytes.subarray(start, end)) ? mix32(hash) : -1
}

// both parts end with NUL, which sorts before everything
function precedes(bytes: Uint8Array, left: number, right: number): boolean {
  for (let index = 0; ; index++) {
    const a = bytes[left + index] as number
    const b = bytes[right + index] as number
    if (a !== b) return a < b
    if (a === 0) return false
  }
}

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true })

function isUtf8(bytes: Uint8Array): boolean {
  try {
    decoder.decode(bytes)
    return true
  } catch {
    return false
  }
}

export function shardOf(hash: number): number {
  return hash & (SHARDS - 1)
}

/** Key bytes, hash and shard: what is constant per series and encoded once. */
export interface EncodedKey {
  readonly bytes: Uint8Array
  readonly hash: number
  readonly shard: number
}

export function encodeKey(key: string): EncodedKey {
  const bytes = utf8(key)
  const hash = hashKey(bytes)
  return { bytes, hash, shard: shardOf(hash) }
}
