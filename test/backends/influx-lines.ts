/** A point as line protocol says it. */
export interface Point {
  readonly measurement: string
  readonly tags: Record<string, string>
  readonly fields: Record<string, number>
  /** In the request's precision. */
  readonly time: bigint
}

const NUMBER = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i

/**
 * Reads a line by the letter of the protocol, and refuses whatever one of its readers in the world takes for something
 * else: a backslash that may or may not be an escape, tags out of order, an integer where floats are meant.
 */
export function parseLine(line: string): Point {
  const fail = (problem: string): never => {
    throw new Error(`${problem}: ${JSON.stringify(line)}`)
  }
  // oxlint-disable-next-line no-control-regex
  if (/^[#\s\0]|[\0\r\n]/.test(line)) fail('a comment, or white space where none may be')
  const [key = '', fieldSet = '', time = '', ...rest] = split(line, ' ')
  if (rest.length > 0) fail('too many parts')
  const [measurement = '', ...tagSet] = split(key, ',')
  if (measurement === '' || !/^-?\d{1,19}$/.test(time)) fail('no measurement or no time')
  const tags: Record<string, string> = {}
  let last = ''
  for (const tag of tagSet) {
    const [name = '', value = '', ...more] = split(tag, '=')
    if (name === '' || value === '' || more.length > 0) fail('a tag is no name=value')
    if (name <= last) fail('tags are out of order')
    last = name
    Object.defineProperty(tags, unescape(name, ', ='), { value: unescape(value, ', ='), enumerable: true })
  }
  const fields: Record<string, number> = {}
  for (const field of split(fieldSet, ',')) {
    const [name = '', value = '', ...more] = split(field, '=')
    if (name === '' || more.length > 0 || !NUMBER.test(value)) fail('a field is no name=number')
    if (name in fields) fail('a field comes twice')
    fields[name] = Number(value)
  }
  return { measurement: unescape(measurement, ', '), tags, fields, time: BigInt(time) }
}

/** Parts between separators that no backslash precedes. */
function split(text: string, separator: string): string[] {
  const parts = ['']
  for (let index = 0; index < text.length; index++) {
    const character = text[index] as string
    if (character === separator && text[index - 1] !== '\\') parts.push('')
    else parts[parts.length - 1] += character
  }
  return parts
}

function unescape(text: string, escaped: string): string {
  if (/\\$|\\\\/.test(text)) throw new Error(`a backslash that nobody reads alike: ${text}`)
  return text.replace(/\\(.)/gsu, (pair, character: string) => (escaped.includes(character) ? character : pair))
}
