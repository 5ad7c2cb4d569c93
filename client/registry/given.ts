import { UsageError } from '../errors.ts'
import { DEFAULT_SOURCE, type Tags, checkLevel, seriesKey } from '../wire/series.ts'
import { Defaults } from './defaults.ts'

/**
 * The defaults that options give, or else the environment.
 *
 * @throws UsageError for a level, source or tags that no series may have; `component` is who says so
 */
export function givenDefaults(
  component: string,
  options: {
    readonly level?: string | undefined
    readonly source?: string | undefined
    readonly tags?: Tags | undefined
  },
  env: (name: string) => string | undefined,
): Defaults {
  const defaults = new Defaults(
    options.level ?? env('ZIBRATO_LEVEL') ?? 'info',
    options.source ?? env('ZIBRATO_SOURCE') ?? DEFAULT_SOURCE,
    options.tags ?? {},
  )
  try {
    checkLevel(defaults.level)
    seriesKey('name', defaults.source, defaults.tags)
  } catch (cause) {
    throw new UsageError(`${component}: ${(cause as Error).message}`, { cause })
  }
  return defaults
}
