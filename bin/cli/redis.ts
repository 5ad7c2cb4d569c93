import { stdout } from 'node:process'
import { connectRedis } from '../../backends/state/redis/connect.ts'
import type { Connection } from '../../backends/state/redis/connection.ts'
import type { ShardReport } from '../../backends/state/redis/inspect.ts'
import { parseRedisUrl } from '../../backends/state/redis/url.ts'
import { type Column, layOut } from '../../backends/table.ts'
import { UsageError } from '../../client/errors.ts'

const CONNECT_MS = 5_000

/**
 * Does something with the Redis that `--state` names, and lets go of it.
 *
 * @throws UsageError for a state that is not Redis
 */
export async function withRedis<Result>(
  state: string,
  work: (connection: Connection, prefix: string) => Promise<Result>,
): Promise<Result> {
  if (!/^redis(s|\+\w+)?:/i.test(state)) {
    throw new UsageError('--state: only workers on Redis can be looked at from outside; give redis://HOST')
  }
  const url = parseRedisUrl(state)
  const connection = await connectRedis(url)
  try {
    await connection.ready(CONNECT_MS)
    return await work(connection, url.prefix)
  } finally {
    connection.close()
  }
}

/** Prints a table as wide as the terminal; all of it where nobody looks. */
export async function printTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  output: Pick<NodeJS.WriteStream, 'columns' | 'write'> = stdout,
): Promise<void> {
  const lines = await layOut(columns, rows, output.columns ?? Number.POSITIVE_INFINITY)
  output.write(lines.map((line) => `${line}\n`).join(''))
}

/** Windows of some shards that wait for backends. */
export function outboxOf(shards: readonly ShardReport[]): { windows: number; bytes: number } {
  const sum = { windows: 0, bytes: 0 }
  for (const { outbox } of shards) {
    sum.windows += outbox.windows
    sum.bytes += outbox.bytes
  }
  return sum
}

/** The latest that any of some shards was committed, ms. */
export function committedOf(shards: readonly ShardReport[]): number | undefined {
  const times = shards.flatMap(({ committedMs }) => committedMs ?? [])
  return times.length === 0 ? undefined : Math.max(...times)
}

/** `2 windows, 1.2 kB`, short for a column. */
export function outboxText({ windows, bytes }: { readonly windows: number; readonly bytes: number }): string {
  return windows === 0 ? '0' : `${windows} (${bytesText(bytes)})`
}

function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let size = bytes
  let unit = 0
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000
    unit++
  }
  return `${Number(size.toPrecision(3))} ${units[unit] as string}`
}

/** `850ms`, `12s`, `3m`, `5h`, `2d`. */
export function spanText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`
  const seconds = ms / 1000
  if (seconds < 100) return `${Number(seconds.toPrecision(2))}s`
  if (seconds < 6000) return `${Math.round(seconds / 60)}m`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86_400)}d`
}

/** `0-3 7 9-11` */
export function rangesText(numbers: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(' ')
}
