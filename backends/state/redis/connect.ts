import { readFileSync } from 'node:fs'
import type { RedisOptions } from 'ioredis'
import { UsageError } from '../../../client/errors.ts'
import { type Argument, Connection } from './connection.ts'
import type { RedisUrl } from './url.ts'

const LONGEST_RETRY_MS = 1_000

/** A connection for a URL. It connects by itself, again and again, and keeps no commands for later. */
export async function connectRedis(url: RedisUrl): Promise<Connection> {
  const library = await import('ioredis')
  const { timeoutMs, label: name } = url
  const retry = (times: number): number => Math.min(50 * times, LONGEST_RETRY_MS)
  const tls = url.tls ? readTls(url) : undefined
  const common = {
    username: url.username,
    password: url.password,
    connectTimeout: timeoutMs,
    // where a machine vanished nobody says so
    socketTimeout: timeoutMs,
    connectionName: 'zibrato',
    disableClientInfo: true,
    // what was sent and not answered may have been done: whoever asked decides
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    maxLoadingRetryTime: 500,
    // a master that was made a replica: the next connection is to another
    reconnectOnError: (error: Error) => error.message.includes('READONLY'),
    protocol: 2 as const,
    ...(tls === undefined ? {} : { tls }),
  } satisfies RedisOptions
  if (url.kind === 'cluster') {
    const cluster = new library.Cluster([...url.nodes], {
      clusterRetryStrategy: retry,
      // it sends again only what was not done: on MOVED, ASK and TRYAGAIN. What comes while a node is being connected waits
      // for that; while none is, it does not come as far as here
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      enableOfflineQueue: true,
      slotsRefreshTimeout: timeoutMs,
      slotsRefreshInterval: 10_000,
      // certificates are for names
      ...(tls === undefined ? {} : { dnsLookup: (host, callback) => callback(null, host) }),
      redisOptions: common,
    })
    const slotOf = (key: string): number | null => new library.Command('EXISTS', [key]).getSlot()
    return new Connection(cluster, {
      name,
      timeoutMs,
      nodeOf: (key) => cluster.slots[slotOf(key) ?? 0]?.[0] ?? '',
      sendTo: (key, command, args) =>
        cluster.sendCommand(new library.Command(command, toArguments(args), { replyEncoding: null }), undefined, {
          slot: slotOf(key),
        }),
    })
  }
  const client = new library.Redis({
    ...common,
    db: url.db,
    retryStrategy: retry,
    ...(url.kind === 'sentinel'
      ? {
          sentinels: [...url.nodes],
          name: url.master,
          sentinelRetryStrategy: retry,
          sentinelCommandTimeout: timeoutMs,
          ...(url.sentinelUsername === undefined ? {} : { sentinelUsername: url.sentinelUsername }),
          ...(url.sentinelPassword === undefined ? {} : { sentinelPassword: url.sentinelPassword }),
          ...(tls === undefined ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true }),
        }
      : url.path === undefined
        ? url.nodes[0]
        : { path: url.path }),
  })
  return new Connection(client, {
    name,
    timeoutMs,
    nodeOf: () => '',
    sendTo: (_, command, args) => client.callBuffer(command, ...toArguments(args)),
  })
}

function readTls({ ca, cert, key }: RedisUrl): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
  const files = Object.entries({ ca, cert, key }).filter((file): file is [string, string] => file[1] !== undefined)
  return Object.fromEntries(
    files.map(([name, path]) => {
      try {
        return [name, readFileSync(path)]
      } catch (cause) {
        throw new UsageError(`--state redis: the option ${name} names no file: ${(cause as Error).message}`, { cause })
      }
    }),
  )
}

function toArguments(args: readonly Argument[]): (string | number | Buffer)[] {
  return args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg) : arg))
}
