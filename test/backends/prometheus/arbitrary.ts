import fc from 'fast-check'
import type { Rollup } from '../../../backends/backend.ts'
import { sampleRollup } from '../../../backends/samples.ts'
import type { Type } from '../../../client/wire/series.ts'

// as a series key has it: well-formed, and neither NUL nor line breaks
const text = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 8 }),
    // few, so that they meet
    fc.constantFrom(
      'a',
      'a.b',
      'a_b',
      'a-b',
      '__',
      'x_total',
      'x_sum',
      'x_count',
      'x_seconds',
      'x',
      'le',
      '9',
      '"',
      '\\',
    ),
  )
  .map((each) => each.replace(/[\0\r\n]/g, '').toWellFormed())

/**
 * A window's worth of series, each different in type, name, source or tags, and with a number that stands nowhere else
 * in what it becomes: a million and its place.
 */
export const markedRollups: fc.Arbitrary<Rollup[]> = fc
  .uniqueArray(
    fc.record({
      type: fc.constantFrom<Type>('counter', 'meter', 'gauge', 'timer', 'histogram', 'set'),
      name: text.map((each) => each || 'name'),
      source: fc.oneof(fc.constantFrom('not_specified', 'web', ''), text),
      tags: fc
        .dictionary(
          text.filter((each) => each !== ''),
          text,
          { maxKeys: 4 },
        )
        .map(sorted),
    }),
    { selector: (series) => JSON.stringify(Object.values(series)), maxLength: 20 },
  )
  .map((all) =>
    all.map((series, index) => {
      const mark = 1_000_000 + index
      const rollup = sampleRollup(series, [mark])
      if (rollup.type === 'counter') return { ...rollup, total: mark }
      return rollup.type === 'set' ? { ...rollup, value: mark } : rollup
    }),
  )

function sorted(tags: Readonly<Record<string, string>>): Record<string, string> {
  const all = Object.entries(tags).sort(([left], [right]) => (left < right ? -1 : 1))
  return Object.fromEntries(all)
}
