import { utf8 } from '../client/wire/bytes.ts'
import { hashKey } from '../client/wire/hash.ts'

/**
 * A text of at most `limit` characters: what is too long is cut and ends in `_` and a hash of the whole, so that two long
 * texts stay two.
 */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text
  const hash = hashKey(utf8(text)).toString(16).padStart(8, '0')
  // not through the middle of a character
  return `${text.slice(0, limit - 9).replace(/[\ud800-\udbff]$/, '')}_${hash}`
}
