import { afterAll, afterEach, beforeAll } from 'vitest'
import { connectRedis } from '../../../backends/state/redis/connect.ts'
import type { Connection } from '../../../backends/state/redis/connection.ts'
import { parseRedisUrl } from '../../../backends/state/redis/url.ts'
import { SHARDS } from '../../../client/wire/series.ts'
import { Journal } from '../../../gateway/journal/journal.ts'
import { JournalKeys } from '../../../gateway/journal/keys.ts'
import { RedisServer } from '../../redis-server.ts'

/** A journal of a test's own, in a Redis that the tests of a file share. */
export interface Space {
  readonly prefix: string
  readonly keys: JournalKeys
  readonly url: string
  readonly connection: Connection
  journal(): Promise<Journal>
  /** All that a shard's stream holds. */
  bundle(shard: number): Promise<Buffer>
  /** Entries of all shards. */
  length(): Promise<number>
}

/** To be called once in a file: starts a Redis before its tests, and stops it after. */
export function useRedis(): { readonly server: () => RedisServer; readonly space: () => Promise<Space> } {
  let server: RedisServer
  let spaces = 0
  const open: { close(): unknown }[] = []

  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterEach(async () => {
    for (const each of open.splice(0).toReversed()) await each.close()
  })
  afterAll(() => server.stop())

  const connect = async (): Promise<Connection> => {
    const connection = await connectRedis(parseRedisUrl(server.url))
    open.push(connection)
    await connection.ready(5_000)
    return connection
  }

  const space = async (): Promise<Space> => {
    const prefix = `t${spaces++}:`
    const keys = new JournalKeys(prefix)
    const connection = await connect()
    return {
      prefix,
      keys,
      url: `${server.url}?prefix=${prefix}`,
      connection,
      async journal() {
        const journal = new Journal({ connect, prefix })
        open.push(journal)
        await journal.start()
        return journal
      },
      async bundle(shard) {
        const entries = (await connection.send('XRANGE', keys.stream(shard), '-', '+')) as [Buffer, [Buffer, Buffer]][]
        return Buffer.concat(entries.map(([, [, bundle]]) => bundle))
      },
      async length() {
        const streams = Array.from({ length: SHARDS }, (_, shard) => keys.stream(shard))
        const lengths = await Promise.all(streams.map((stream) => connection.send('XLEN', stream)))
        return lengths.map(Number).reduce((sum, length) => sum + length, 0)
      },
    }
  }
  return { server: () => server, space }
}
