import { UsageError } from '../../../client/errors.ts'
import type { Connection } from './connection.ts'
import type { RedisUrl } from './url.ts'

/** The oldest version that has all that is used: XTRIM MINID. */
const OLDEST = [6, 2] as const

/**
 * Asks a server, or each master of a Cluster, whether it is one that state can be kept in.
 *
 * @throws UsageError that names what is wrong with it and the way out
 */
export async function checkServers(connection: Connection, kind: RedisUrl['kind']): Promise<void> {
  for (const info of await connection.info()) {
    const wrong = problemOf(info, kind)
    if (wrong !== undefined) throw new UsageError(`state ${connection.name}: ${wrong}`)
  }
}

function problemOf(info: ReadonlyMap<string, string>, kind: RedisUrl['kind']): string | undefined {
  const version = info.get('redis_version') ?? '0'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (info.get('redis_mode') === 'sentinel') return 'is a Sentinel; write redis+sentinel://host:26379/NAME-OF-MASTER'
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    return `is Redis ${version}, and ${OLDEST.join('.')} is the oldest that will do; upgrade it`
  }
  const isCluster = info.get('cluster_enabled') === '1'
  if (isCluster && kind !== 'cluster') return 'is a node of a Cluster; write redis+cluster://host'
  if (info.get('role') === 'slave') {
    return 'is a read-only replica; name its master, or use redis+sentinel: or redis+cluster: to find it'
  }
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  if (Number(info.get('maxmemory') ?? 0) > 0 && policy !== 'noeviction') {
    return (
      `removes keys when it is full (maxmemory-policy ${policy}), which would lose counts; ` +
      'set maxmemory-policy noeviction, or use a Redis of its own'
    )
  }
  return undefined
}
