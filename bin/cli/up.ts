import { hostname } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import type { Worker } from '../../backends/worker/index.ts'
import type { TokenSpec } from '../../gateway/auth.ts'
import { Broker } from '../../gateway/broker/index.ts'
import { hostAndPort, resolveListenHost } from '../../gateway/listen/address.ts'
import { addressesOf } from './broker.ts'
import type { Invocation } from './command.ts'
import { connectKeys, publicKeyOf } from './curve.ts'
import { CURVE_WAY_OUT, TOKENS_WAY_OUT, refuseExposed } from './exposure.ts'
import { workerMetrics } from './figures.ts'
import { openGateway } from './gateway.ts'
import { createJournal, startJournal } from './journal.ts'
import { Lifetime } from './lifetime.ts'
import { type Logger, createLog } from './log.ts'
import { type AppliedStatsdConfig, applyStatsdConfig } from './statsd-config/apply.ts'
import { serverIsUp } from './statsd-config/server-is-up.ts'
import { type StatsdSettings, planStatsd, statsdPorts } from './statsd.ts'
import { openTargets, routesOf } from './targets.ts'
import { welcome } from './welcome.ts'
import { type FlushSettings, describe, prepareWorker, startWorker } from './worker.ts'

export interface UpSettings extends FlushSettings, StatsdSettings {
  readonly host: string
  readonly port: number
  readonly http: number | undefined
  readonly tokens: readonly TokenSpec[]
  readonly tokensFile: readonly TokenSpec[] | undefined
  readonly insecure: boolean
  /** Path of a configuration file of statsd. */
  readonly statsdConfig: string | undefined
  readonly curveSecretKey: string | undefined
  readonly logLevel: string
}

/** How long the worker may take to be heard by the broker beside it. */
const SUBSCRIBED_MS = 5_000

/** `zibrato up`: broker, worker and gateway in one process. */
export async function run({ settings: said, origins }: Invocation<UpSettings>): Promise<number> {
  const fromFile = await readStatsdFile(said, origins)
  const settings = fromFile?.settings ?? said
  const { host, port, http, insecure, curveSecretKey, stopTimeout } = settings
  const plan = await planStatsd(settings, settings, origins.udp)
  const statsd = fromFile?.planned(plan) ?? plan
  const tokens = [...settings.tokens, ...(settings.tokensFile ?? [])]
  await refuseExposed(host, insecure, [
    {
      name: 'the gateway',
      port: http ?? 0,
      isProtected: http === undefined || tokens.length > 0,
      wayOut: TOKENS_WAY_OUT,
    },
    { name: 'the broker', port, isProtected: curveSecretKey !== undefined, wayOut: CURVE_WAY_OUT },
    // where the file says to listen, it is meant
    ...statsdPorts(plan, host),
  ])
  const curve = await connectKeys(curveSecretKey === undefined ? undefined : publicKeyOf(curveSecretKey))
  const log = await createLog(settings.logLevel)
  fromFile?.tell(log)
  const targets = await openTargets(
    settings.to,
    fromFile !== undefined && origins.to === 'default' ? '--statsd-config' : '--to',
  )
  const routes = routesOf(targets, http === undefined ? 'is served on the HTTP port; leave out --http off' : undefined)
  const createWorker = await prepareWorker(log, settings, targets)
  const journal = createJournal(log, settings)
  const lifetime = new Lifetime(log, stopTimeout)
  return lifetime.run(async () => {
    await startJournal(lifetime, journal)
    const broker = new Broker({
      host,
      port,
      insecure,
      ...(journal === undefined ? {} : { journal }),
      ...(curveSecretKey === undefined ? {} : { curveSecretKey }),
      onWarning: (message) => log.warn(message),
    })
    lifetime.owns('broker', () => broker.stop())
    await broker.start()
    const inside = await connectUrl(host, broker.port)
    // without a journal the workers of a group have to take from the same broker, and each of these processes has one
    const shared = journal === undefined ? { broker: `${hostname()}:${broker.port}` } : {}
    const worker = createWorker([inside], curve, shared)
    await startWorker(lifetime, worker)
    // what arrives from here on, somebody takes
    if (journal === undefined) await subscribed(log, broker, worker, settings.levels?.length ?? 1)
    const metrics = (): string => broker.metrics() + workerMetrics(worker.figures())
    const options = { host, http, statsd, broker: inside, tokens, insecure, curve, stopTimeout, metrics, routes }
    const { addresses: open } = await openGateway(lifetime, log, { ...options, journal })
    const ends = addressesOf(host, broker)
    log.info({ broker: ends, ...open, ...describe(settings) }, 'listening')
    if (fromFile !== undefined) process.stdout.write(serverIsUp())
    // beside logs in JSON only where people read anyway: results on the console
    const reader = process.stderr.isTTY ? process.stderr : process.stdout
    if (!process.stderr.isTTY && !settings.to.some(({ scheme }) => scheme === 'console')) return
    reader.write(
      welcome({
        ...ends,
        connect: inside,
        http: open.http === 'off' ? undefined : open.http,
        udp: open.udp === 'off' ? undefined : open.udp.split(' ')[0],
        isTokenNeeded: tokens.length > 0,
        isEncrypted: curve !== undefined,
        settings,
      }),
    )
  })
}

async function readStatsdFile(
  said: UpSettings,
  origins: Invocation<UpSettings>['origins'],
): Promise<AppliedStatsdConfig<UpSettings> | undefined> {
  if (said.statsdConfig === undefined) return undefined
  // a parser of JavaScript loads only where there is some to read
  const { readStatsdConfig } = await import('./statsd-config.ts')
  return applyStatsdConfig(said, origins, readStatsdConfig(said.statsdConfig))
}

/** Where the process itself reaches what it listens on. */
async function connectUrl(host: string, port: number): Promise<string> {
  const { address } = await resolveListenHost('--host', host)
  const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `tcp://${hostAndPort(reachable, port)}`
}

async function subscribed(log: Logger, broker: Broker, worker: Worker, levels: number): Promise<void> {
  const deadline = performance.now() + SUBSCRIBED_MS
  // where others share the shards, it has those of them that they have handed over
  while (worker.figures().shards === 0 || broker.stats().subscriptions < worker.figures().shards * levels) {
    if (performance.now() > deadline) {
      log.warn('the worker is not heard by the broker yet; what comes meanwhile waits')
      return
    }
    await wait(5)
  }
}
