import { UsageError } from '../client/errors.ts'
import { checkLevel } from '../client/wire/series.ts'
import { utf8 } from '../client/wire/bytes.ts'

/** A token as an operator writes it. */
export interface TokenSpec {
  readonly name: string
  readonly secret: string
  /** Levels it may be used for; default all. */
  readonly levels?: readonly string[] | undefined
}

/** Who is posting. */
export interface Token {
  readonly name: string
  /** undefined: all. */
  readonly levels: ReadonlySet<string> | undefined
}

/** Header values remembered as valid: as many spellings of `Bearer` as anyone should need. */
const REMEMBERED = 1_000

/** The tokens of a listener. Comparing takes the same time whatever is wrong; no error or log names a secret. */
export class Tokens {
  readonly size: number
  readonly #specs: readonly TokenSpec[]
  // Not their promise: on Workers no request may wait for another one's.
  #digests: readonly Uint8Array[] | undefined
  // Only valid headers are remembered, so that strangers can neither fill this nor learn from how long it takes.
  readonly #valid = new Map<string, Token>()

  /** @throws UsageError for a name or secret that is none, or given twice */
  constructor(specs: readonly TokenSpec[]) {
    for (const [index, { name, secret, levels }] of specs.entries()) {
      if (!/^[\w.-]{1,64}$/.test(name)) {
        throw new UsageError(
          `token ${index + 1}: its name must be 1 to 64 letters, digits or any of "_.-"; write NAME=SECRET`,
        )
      }
      if (typeof secret !== 'string' || !/^[!-~]{1,1024}$/.test(secret)) {
        throw new UsageError(`token ${name}: its secret must be 1 to 1024 visible ASCII characters; write NAME=SECRET`)
      }
      checkLevels(name, levels ?? [])
      for (const other of specs.slice(0, index)) {
        if (other.name === name) throw new UsageError(`token ${name}: is given twice; give each token its own name`)
        if (other.secret === secret)
          throw new UsageError(`tokens ${other.name} and ${name}: have the same secret; make another`)
      }
    }
    this.size = specs.length
    this.#specs = specs
  }

  /** The token of an `Authorization` header that was valid before; the quick way. */
  known(header: string | undefined): Token | undefined {
    return header === undefined ? undefined : this.#valid.get(header)
  }

  /** The token of an `Authorization: Bearer SECRET` header, or undefined. */
  async find(header: string | undefined): Promise<Token | undefined> {
    if (header === undefined || header.length > 2_048 || header.slice(0, 7).toLowerCase() !== 'bearer ')
      return undefined
    const digest = await sha256(header.slice(7).trim())
    const digests = this.#digests ?? (await Promise.all(this.#specs.map(({ secret }) => sha256(secret))))
    this.#digests = digests
    let found = -1
    // every token is looked at to its end, whichever matches
    for (const [index, expected] of digests.entries()) {
      let difference = 0
      for (let at = 0; at < expected.length; at++) difference |= (expected[at] as number) ^ (digest[at] as number)
      if (difference === 0) found = index
    }
    const spec = this.#specs[found]
    if (spec === undefined) return undefined
    const token = { name: spec.name, levels: spec.levels === undefined ? undefined : new Set(spec.levels) }
    if (this.#valid.size < REMEMBERED) this.#valid.set(header, token)
    return token
  }
}

/**
 * `NAME=SECRET`, or `NAME=$VARIABLE` to take the secret from the environment.
 *
 * @throws UsageError which does not repeat the text, as it may hold the secret
 */
export function parseToken(text: string, env: Readonly<Record<string, string | undefined>> = {}): TokenSpec {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError('a token has no name; write NAME=SECRET or NAME=$VARIABLE')
  const name = text.slice(0, at).trim()
  return { name, secret: fromEnvironment(name, text.slice(at + 1).trim(), env) }
}

/**
 * A tokens file: `{"name": {"secret": "...", "levels": ["info"]}}` (or `{"name": "secret"}`), or a line `NAME=SECRET` for
 * each token, where `#` starts a comment.
 *
 * @throws UsageError naming the entry or line, never what is in it
 */
export function parseTokens(text: string, env: Readonly<Record<string, string | undefined>> = {}): TokenSpec[] {
  if (text.trimStart().startsWith('{')) return parseJson(text, env)
  const specs: TokenSpec[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#')) continue
    try {
      specs.push(parseToken(line, env))
    } catch (error) {
      throw new UsageError(`tokens file, line ${index + 1}: ${(error as Error).message}`)
    }
  }
  return specs
}

function parseJson(text: string, env: Readonly<Record<string, string | undefined>>): TokenSpec[] {
  let entries: [string, unknown][]
  try {
    entries = Object.entries(JSON.parse(text) as object)
  } catch {
    // without its cause: JSON.parse quotes what it could not read
    throw new UsageError('tokens file: starts like JSON but is none; write {"name": {"secret": "..."}}')
  }
  return entries.map(([name, entry]) => {
    const { secret, levels } = (typeof entry === 'string' ? { secret: entry } : (entry ?? {})) as Record<
      string,
      unknown
    >
    if (typeof secret !== 'string')
      throw new UsageError(`tokens file: token ${name} has no secret; write {"secret": "..."}`)
    if (levels !== undefined && !isTexts(levels)) {
      throw new UsageError(`tokens file: the levels of token ${name} are no list of texts; write {"levels": ["info"]}`)
    }
    return { name, secret: fromEnvironment(name, secret, env), levels }
  })
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string')
}

function checkLevels(name: string, levels: readonly string[]): void {
  try {
    for (const level of levels) checkLevel(level)
  } catch (cause) {
    throw new UsageError(`token ${name}: ${(cause as Error).message}`, { cause })
  }
}

function fromEnvironment(name: string, secret: string, env: Readonly<Record<string, string | undefined>>): string {
  if (!secret.startsWith('$')) return secret
  const value = env[secret.slice(1)]
  if (value === undefined || value === '') {
    throw new UsageError(`token ${name}: the environment variable that holds its secret is not set; set it`)
  }
  return value
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(text) as Uint8Array<ArrayBuffer>))
}
