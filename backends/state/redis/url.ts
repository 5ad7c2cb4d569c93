import { UsageError } from '../../../client/errors.ts'
import { Params } from '../../params.ts'

/** Where a Redis is, and how it is talked to. */
export interface RedisUrl {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  /** A Unix socket, in place of nodes. */
  readonly path: string | undefined
  /** The name that Sentinels know the master by. */
  readonly master: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  readonly sentinelUsername: string | undefined
  readonly sentinelPassword: string | undefined
  readonly db: number
  readonly tls: boolean
  /** Files with certificates and the key, PEM: of the server's CA, and of this client. */
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly prefix: string
  readonly leaseMs: number
  /** How many replicas must have a lease, a commit and the mark of an attempt before they count. */
  readonly replicas: number
  /** How long an answer may take. */
  readonly timeoutMs: number
  /** How long it may take at the start until it can be reached. */
  readonly waitMs: number
  /** Without credentials and options. */
  readonly label: string
}

const FORMS =
  'redis://user:password@host:6379/0, rediss://host, redis+unix:///run/redis.sock, ' +
  'redis+sentinel://host:26379,host:26379/master or redis+cluster://host:6379,host:6379'

const OPTIONS = [
  'prefix',
  'lease',
  'replicas',
  'timeout',
  'wait',
  'db',
  'tls',
  'ca',
  'cert',
  'key',
  'sentinel-user',
  'sentinel-password',
]

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Takes a state's URL apart. `$NAME` or `${NAME}` in user, password and options takes what the environment holds.
 *
 * @throws UsageError without any secret
 */
export function parseRedisUrl(url: string, env: Environment = process.env): RedisUrl {
  const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase() ?? 'redis'
  const match = /^[a-z+]+:\/\/(?:([^@/?]*)@)?([^@/?]*)(\/[^?]*)?(?:\?(.*))?$/i.exec(url)
  if (match === null) throw new UsageError(`--state ${scheme}: cannot be read; write ${FORMS}`)
  const [, credentials = '', hosts = '', path = '', query = ''] = match
  const kind = scheme === 'redis+sentinel' ? 'sentinel' : scheme === 'redis+cluster' ? 'cluster' : 'single'
  const isUnix = scheme === 'redis+unix'
  if (isUnix && (hosts !== '' || path === '')) {
    throw new UsageError('--state redis+unix: names no socket; write redis+unix:///run/redis.sock')
  }
  const nodes = isUnix ? [] : hosts.split(',').map((host) => parseNode(host, kind === 'sentinel' ? 26_379 : 6_379))
  if (kind === 'single' && nodes.length > 1) {
    throw new UsageError(`--state ${scheme}: takes one host; several are redis+cluster: or redis+sentinel:`)
  }
  const [user = '', password] = splitOnce(credentials, ':').map((part) => decode(part, env))
  const options = new Params(`--state ${scheme}`, parseOptions(scheme, query, env))
  const parts = isUnix ? [] : path.split('/').filter((part) => part !== '')
  const master = kind === 'sentinel' ? parts.shift() : undefined
  if (kind === 'sentinel' && master === undefined) {
    throw new UsageError('--state redis+sentinel: names no master; write redis+sentinel://host:26379/NAME')
  }
  const db = parts.length === 0 ? (options.number('db', { min: 0, whole: true }) ?? 0) : Number(parts[0])
  if (parts.length > 1 || !Number.isInteger(db) || db < 0 || (kind === 'cluster' && parts.length > 0)) {
    throw new UsageError(`--state ${scheme}: what follows the host is no number of a database; write ${FORMS}`)
  }
  if (kind === 'cluster' && db > 0) throw new UsageError('--state redis+cluster: has no databases; leave db out')
  const [ca, cert, key] = [options.text('ca'), options.text('cert'), options.text('key')]
  const tls = scheme === 'rediss' || (options.flag('tls') ?? false)
  if (!tls && (ca ?? cert ?? key) !== undefined) {
    throw new UsageError(`--state ${scheme}: ca, cert and key are for TLS; write rediss://, or add tls=yes`)
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError(`--state ${scheme}: cert and key go together; give both`)
  }
  return {
    kind,
    nodes,
    path: isUnix ? decoded(path) : undefined,
    master,
    username: password === undefined ? undefined : user || undefined,
    // one without a colon is a password, as Redis had it before it knew users
    password: password ?? (user || undefined),
    sentinelUsername: options.text('sentinel-user'),
    sentinelPassword: options.text('sentinel-password'),
    db,
    tls,
    ca,
    cert,
    key,
    prefix: options.text('prefix') ?? 'zibrato:',
    leaseMs: duration(scheme, options, 'lease', [1_000, 300_000]) ?? 5_000,
    replicas: options.number('replicas', { min: 0, max: 10, whole: true }) ?? 0,
    timeoutMs: duration(scheme, options, 'timeout', [1_000, 300_000]) ?? 10_000,
    waitMs: duration(scheme, options, 'wait', [0, 3_600_000]) ?? 30_000,
    label: `${scheme}://${hosts}${path}`,
  }
}

function duration(scheme: string, options: Params, name: string, [from, to]: [number, number]): number | undefined {
  const ms = options.durationMs(name)
  if (ms === undefined || (ms >= from && ms <= to)) return ms
  throw new UsageError(`--state ${scheme}: ${name} must lie between ${from / 1000} and ${to / 1000} seconds`)
}

function parseNode(text: string, port: number): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))?(?::(\d{1,5}))?$/i.exec(text)
  if (match === null || Number(match[3] ?? 1) > 65_535) {
    throw new UsageError(`--state: ${JSON.stringify(text)} is no host and port; write ${FORMS}`)
  }
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port: Number(match[3] ?? port) }
}

function parseOptions(
  scheme: string,
  query: string,
  env: Environment,
): { name: string; value: string; shown: string }[] {
  return query
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const [name = '', value = ''] = splitOnce(part, '=')
      if (!OPTIONS.includes(name)) {
        throw new UsageError(
          `--state ${scheme}: has an option ${JSON.stringify(name)}; there are ${OPTIONS.join(', ')}`,
        )
      }
      return { name, value: decode(value, env), shown: name === 'sentinel-password' ? '***' : value }
    })
}

function decode(text: string, env: Environment): string {
  return decoded(text).replace(/\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))/g, (_, braced, plain) => {
    const name = (braced ?? plain) as string
    const value = env[name]
    if (value === undefined || value === '')
      throw new UsageError(`--state: the environment variable ${name} is not set`)
    return value
  })
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    // without the text, which may be a password
    throw new UsageError('--state: has a % that stands for no character; write it as %25', { cause })
  }
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
