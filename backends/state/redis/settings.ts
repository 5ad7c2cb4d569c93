import { UsageError } from '../../../client/errors.ts'

type Values = Readonly<Record<string, string>>

/** What the workers of a group have to agree on, as it is kept in Redis: JSON, names in order. */
export class GroupSettings {
  readonly text: string
  readonly #group: string
  readonly #own: Values

  constructor(group: string, own: Values) {
    this.#group = group
    this.#own = own
    this.text = encode(own)
  }

  /**
   * What the group's settings are once this worker, too, has its part in them.
   *
   * @param held what others that live have recorded
   * @throws UsageError that names both values of the first setting that differs
   */
  joined(held: string): string {
    const others = readSettings(held)
    for (const [name, own] of Object.entries(this.#own)) {
      const other = others[name]
      if (other === undefined || other === own) continue
      throw new UsageError(
        `group ${this.#group}: workers that are running have ${name} ${other}, this one ${own}; give it the same, ` +
          'choose another --group, or stop the others first (one that was killed counts until its lease is over)',
      )
    }
    return encode({ ...others, ...this.#own })
  }
}

/** Settings as they are kept; none when they cannot be read. */
export function readSettings(text: string): Values {
  try {
    return JSON.parse(text) as Values
  } catch {
    return {}
  }
}

function encode(values: Values): string {
  return JSON.stringify(Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1))))
}
