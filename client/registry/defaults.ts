import type { Instrument } from '../instruments/instrument.ts'
import { Path } from '../instruments/path.ts'
import type { Tags } from '../wire/series.ts'

/** What a measurement carries when it does not say. */
export class Defaults {
  readonly level: string
  readonly source: string
  readonly tags: Tags
  /** Handles of one-shot measurements with these defaults: by type, name, level, source and tags. */
  declare shots?: Path<Instrument> | undefined
  /** @internal How often the recorder had forgotten handles when a shot was last noted. */
  declare forgets?: number

  constructor(level: string, source: string, tags: Tags) {
    this.level = level
    this.source = source
    this.tags = tags
  }

  /** These, but for what is given; tags are added. */
  with({
    level,
    source,
    tags,
  }: {
    level?: string | undefined
    source?: string | undefined
    tags?: Tags | undefined
  }): Defaults {
    return new Defaults(level ?? this.level, source ?? this.source, { ...this.tags, ...tags })
  }
}
