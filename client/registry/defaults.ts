import type { Instrument } from '../instruments/instrument.ts'
import type { Path } from '../instruments/path.ts'
import { DEFAULT_SOURCE, type Tags } from '../wire/series.ts'

/** What a measurement carries when it does not say. */
export interface Defaults {
  readonly level: string
  readonly source: string
  readonly tags: Tags
  /** Handles of one-shot measurements with these defaults: by type, name, level, source and tags. */
  shots?: Path<Instrument> | undefined
  /** @internal How often the recorder had forgotten handles when a shot was last noted. */
  forgets?: number
}

/** What may say otherwise. */
export interface Given {
  readonly level?: string | undefined
  readonly source?: string | undefined
  readonly tags?: Tags | undefined
}

const PLAIN: Defaults = { level: 'info', source: DEFAULT_SOURCE, tags: {} }

/** Defaults of their own: what is given, and for the rest those that there are; tags are added to theirs. */
export function withDefaults({ level, source, tags }: Given, defaults: Defaults = PLAIN): Defaults {
  return {
    level: level ?? defaults.level,
    source: source ?? defaults.source,
    tags: { ...defaults.tags, ...tags },
  }
}
