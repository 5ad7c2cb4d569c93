import type { Figure } from '../figures.ts'
import type { JournalStats } from './journal.ts'

/** What whoever writes the journal says of it. @param part `gateway` or `broker` */
export function journalFigures(part: string, stats: JournalStats): Figure[] {
  const { memory, holdings } = stats
  const figure = (name: string, type: Figure['type'], help: string, value: number): Figure => ({
    name: `zibrato_${part}_journal_${name}`,
    type,
    help,
    value,
  })
  return [
    figure('writes_total', 'counter', 'Times that something was written to the journal.', stats.appended),
    figure('failures_total', 'counter', 'Times that something was not.', stats.failed),
    figure('entries_total', 'counter', 'Entries written.', stats.entries),
    figure('bytes_total', 'counter', 'Bytes of those.', stats.bytes),
    figure('waiting_bytes', 'gauge', 'Bytes not written yet.', stats.waitingBytes),
    figure('up', 'gauge', 'Whether the journal takes what comes.', stats.obstacle === undefined ? 1 : 0),
    figure('memory_used_bytes', 'gauge', 'Memory that its fullest Redis uses.', memory.usedBytes),
    figure('memory_max_bytes', 'gauge', 'Memory that it may use; 0 is no bound.', memory.maxBytes),
    ...(holdings === undefined
      ? []
      : [
          figure('kept_entries', 'gauge', 'Entries kept, a minute ago at the most.', holdings.entries),
          figure('kept_bytes', 'gauge', 'About how many bytes they take.', holdings.bytes),
          {
            ...figure('held_entries', 'gauge', 'Entries kept because of a group.', 0),
            value: Object.fromEntries(holdings.groups.map(({ group, entries }) => [group, entries])),
            label: 'group',
          },
        ]),
  ]
}
