import { resolve } from 'node:path'
import { UsageError } from '../../client/errors.ts'
import { FileState, type FileStateOptions, type Sync } from './file.ts'
import { MemoryState } from './memory.ts'
import { connectRedis } from './redis/connect.ts'
import { parseRedisUrl } from './redis/url.ts'
import { RedisState } from './redis.ts'
import type { State } from './state.ts'

export interface OpenStateOptions extends Pick<FileStateOptions, 'now' | 'maxOutboxBytes' | 'onDropped' | 'onWarning'> {
  /** Whether workers read the journal that gateways and brokers write. Only with Redis. */
  readonly journal?: boolean
}

const CHOICES = 'memory:, file:DIR or redis://HOST'

const SYNCS: readonly string[] = ['commit', 'always', 'never'] satisfies Sync[]

/**
 * The state that a URL names, not opened yet: `memory:`; `file:DIR` with a directory relative to the working directory or
 * absolute, and `?sync=commit|always|never` behind it if wanted; or `redis://...`.
 *
 * @throws UsageError for any other
 */
export function openState(url: string, options: OpenStateOptions = {}): State {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  // Redis URLs may carry a password: of one that is refused only the scheme is shown
  if (scheme === undefined) throw new UsageError(`--state ${JSON.stringify(url)} has no scheme: use ${CHOICES}`)
  const rest = url.slice(scheme.length + 1)
  if (options.journal === true && !isRedis(url)) {
    throw new UsageError(`--journal: needs a Redis that gateway, broker and workers share; give --state redis://HOST`)
  }
  switch (scheme) {
    case 'memory':
      if (rest !== '' && rest !== '//') throw new UsageError(`--state memory: takes nothing behind it, not ${rest}`)
      return new MemoryState(options)
    case 'file':
      return new FileState({ ...options, ...parseFile(rest) })
    case 'redis':
    case 'rediss':
    case 'redis+unix':
    case 'redis+sentinel':
    case 'redis+cluster':
      return openRedis(url, options)
    default:
      throw new UsageError(`--state ${scheme}: is no kind of state: use ${CHOICES}`)
  }
}

/** A state's URL for logs: without user, password and options. */
export function stateLabel(url: string): string {
  return isRedis(url) ? parseRedisUrl(url).label : url.replace(/\/\/[^/]*@/, '//')
}

/** Whether a state is one that gateways, brokers and workers can share. */
export function isRedis(url: string): boolean {
  return /^redis(s|\+\w+)?:/i.test(url)
}

function openRedis(text: string, options: OpenStateOptions): State {
  const url = parseRedisUrl(text)
  return new RedisState({ ...options, ...url, name: url.label, connect: () => connectRedis(url) })
}

function parseFile(rest: string): { directory: string; sync?: Sync } {
  const [path = '', query] = splitOnce(rest, '?')
  const shown = `--state file:${rest}`
  if (path.startsWith('//') && !path.startsWith('///')) {
    throw new UsageError(`${shown} names a host: write file:DIR, or file:///DIR for an absolute one`)
  }
  if (path === '') throw new UsageError(`${shown} names no directory: write file:DIR`)
  const directory = resolve(path.replace(/^\/\/\//, '/'))
  const { sync, ...others } = Object.fromEntries(new URLSearchParams(query))
  const unknown = Object.keys(others)[0]
  if (unknown !== undefined) throw new UsageError(`${shown} has a parameter ${unknown}: the only one there is is sync`)
  if (sync === undefined) return { directory }
  if (!SYNCS.includes(sync)) throw new UsageError(`${shown}: sync is one of ${SYNCS.join(', ')}, not ${sync}`)
  return { directory, sync: sync as Sync }
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
