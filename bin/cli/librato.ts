import { type BackendUrl, parseBackendUrl } from '../../backends/url.ts'
import { UsageError } from '../../client/errors.ts'
import { hostAndPort } from '../../gateway/listen/address.ts'
import type { Invocation } from './command.ts'
import { type WorkerSettings, run as runWorker } from './worker.ts'

export interface LibratoSettings extends Omit<WorkerSettings, 'brokers' | 'to' | 'insecure'> {
  /** The broker's, unlike elsewhere. */
  readonly host: string
  /** The broker's subscribers' port. */
  readonly port: number
  readonly username: string | undefined
  readonly apitoken: string | undefined
  readonly api: 'metrics' | 'measurements'
  readonly endpoint: string
  readonly source: string | undefined
}

/** `zibrato-librato`: `zibrato worker` with the flags of Zibrato 0.2. */
export function run({ settings }: Pick<Invocation<LibratoSettings>, 'settings'>): Promise<number> {
  const { host, port, levels, flush, state, journal, group, idle, percentiles, maxSeries } = settings
  const { http, curveServerKey, stopTimeout, logLevel } = settings
  return runWorker({
    settings: {
      // a worker is told the publishers' port
      brokers: [`tcp://${hostAndPort(host, port - 1)}`],
      to: [libratoUrl(settings)],
      levels,
      flush,
      state,
      journal,
      group,
      idle,
      percentiles,
      maxSeries,
      http,
      curveServerKey,
      stopTimeout,
      logLevel,
      // its figures are for this machine
      host: '127.0.0.1',
      insecure: false,
    },
  })
}

/**
 * The backend's URL of what the flags say.
 *
 * @throws UsageError when user or token are missing
 */
export function libratoUrl(
  settings: Pick<LibratoSettings, 'username' | 'apitoken' | 'api' | 'endpoint' | 'source' | 'percentiles'>,
): BackendUrl {
  const { username, apitoken, api, endpoint, source, percentiles = [] } = settings
  if (username === undefined) throw new UsageError('--username: is missing; give the e-mail address of the account')
  if (apitoken === undefined) {
    throw new UsageError(
      "--apitoken: is missing; give it as '$VAR', or set ZIBRATO_APITOKEN: no list of processes shows it",
    )
  }
  const { protocol, host, pathname } = new URL(endpoint)
  const options = [
    ...(protocol === 'http:' ? ['tls=no'] : []),
    ...(api === 'metrics' ? [] : [`api=${api}`]),
    ...(source === undefined ? [] : [`source=${encodeURIComponent(source)}`]),
    ...(percentiles.length === 0 ? [] : [`percentiles=${percentiles.map(percentOf).join()}`]),
  ]
  const path = pathname === '/' ? '' : pathname.replaceAll('$', '%24')
  const query = options.length === 0 ? '' : `?${options.join('&')}`
  return parseBackendUrl(
    `librato://${encodeURIComponent(username)}:${encodeURIComponent(apitoken)}@${host}${path}${query}`,
  )
}

/** 0.999 is 99.9, without what floating point adds. */
function percentOf(quantile: number): number {
  return Number((quantile * 100).toFixed(6))
}
