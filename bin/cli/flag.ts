/**
 * One setting of the command line. `--max-series 9`, `ZIBRATO_MAX_SERIES=9` and `{"max-series": 9}` in the config file
 * are the same setting.
 */
export interface Flag<Value> {
  /** Without the dashes: `max-series`. */
  readonly name: string
  /** What stands for its value in the help; undefined for one that is only said or not. */
  readonly placeholder: string | undefined
  readonly help: string
  /** The default as one would write it. */
  readonly fallback: string | undefined
  readonly repeatable: boolean
  /**
   * @param texts what was given, none when it was not given and has no default
   * @throws UsageError saying what was wrong and how to write it, without naming the flag
   */
  read(texts: readonly string[]): Value
}

/** Flags by the names that code has for them. */
export type Flags<Settings> = { readonly [Name in keyof Settings]: Flag<Settings[Name]> }

type Parse<Value> = (text: string) => Value

/** A flag with a value. */
export function one<Value>(
  name: string,
  placeholder: string,
  help: string,
  parse: Parse<Value>,
  fallback: string,
): Flag<Value> {
  return { name, placeholder, help, fallback, repeatable: false, read: ([text]) => parse(text ?? fallback) }
}

/** A flag with a value that may be left out. */
export function optional<Value>(
  name: string,
  placeholder: string,
  help: string,
  parse: Parse<Value>,
): Flag<Value | undefined> {
  const read = ([text]: readonly string[]): Value | undefined => (text === undefined ? undefined : parse(text))
  return { name, placeholder, help, fallback: undefined, repeatable: false, read }
}

/** A flag that may be given several times. */
export function many<Value>(
  name: string,
  placeholder: string,
  help: string,
  parse: Parse<Value>,
  fallback?: string,
): Flag<readonly Value[]> {
  const read = (texts: readonly string[]): Value[] =>
    (texts.length === 0 && fallback !== undefined ? [fallback] : texts).map(parse)
  return { name, placeholder, help, fallback, repeatable: true, read }
}

/** A flag that is said or not. */
export function toggle(name: string, help: string): Flag<boolean> {
  return {
    name,
    placeholder: undefined,
    help,
    fallback: undefined,
    repeatable: false,
    read: ([text]) => text === 'yes',
  }
}

/** `ZIBRATO_MAX_SERIES`. */
export function variableOf(flag: Pick<Flag<unknown>, 'name'>): string {
  return `ZIBRATO_${flag.name.replaceAll('-', '_').toUpperCase()}`
}
