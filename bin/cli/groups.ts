import type { Connection } from '../../backends/state/redis/connection.ts'
import { type GroupReport, forgetGroup, inspectGroup, listGroups } from '../../backends/state/redis/inspect.ts'
import type { Column } from '../../backends/table.ts'
import { UsageError } from '../../client/errors.ts'
import { forgetJournalGroup } from '../../gateway/journal/groups.ts'
import type { Invocation } from './command.ts'
import { committedOf, outboxOf, outboxText, printTable, spanText, withRedis } from './redis.ts'
import { group as checkGroup } from './values.ts'

export interface GroupsSettings {
  readonly state: string
  readonly json: boolean
  readonly force: boolean
}

const COLUMNS: readonly Column[] = [
  { title: 'GROUP', align: 'left', importance: Infinity },
  { title: 'WORKERS', align: 'right', importance: 3 },
  { title: 'SHARDS', align: 'right', importance: 2 },
  { title: 'COMMITTED', align: 'right', importance: 4 },
  { title: 'OUTBOX', align: 'right', importance: 5 },
  { title: 'SETTINGS', align: 'left', importance: 1 },
]

/** `zibrato groups`. */
export async function run({ settings, args }: Pick<Invocation<GroupsSettings>, 'settings' | 'args'>): Promise<number> {
  const { state, json, force } = settings
  const [action, name, ...rest] = args
  if (action === undefined) return withRedis(state, (connection, prefix) => list(connection, prefix, json))
  if (action !== 'forget' || name === undefined || rest.length > 0) {
    throw new UsageError('groups: takes nothing, or "forget NAME"; see zibrato groups --help')
  }
  checkGroup(name)
  return withRedis(state, (connection, prefix) => forget(connection, prefix, name, force))
}

async function list(connection: Connection, prefix: string, json: boolean): Promise<number> {
  const names = await listGroups(connection, prefix)
  const reports = await Promise.all(names.map((name) => inspectGroup(connection, prefix, name)))
  if (json) for (const report of reports) process.stdout.write(`${JSON.stringify(groupJson(report))}\n`)
  else if (reports.length === 0) process.stderr.write('zibrato: groups: there is none yet\n')
  else await printTable(COLUMNS, reports.map(groupRow))
  return 0
}

async function forget(connection: Connection, prefix: string, name: string, force: boolean): Promise<number> {
  const { workers, shards, settings } = await inspectGroup(connection, prefix, name)
  const known = (await listGroups(connection, prefix)).includes(name)
  const { windows } = outboxOf(shards)
  if (!known && workers.length === 0 && Object.keys(settings).length === 0 && committedOf(shards) === undefined) {
    throw new UsageError(`groups: there is no group ${name}; see zibrato groups`)
  }
  if (workers.length > 0 && !force) {
    throw new UsageError(
      `groups: ${workers.length} of ${name}'s workers live, the first is ${workers[0]?.id}; stop them, or say --force`,
    )
  }
  await forgetGroup(connection, prefix, name)
  // what the journal kept for it alone is trimmed
  await forgetJournalGroup(connection, name, prefix)
  const lost = windows === 0 ? '' : `, and with it ${windows} windows that backends had not taken`
  process.stdout.write(`${name} is forgotten${lost}\n`)
  return 0
}

export function groupRow({ group, workers, shards, settings, nowMs }: GroupReport): string[] {
  const committed = committedOf(shards)
  return [
    group,
    String(workers.length),
    String(shards.filter(({ committedMs }) => committedMs !== undefined).length),
    committed === undefined ? 'never' : `${spanText(Math.max(0, nowMs - committed))} ago`,
    outboxText(outboxOf(shards)),
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
  ]
}

/** The same for other programs; times in seconds since the epoch. */
export function groupJson({ group, workers, shards, settings }: GroupReport): object {
  const committed = committedOf(shards)
  return {
    group,
    settings,
    workers: workers.map(({ id }) => id),
    shards: shards.filter(({ committedMs }) => committedMs !== undefined).length,
    committed: committed === undefined ? null : committed / 1000,
    outbox: outboxOf(shards),
  }
}
