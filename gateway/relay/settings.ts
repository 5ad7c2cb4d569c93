import { durationMs } from '../../client/duration.ts'
import { UsageError } from '../../client/errors.ts'
import { SHARDS } from '../../client/wire/series.ts'
import { Tokens, parseTokens } from '../auth.ts'
import type { Fetcher, ObjectNamespace } from './runtime.ts'

type Variable = string | number | boolean | undefined

/** The relay's bindings, variables and secrets, as `wrangler.toml` has them. */
export interface RelayEnv {
  /** The Durable Objects. */
  readonly RELAY: ObjectNamespace
  /** The gateway that everything goes to, as a service binding; without one it is reached at `UPSTREAM_URL`. */
  readonly UPSTREAM?: Fetcher | undefined
  /** `https://host`, or a full path; `/v1/metrics` is added to a bare host. */
  readonly UPSTREAM_URL?: Variable
  /** Secret: a token of the upstream gateway. */
  readonly UPSTREAM_TOKEN?: Variable
  /** Secret: who may post, as in a file of `zibrato gateway --tokens`. */
  readonly ZIBRATO_TOKENS?: Variable
  /** `true`: everybody may post. */
  readonly ZIBRATO_INSECURE?: Variable
  /** Groups of shards, one object each: 1, 2, 4, 8, 16 or 32. Default 4. */
  readonly RELAY_GROUPS?: Variable
  /** Bytes of frames that wait in one object at the most. Default 256 MiB. */
  readonly RELAY_BYTES?: Variable
  /** How long frames are gathered before they go on. Default `1s`. */
  readonly RELAY_LINGER?: Variable
  /** Bytes of frames in one post upstream, before compression. Default 1 MiB. */
  readonly RELAY_POST_BYTES?: Variable
  /** Where objects are made, as in Cloudflare's `locationHint`: `weur`, `enam`. Default: near whoever posts first. */
  readonly RELAY_LOCATION?: Variable
}

export interface RelaySettings {
  /** undefined: everybody may post. */
  readonly tokens: Tokens | undefined
  readonly groups: number
  readonly location: string | undefined
  readonly maxBytes: number
  readonly lingerMs: number
  readonly postBytes: number
  readonly upstream: UpstreamSettings
}

export interface UpstreamSettings {
  readonly service: Fetcher | undefined
  /** The full address that is posted to. */
  readonly url: string
  readonly token: string | undefined
}

const MEBIBYTE = 1 << 20
/** As many bytes as an object's storage may have, less some for all else. */
const MOST_BYTES = 9 * 1024 * MEBIBYTE

/** @throws UsageError naming the variable that makes no sense, never what is in a secret */
export function parseSettings(env: RelayEnv): RelaySettings {
  if (env.RELAY === undefined) {
    throw new UsageError(
      'RELAY: the binding of the Durable Objects is missing; take it over from the wrangler.toml of Zibrato',
    )
  }
  const groups = whole('RELAY_GROUPS', env.RELAY_GROUPS, 4, 1, SHARDS)
  if (SHARDS % groups !== 0) throw new UsageError(`RELAY_GROUPS: ${groups} must be 1, 2, 4, 8, 16 or 32`)
  return {
    tokens: tokensOf(env),
    groups,
    location: text(env.RELAY_LOCATION),
    maxBytes: whole('RELAY_BYTES', env.RELAY_BYTES, 256 * MEBIBYTE, MEBIBYTE, MOST_BYTES),
    lingerMs: linger(text(env.RELAY_LINGER) ?? '1s'),
    postBytes: whole('RELAY_POST_BYTES', env.RELAY_POST_BYTES, MEBIBYTE, 1, 4 * MEBIBYTE),
    upstream: upstreamOf(env),
  }
}

function tokensOf({ ZIBRATO_TOKENS, ZIBRATO_INSECURE }: RelayEnv): Tokens | undefined {
  const specs = parseTokens(text(ZIBRATO_TOKENS) ?? '')
  if (specs.length > 0) return new Tokens(specs)
  if (text(ZIBRATO_INSECURE) === 'true') return undefined
  throw new UsageError(
    'ZIBRATO_TOKENS: without tokens the relay would be open to everybody; set "NAME=SECRET" with ' +
      '`wrangler secret put ZIBRATO_TOKENS`, or the variable ZIBRATO_INSECURE to "true"',
  )
}

function upstreamOf({ UPSTREAM, UPSTREAM_URL, UPSTREAM_TOKEN }: RelayEnv): UpstreamSettings {
  const given = text(UPSTREAM_URL)
  if (given === undefined && UPSTREAM === undefined) {
    throw new UsageError(
      'UPSTREAM_URL: is not set; give the gateway that everything goes to, such as https://metrics.example.com',
    )
  }
  // of a service, only the path matters
  const address = given ?? 'https://upstream'
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new UsageError('UPSTREAM_URL: is no URL of a gateway; write https://HOST, and the token into UPSTREAM_TOKEN')
  }
  if (url.pathname === '/') url.pathname = '/v1/metrics'
  const token = text(UPSTREAM_TOKEN)
  if (token !== undefined && !/^[!-~]+$/.test(token)) {
    throw new UsageError('UPSTREAM_TOKEN: must be visible ASCII characters, without "Bearer"')
  }
  return { service: UPSTREAM, url: url.href, token }
}

function linger(given: string): number {
  try {
    const ms = durationMs(given)
    if (ms <= 60_000) return ms
  } catch (cause) {
    throw new UsageError(`RELAY_LINGER: ${(cause as Error).message}`, { cause })
  }
  throw new UsageError(`RELAY_LINGER: ${given} is too long; give up to 1m`)
}

function whole(name: string, given: Variable, usual: number, least: number, most: number): number {
  const value = text(given)
  if (value === undefined) return usual
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
  if (number >= least && number <= most) return number
  throw new UsageError(`${name}: ${JSON.stringify(value)} must be a whole number from ${least} to ${most}`)
}

/** A variable as text; an empty one is none. */
function text(value: Variable): string | undefined {
  const written = value === undefined || value === null ? '' : String(value).trim()
  return written === '' ? undefined : written
}
