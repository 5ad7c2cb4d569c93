import { connectRedis } from '../../backends/state/redis/connect.ts'
import { isRedis } from '../../backends/state/open.ts'
import { parseRedisUrl } from '../../backends/state/redis/url.ts'
import { UsageError } from '../../client/errors.ts'
import { Journal } from '../../gateway/journal/journal.ts'
import type { Lifetime } from './lifetime.ts'
import type { Logger } from './log.ts'

const READY_MS = 2_000

/** What gateway and broker are told of the journal. */
export interface JournalSettings {
  readonly journal: boolean
  /** The workers' Redis; nothing else is done with it here. */
  readonly state: string | undefined
}

/**
 * The journal as its writers see it, not started; undefined without `--journal`.
 *
 * @throws UsageError without a Redis
 */
export function createJournal(log: Logger, { journal, state }: JournalSettings): Journal | undefined {
  if (!journal) return undefined
  if (state === undefined || !isRedis(state)) {
    throw new UsageError("--journal: needs the workers' Redis; give --state redis://HOST, as they have it")
  }
  const url = parseRedisUrl(state)
  return new Journal({
    connect: async () => {
      const connection = await connectRedis(url)
      // one that is not there yet keeps nothing from starting: it is tried again, and said
      await connection.ready(READY_MS).catch(() => {})
      return connection
    },
    prefix: url.prefix,
    replicas: url.replicas,
    timeoutMs: url.timeoutMs,
    onWarning: (message) => log.warn(message),
  })
}

/** Starts it as a part of a life; what writes to it is to be named after it. */
export async function startJournal(lifetime: Lifetime, journal: Journal | undefined): Promise<void> {
  if (journal === undefined) return
  lifetime.owns('journal', () => journal.close())
  await journal.start()
}
