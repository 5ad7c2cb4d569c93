import { readFileSync } from 'node:fs'
import { CURVE_KEY } from '../../client/curve.ts'
import { durationMs } from '../../client/duration.ts'
import { UsageError } from '../../client/errors.ts'
import { LIMITS, checkLevel } from '../../client/wire/series.ts'
import { subscribersUrl } from '../../backends/worker/source.ts'
import { parseTokens, type TokenSpec } from '../../gateway/auth.ts'

/** A port to listen on; `highest` leaves room for the one above it. */
export function port(text: string, highest = 65_535): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= highest) return Number(text)
  throw new UsageError(`${JSON.stringify(text)} is no port; give a number in 1..${highest}, or 0 for a free one`)
}

/** A port to listen on, or `off`: undefined. */
export function portOrOff(text: string): number | undefined {
  if (text === 'off') return undefined
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new UsageError(`${JSON.stringify(text)} is no port; give a number in 1..65535, 0 for a free one, or "off"`)
}

/** An address to listen at, without the brackets of IPv6. */
export function host(text: string): string {
  const name = text.trim()
  if (name !== '' && !/[\s/]/.test(name)) return name.replace(/^\[(.*)\]$/, '$1')
  throw new UsageError(`${JSON.stringify(text)} is no address; give one of this machine, such as 127.0.0.1`)
}

/** A broker, by the port its publishers connect to. */
export function brokerUrl(text: string): string {
  try {
    subscribersUrl(text)
    return text
  } catch {
    throw new UsageError(`${JSON.stringify(text)} is no broker; write tcp://HOST:PORT, such as tcp://127.0.0.1:5550`)
  }
}

/** Where a broker is, without the brackets of IPv6. */
export function brokerHost(text: string): string {
  const name = text.trim().replace(/^\[(.*)\]$/, '$1')
  if (/^[\w.:-]+$/.test(name)) return name
  throw new UsageError(`${JSON.stringify(text)} is no host; give a name or address, such as 127.0.0.1`)
}

/** A broker's port for subscribers; the one below it is for publishers. */
export function subscribersPort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) >= 2 && Number(text) <= 65_535) return Number(text)
  throw new UsageError(`${JSON.stringify(text)} is no port; give a number in 2..65535`)
}

/** A service's URL, without user and password. */
export function endpoint(text: string): string {
  if (/^https?:\/\/[^/@?#]+(\/[^@?#]*)?$/i.test(text) && URL.canParse(text)) return text.replace(/\/+$/, '')
  // a token may be in it
  throw new UsageError('this is no URL of a service; write https://HOST/PATH, user and token with flags of their own')
}

export function levels(text: string): readonly string[] {
  const list = text.split(',').map((each) => each.trim())
  for (const each of list) level(each)
  return [...new Set(list)]
}

export function level(text: string): string {
  try {
    checkLevel(text)
    return text
  } catch (cause) {
    throw new UsageError(`${(cause as Error).message}; write for example info`, { cause })
  }
}

/** Milliseconds. */
export function duration(text: string, least: string, most: string): number {
  const ms = durationMs(text)
  if (ms >= durationMs(least) && ms <= durationMs(most)) return ms
  throw new UsageError(`${JSON.stringify(text)} must lie between ${least} and ${most}`)
}

/** Quantiles of a list of percentiles. */
export function percentiles(text: string): readonly number[] {
  return text.split(',').map((each) => {
    const percentile = each.trim() === '' ? Number.NaN : Number(each)
    if (percentile > 0 && percentile < 100) return percentile / 100
    throw new UsageError(
      `${JSON.stringify(each.trim())} is no percentile over 0 and below 100; write for example 50,90,99.9`,
    )
  })
}

export function wholeNumber(text: string, highest: number = Number.MAX_SAFE_INTEGER): number {
  if (/^\d{1,15}$/.test(text) && Number(text) > 0 && Number(text) <= highest) return Number(text)
  const range = highest === Number.MAX_SAFE_INTEGER ? 'from 1 up' : `in 1..${highest}`
  throw new UsageError(`${JSON.stringify(text)} is no whole number ${range}`)
}

/** Permissions of a file, in octal. */
export function fileMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8)
  throw new UsageError(`${JSON.stringify(text)} are no permissions; write them in octal, such as 0660`)
}

/** The path of a socket. */
export function socketPath(text: string): string {
  if (text !== '' && !text.includes('\0')) return text
  throw new UsageError(`${JSON.stringify(text)} is no path; name a file that is not there yet`)
}

export function choice<const Choice extends string>(text: string, choices: readonly Choice[]): Choice {
  const found = choices.find((each) => each === text)
  if (found !== undefined) return found
  throw new UsageError(`${JSON.stringify(text)} is none of ${choices.join(', ')}`)
}

/** The name of a group of workers. */
export function group(text: string): string {
  if (/^[\w.-]{1,64}$/.test(text)) return text
  throw new UsageError(`${JSON.stringify(text)} is no name; give 1 to 64 letters, digits or any of "_.-"`)
}

export function source(text: string): string {
  if (text.length * 3 <= LIMITS.source || Buffer.byteLength(text) <= LIMITS.source) return text
  throw new UsageError(`the source is longer than ${LIMITS.source} bytes; shorten it`)
}

/** `key=value`. */
export function tag(text: string): readonly [key: string, value: string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new UsageError(`${JSON.stringify(text)} is no tag; write key=value`)
}

/** A secret: itself, or `$NAME` to take it from the environment. Messages do not repeat it. */
export function secret(text: string): string {
  return text.startsWith('$') ? fromEnvironment(text.slice(1)) : text
}

/** A gateway's or broker's URL. */
export function publishUrl(text: string): string {
  if (text.startsWith('tcp://')) return brokerUrl(text)
  if (/^https?:\/\/[^/@]+/.test(text) && URL.canParse(text)) return text
  // user and password may be in it
  throw new UsageError(
    'this is no URL of a gateway; write https://HOST or http://127.0.0.1:8080, the token with --token',
  )
}

/**
 * A CURVE key, 40 characters of Z85, from `$NAME` or a file. Never itself: what stands on a command line is for all to
 * see.
 */
export function curveKey(text: string): string {
  const name = /^\$([A-Za-z_]\w*)$/.exec(text)?.[1]
  const key =
    name === undefined
      ? readFile(text, 'give $VAR or a file that holds the key, never the key itself')
      : fromEnvironment(name)
  if (CURVE_KEY.test(key)) return key
  throw new UsageError(
    `what ${name === undefined ? 'the file' : `$${name}`} holds is no CURVE key; put 40 characters of Z85 there, as zeromq's curveKeyPair() makes them`,
  )
}

/** Who may post, from a file. */
export function tokensFile(path: string): readonly TokenSpec[] {
  return parseTokens(readFile(path, 'name a file with a line NAME=SECRET for each token'), process.env)
}

/** What a file holds, without the blanks around it. */
function readFile(path: string, wayOut: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (cause) {
    // the path is not shown: it may be a secret in the wrong place
    throw new UsageError(`the file cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'}); ${wayOut}`)
  }
}

function fromEnvironment(name: string): string {
  const value = process.env[name]
  if (value !== undefined && value !== '') return value.trim()
  throw new UsageError(`the environment variable ${name} is not set; set it`)
}
