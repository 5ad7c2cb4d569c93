import { readFileSync } from 'node:fs'
import { UsageError } from '../../client/errors.ts'
import { type Invocation, ORIGINS, type Origin } from './command.ts'
import { type Flag, type Flags, variableOf } from './flag.ts'

/** Settings as they stand in the config file. */
export type Config = Readonly<Record<string, unknown>>

/** What the flags of a command were given, by name, on the command line. */
export type Given = Readonly<Record<string, string | readonly string[] | true | undefined>>

type Env = Readonly<Record<string, string | undefined>>

interface Found {
  readonly origin: Origin
  /** As a message names it. */
  readonly place: string
  readonly texts: readonly string[]
}

/**
 * A config file: one JSON object with the names of flags.
 *
 * @param known all names that any command has: one file may serve them all
 * @throws UsageError naming the file and what is wrong in it, but no value
 */
export function readConfig(path: string, known: ReadonlySet<string>): Config {
  let config: unknown
  try {
    config = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    // JSON.parse would quote what may be a secret
    const problem = code === undefined ? 'is no JSON' : `cannot be read (${code})`
    throw new UsageError(`--config: ${path} ${problem}; name a file that holds for example {"flush": "10s"}`)
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new UsageError(`--config: ${path} holds no JSON object; write for example {"flush": "10s"}`)
  }
  for (const name of Object.keys(config)) {
    if (known.has(name)) continue
    throw new UsageError(
      `--config: ${path} has a name ${JSON.stringify(name)} that is no flag; remove it or see --help`,
    )
  }
  return config as Config
}

/**
 * Settings of a command: what a flag says, else the environment, else the config file, else the default.
 *
 * @throws UsageError naming the place of a value that makes no sense, and the way out
 */
export function settle<Settings>(
  flags: Flags<Settings>,
  sources: { readonly given: Given; readonly env: Env; readonly config: Config },
): Omit<Invocation<Settings>, 'args'> {
  const settings: Record<string, unknown> = {}
  const origins: Record<string, Origin> = {}
  for (const [key, flag] of Object.entries<Flag<unknown>>(flags)) {
    const { origin, place, texts } = find(flag, sources)
    origins[key] = origin
    try {
      settings[key] = flag.read(texts)
    } catch (cause) {
      if (!(cause instanceof UsageError)) throw cause
      throw new UsageError(`${place}: ${cause.message}`, { cause })
    }
  }
  return { settings: settings as Settings, origins: origins as Record<keyof Settings, Origin> }
}

function find(
  flag: Flag<unknown>,
  { given, env, config }: { readonly given: Given; readonly env: Env; readonly config: Config },
): Found {
  const [onLine, inEnvironment, inFile, byDefault] = ORIGINS
  const said = given[flag.name]
  if (said !== undefined) {
    const texts = said === true ? ['yes'] : typeof said === 'string' ? [said] : said
    return { origin: onLine, place: `--${flag.name}`, texts }
  }
  const variable = variableOf(flag)
  const text = env[variable]
  if (text !== undefined && text.trim() !== '') {
    return { origin: inEnvironment, place: variable, texts: split(flag, text, variable) }
  }
  if (Object.hasOwn(config, flag.name)) {
    const place = `--config: ${JSON.stringify(flag.name)}`
    return { origin: inFile, place, texts: textsOf(flag, config[flag.name], place) }
  }
  return { origin: byDefault, place: `--${flag.name}`, texts: [] }
}

function split(flag: Flag<unknown>, text: string, variable: string): string[] {
  if (flag.placeholder === undefined) return [yesOrNo(text.trim(), variable)]
  return flag.repeatable ? text.trim().split(/\s+/) : [text]
}

function textsOf(flag: Flag<unknown>, value: unknown, place: string): string[] {
  if (flag.placeholder === undefined) return [yesOrNo(String(value), place)]
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0 || !list.every((item) => typeof item === 'string' || typeof item === 'number')) {
    throw new UsageError(
      `${place}: is neither a text nor a number${flag.repeatable ? ', nor a list of them' : ''}; write it as for --${flag.name}`,
    )
  }
  return flag.repeatable ? list.map(String) : [list.join(',')]
}

function yesOrNo(text: string, place: string): 'yes' | 'no' {
  if (/^(yes|true|on|1)$/i.test(text)) return 'yes'
  if (/^(no|false|off|0)$/i.test(text)) return 'no'
  throw new UsageError(`${place}: ${JSON.stringify(text)} is neither yes nor no; write one of them`)
}
