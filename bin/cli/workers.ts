import { type GroupReport, type ShardReport, inspectGroup } from '../../backends/state/redis/inspect.ts'
import type { Column } from '../../backends/table.ts'
import type { Invocation } from './command.ts'
import { committedOf, outboxOf, outboxText, printTable, rangesText, spanText, withRedis } from './redis.ts'

export interface WorkersSettings {
  readonly state: string
  readonly group: string
  readonly json: boolean
}

const COLUMNS: readonly Column[] = [
  { title: 'WORKER', align: 'left', importance: Infinity },
  { title: 'HOST', align: 'left', importance: 1 },
  { title: 'PID', align: 'right', importance: 2 },
  { title: 'SINCE', align: 'right', importance: 4 },
  { title: 'HEARD', align: 'right', importance: 6 },
  { title: 'LAG', align: 'right', importance: 7 },
  { title: 'OUTBOX', align: 'right', importance: 8 },
  { title: 'COMMITTED', align: 'right', importance: 5 },
  { title: 'SHARDS', align: 'left', importance: Infinity },
]

/** `zibrato workers`. */
export async function run({ settings }: Pick<Invocation<WorkersSettings>, 'settings'>): Promise<number> {
  const { state, group, json } = settings
  const report = await withRedis(state, (connection, prefix) => inspectGroup(connection, prefix, group))
  if (json) process.stdout.write(`${JSON.stringify(workersJson(report))}\n`)
  else await printTable(COLUMNS, workersRows(report))
  return 0
}

/** A line for each worker, and one for the shards that nobody has. */
export function workersRows({ workers, shards, nowMs }: GroupReport): string[][] {
  const rows = workers.map(({ id, host, pid, startedMs, heardMs }) => [
    id,
    host,
    String(pid),
    spanText(Math.max(0, nowMs - startedMs)),
    spanText(heardMs),
    ...figuresOf(shards, id, nowMs),
  ])
  // those of a worker that is gone, until its lease is over, among them
  const known = new Set(workers.map(({ id }) => id))
  const rest = [...new Set(shards.map(({ owner }) => owner))].filter(
    (owner) => owner === undefined || !known.has(owner),
  )
  for (const owner of rest) rows.push([owner ?? 'nobody', '', '', '', '', ...figuresOf(shards, owner, nowMs)])
  return rows
}

function figuresOf(all: readonly ShardReport[], owner: string | undefined, nowMs: number): string[] {
  const shards = all.filter((shard) => shard.owner === owner)
  const lag = lagOf(shards)
  const committed = committedOf(shards)
  const numbers = shards.map(({ shard }) => shard)
  return [
    lag === undefined ? '' : spanText(lag),
    shards.length === 0 ? '' : outboxText(outboxOf(shards)),
    committed === undefined ? '' : `${spanText(Math.max(0, nowMs - committed))} ago`,
    numbers.length === 0 ? 'none' : `${numbers.length}: ${rangesText(numbers)}`,
  ]
}

function lagOf(shards: readonly ShardReport[]): number | undefined {
  const lags = shards.flatMap(({ lagMs }) => lagMs ?? [])
  return lags.length === 0 ? undefined : Math.max(...lags)
}

/** The same for other programs; times in seconds since the epoch, spans in seconds. */
export function workersJson({ group, nowMs, workers, shards }: GroupReport): object {
  return {
    group,
    time: nowMs / 1000,
    workers: workers.map(({ id, host, pid, startedMs, heardMs }) => {
      const own = shards.filter(({ owner }) => owner === id)
      return {
        id,
        host,
        pid,
        since: startedMs / 1000,
        heard: heardMs / 1000,
        shards: own.map(({ shard }) => shard),
        lag: seconds(lagOf(own)),
        outbox: outboxOf(own),
        committed: seconds(committedOf(own)),
      }
    }),
    shards: shards.map(({ shard, owner, epoch, lagMs, outbox, committedMs }) => ({
      shard,
      owner: owner ?? null,
      epoch,
      lag: seconds(lagMs),
      outbox,
      committed: seconds(committedMs),
    })),
  }
}

function seconds(ms: number | undefined): number | null {
  return ms === undefined ? null : ms / 1000
}
