import { UsageError } from '../errors.ts'
import type { Platform } from '../options.ts'
import { Recorder } from '../registry/recorder.ts'

/** What a client takes of a registry that it publishes, where programs live long enough to have one. */
export const withRegistry: Pick<Platform, 'recorder' | 'defaults'> = {
  recorder: (registry, options) => registry?.publishTo(options) ?? new Recorder(options),
  defaults({ registry, ...options }) {
    if (registry === undefined) return undefined
    for (const name of ['level', 'source', 'tags', 'maxSeries', 'clock'] as const) {
      if (options[name] !== undefined) {
        throw new UsageError(`Zibrato: ${name} belongs to the registry; give it to new Registry({ ${name} }) instead`)
      }
    }
    return registry.defaults
  },
}
