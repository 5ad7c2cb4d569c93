import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { UsageError } from '../client/errors.ts'
import { type Param, Params } from './params.ts'

/** What happens to a window of which a crash hid whether the backend had taken it. */
export type InDoubt = 'drop' | 'resend'

export type Env = Readonly<Record<string, string | undefined>>

const REFERENCE = /\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))/g
const SECRET = /token|secret|passw|key|auth|credential|header/i
const COMMON = ['in-doubt', 'timeout', 'known-as'] as const

interface Parts {
  readonly url: string
  readonly scheme: string
  readonly host: string
  readonly port: number | undefined
  readonly path: string
  readonly user: string | undefined
  readonly password: string | undefined
  readonly key: string
  readonly label: string
  readonly secrets: readonly string[]
  readonly params: Params
  readonly common: Params
}

/**
 * A backend's URL, taken apart, with every `$NAME` replaced. Printing, inspecting or serialising it shows the label.
 *
 * ```
 * scheme://user:password@host:port/path?option=value&option=value
 * scheme:path?option=value
 * ```
 */
export class BackendUrl {
  /** Lower case: `file`, `otlp+http`. */
  readonly scheme: string
  /** Without the brackets of IPv6; empty when the URL has no `//`. */
  readonly host: string
  readonly port: number | undefined
  /** What follows host and port, with its slash; or all that follows the scheme when there is no `//`. */
  readonly path: string
  /** The backend's own options; those common to all backends are taken out. */
  readonly params: Params
  /**
   * By what state remembers the backend: without secrets, the same after a new token or another order of options, another
   * for another target. It holds what the environment gave for the host, `$NAME` itself elsewhere, and a hash of the user.
   * `known-as=NAME` sets it.
   */
  readonly key: string
  /** For logs and messages; without secrets. */
  readonly label: string
  /** The option `in-doubt`. */
  readonly inDoubt: InDoubt | undefined
  /** The option `timeout`: how long one `flush` may take. */
  readonly timeoutMs: number | undefined
  // private so that nothing that prints an object prints them
  readonly #url: string
  readonly #user: string | undefined
  readonly #password: string | undefined
  readonly #secrets: readonly string[]

  constructor(parts: Parts) {
    this.scheme = parts.scheme
    this.host = parts.host
    this.port = parts.port
    this.path = parts.path
    this.params = parts.params
    this.inDoubt = parts.common.choice('in-doubt', ['drop', 'resend'])
    this.timeoutMs = parts.common.durationMs('timeout')
    const name = parts.common.text('known-as')
    if (name === '') throw new UsageError(`${parts.label}: the option known-as is empty; give it a name`)
    this.key = name === undefined ? parts.key : `${parts.scheme}#${name}`
    this.label = name === undefined ? parts.label : this.key
    this.#url = parts.url
    this.#user = parts.user
    this.#password = parts.password
    this.#secrets = parts.secrets
    Object.defineProperty(this, inspect.custom, { value: () => `BackendUrl(${this.label})` })
  }

  /** The text it was parsed from. It may hold secrets: never show it. */
  get url(): string {
    return this.#url
  }

  /** Undefined when there is none. May be a token: never show it. */
  get user(): string | undefined {
    return this.#user
  }

  get password(): string | undefined {
    return this.#password
  }

  /** A text, such as another library's error message, with every secret of this URL in it replaced by `***`. */
  redact(text: string): string {
    return this.#secrets.reduce((clean, secret) => clean.replaceAll(secret, '***'), text)
  }

  toString(): string {
    return this.label
  }

  toJSON(): string {
    return this.label
  }
}

/**
 * Takes a backend's URL apart. In user, password, host, port, path and the options' values `%41` is a character, and
 * `$NAME` or `${NAME}` takes what the environment holds, whatever characters that has; `%24` is a dollar sign before a
 * letter. `+` and `#` stand for themselves.
 *
 * @throws UsageError for what is no such URL and for a variable that is not set
 */
export function parseBackendUrl(url: string, env: Env = process.env): BackendUrl {
  const match = /^([a-z][a-z0-9+.-]+):(?:\/\/([^/?]*))?([^?]*)(?:\?(.*))?$/is.exec(url)
  if (match === null) throw noScheme(url)
  const scheme = (match[1] as string).toLowerCase()
  const reader = new PartReader(scheme, env)
  const rawPath = match[3] as string
  const { host, port, user, password } = readAuthority(match[2], rawPath, reader)
  const path = reader.read(rawPath, 'path', 'if-referenced')
  const options = (match[4] ?? '').split('&').filter((option) => option !== '')
  const given = options.map((option) => readParam(option, reader))
  const isCommon = ({ name }: Param): boolean => (COMMON as readonly string[]).includes(name)
  const own = given.filter((param) => !isCommon(param))
  const label = labelOf(scheme, host, port, rawPath, own)
  return new BackendUrl({
    url,
    scheme,
    host,
    port,
    path,
    user,
    password,
    label,
    // without a password the user may well be a token, which changes
    key: user && password ? `${label}#${createHash('sha256').update(user).digest('hex').slice(0, 8)}` : label,
    // the longest first, so that none is left in part because it holds another
    secrets: [...reader.secrets].sort((left, right) => right.length - left.length),
    params: new Params(label, own),
    common: new Params(label, given.filter(isCommon)),
  })
}

/** Decodes parts, takes references from the environment, and remembers what must not be shown. */
class PartReader {
  readonly secrets = new Set<string>()
  readonly #scheme: string
  readonly #env: Env

  constructor(scheme: string, env: Env) {
    this.#scheme = scheme
    this.#env = env
  }

  read(raw: string, what: string, secret: 'never' | 'if-referenced' | 'always'): string {
    let value = ''
    let end = 0
    for (const match of raw.matchAll(REFERENCE)) {
      const found = this.#lookUp((match[1] ?? match[2]) as string)
      // a service that complains about `name=$KEY` shows the key alone
      if (secret !== 'never') this.#hide(found)
      value += this.#decode(raw.slice(end, match.index), what) + found
      end = match.index + match[0].length
    }
    value += this.#decode(raw.slice(end), what)
    if (secret === 'always' || (secret === 'if-referenced' && end > 0)) this.#hide(value)
    return value
  }

  fail(problem: string, options?: ErrorOptions): UsageError {
    return new UsageError(`backend URL ${this.#scheme}: ${problem}`, options)
  }

  #hide(secret: string): void {
    // a shorter one would also hit words that have nothing to do with it
    if (secret.length >= 4) this.secrets.add(secret)
  }

  #decode(raw: string, what: string): string {
    try {
      return decodeURIComponent(raw)
    } catch {
      throw this.fail(`the ${what} holds a "%" that starts no character; write %25 for a percent sign`)
    }
  }

  #lookUp(name: string): string {
    const value = this.#env[name]
    if (value !== undefined && value !== '') return value
    throw this.fail(`the environment variable ${name} is not set; set it, or write %24 for a dollar sign`)
  }
}

function readAuthority(
  raw: string | undefined,
  rawPath: string,
  reader: PartReader,
): { host: string; port: number | undefined; user: string | undefined; password: string | undefined } {
  if (raw === undefined) return { host: '', port: undefined, user: undefined, password: undefined }
  const at = raw.lastIndexOf('@')
  // half a password would pass for host and port
  if (at < 0 && rawPath.includes('@')) {
    throw reader.fail('there is an "@" behind a "/"; in user and password write %2F for "/", in a path %40 for "@"')
  }
  const [, rawUser, rawPassword] = /^([^:]*)(?::(.*))?$/s.exec(raw.slice(0, Math.max(at, 0))) ?? []
  const place = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.+))?$/s.exec(raw.slice(at + 1))
  // no value is named here: it may be part of a password
  if (place === null) throw reader.fail('host and port make no sense; write host:port or [IPv6 address]:port')
  const port = place[3] === undefined ? undefined : reader.read(place[3], 'port', 'never')
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) <= 65_535)) {
    throw reader.fail('the port is no number up to 65535; in user and password write %3A for ":" and %2F for "/"')
  }
  const text = (part: string | undefined, what: string): string | undefined =>
    part === undefined || part === '' ? undefined : reader.read(part, what, 'always')
  return {
    host: reader.read(place[1] ?? place[2] ?? '', 'host', 'never').toLowerCase(),
    port: port === undefined ? undefined : Number(port),
    user: text(rawUser, 'user'),
    password: text(rawPassword, 'password'),
  }
}

function readParam(option: string, reader: PartReader): Param {
  const [, rawName, rawValue = ''] = /^([^=]*)=?(.*)$/s.exec(option) as unknown as [string, string, string?]
  const name = reader.read(rawName, 'name of an option', 'never')
  if (name === '') throw reader.fail('an option behind the "?" has no name; write ?name=value')
  const secret = SECRET.test(name)
  const value = reader.read(rawValue, `option ${name}`, secret ? 'always' : 'if-referenced')
  return { name, value, shown: secret ? '***' : rawValue }
}

/** What identifies the target and may be shown. */
function labelOf(
  scheme: string,
  host: string,
  port: number | undefined,
  rawPath: string,
  own: readonly Param[],
): string {
  const address = (host.includes(':') ? `[${host}]` : host) + (port === undefined ? '' : `:${port}`)
  const options = own
    .filter(({ name }) => !SECRET.test(name))
    .map(({ name, shown }) => `${name}=${shown}`)
    .sort()
  return `${scheme}:${address === '' ? '' : `//${address}`}${rawPath}${options.length === 0 ? '' : `?${options.join('&')}`}`
}

function noScheme(url: string): UsageError {
  // a text with these may hold a password
  const shown = /[@?]/.test(url) ? 'a backend URL' : `backend URL ${JSON.stringify(url)}`
  return new UsageError(
    `${shown} names no backend; write for example console:, file:metrics.jsonl or statsd://host:8125`,
  )
}
