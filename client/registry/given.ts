import { UsageError } from '../errors.ts'
import { checkLevel, seriesKey } from '../wire/series.ts'
import { type Defaults, type Given, withDefaults } from './defaults.ts'

/**
 * The defaults that options give, or else the environment.
 *
 * @throws UsageError for a level, source or tags that no series may have; `component` is who says so
 */
export function givenDefaults(
  component: string,
  { level, source, tags }: Given,
  env: (name: string) => string | undefined,
): Defaults {
  const defaults = withDefaults({
    level: level ?? env('ZIBRATO_LEVEL'),
    source: source ?? env('ZIBRATO_SOURCE'),
    tags,
  })
  try {
    checkLevel(defaults.level)
    seriesKey('name', defaults.source, defaults.tags)
  } catch (cause) {
    throw new UsageError(`${component}: ${(cause as Error).message}`, { cause })
  }
  return defaults
}
