import { setTimeout as wait } from 'node:timers/promises'
import { SHARDS } from '../../client/wire/series.ts'
import type { TokenSpec } from '../../gateway/auth.ts'
import { Broker } from '../../gateway/broker/index.ts'
import { hostAndPort, resolveListenHost } from '../../gateway/listen/address.ts'
import { addressesOf } from './broker.ts'
import type { Invocation } from './command.ts'
import { connectKeys, publicKeyOf } from './curve.ts'
import { CURVE_WAY_OUT, TOKENS_WAY_OUT, refuseExposed } from './exposure.ts'
import { workerMetrics } from './figures.ts'
import { openGateway } from './gateway.ts'
import { Lifetime } from './lifetime.ts'
import { type Logger, createLog } from './log.ts'
import { welcome } from './welcome.ts'
import { type FlushSettings, describe, prepareWorker, startWorker } from './worker.ts'

export interface UpSettings extends FlushSettings {
  readonly host: string
  readonly port: number
  readonly http: number | undefined
  readonly udp: undefined
  readonly tokens: readonly TokenSpec[]
  readonly tokensFile: readonly TokenSpec[] | undefined
  readonly insecure: boolean
  readonly curveSecretKey: string | undefined
  readonly logLevel: string
}

/** How long the worker may take to be heard by the broker beside it. */
const SUBSCRIBED_MS = 5_000

/** `zibrato up`: broker, worker and gateway in one process. */
export async function run({ settings }: Invocation<UpSettings>): Promise<number> {
  const { host, port, http, insecure, curveSecretKey, stopTimeout } = settings
  const tokens = [...settings.tokens, ...(settings.tokensFile ?? [])]
  await refuseExposed(host, insecure, [
    {
      name: 'the gateway',
      port: http ?? 0,
      isProtected: http === undefined || tokens.length > 0,
      wayOut: TOKENS_WAY_OUT,
    },
    { name: 'the broker', port, isProtected: curveSecretKey !== undefined, wayOut: CURVE_WAY_OUT },
  ])
  const curve = await connectKeys(curveSecretKey === undefined ? undefined : publicKeyOf(curveSecretKey))
  const log = await createLog(settings.logLevel)
  const createWorker = await prepareWorker(log, settings)
  const lifetime = new Lifetime(log, stopTimeout)
  return lifetime.run(async () => {
    const broker = new Broker({
      host,
      port,
      insecure,
      ...(curveSecretKey === undefined ? {} : { curveSecretKey }),
      onWarning: (message) => log.warn(message),
    })
    lifetime.owns('broker', () => broker.stop())
    await broker.start()
    const inside = await connectUrl(host, broker.port)
    const worker = createWorker([inside], curve)
    await startWorker(lifetime, worker)
    // what arrives from here on, somebody takes
    await subscribed(log, broker, SHARDS * (settings.levels?.length ?? 1))
    const metrics = (): string => broker.metrics() + workerMetrics(worker.figures())
    const options = { host, broker: inside, tokens, insecure, curve, stopTimeout, metrics }
    const gateway = http === undefined ? undefined : await openGateway(lifetime, log, { ...options, port: http })
    const addresses = { broker: addressesOf(host, broker), http: gateway?.url ?? 'off' }
    log.info({ ...addresses, ...describe(settings) }, 'listening')
    // beside logs in JSON only where people read anyway: results on the console
    const reader = process.stderr.isTTY ? process.stderr : process.stdout
    if (!process.stderr.isTTY && !settings.to.some(({ scheme }) => scheme === 'console')) return
    const { broker: ends, http: url } = addresses
    reader.write(
      welcome({
        ...ends,
        connect: inside,
        http: gateway === undefined ? undefined : url,
        isTokenNeeded: tokens.length > 0,
        isEncrypted: curve !== undefined,
        settings,
      }),
    )
  })
}

/** Where the process itself reaches what it listens on. */
async function connectUrl(host: string, port: number): Promise<string> {
  const { address } = await resolveListenHost('--host', host)
  const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `tcp://${hostAndPort(reachable, port)}`
}

async function subscribed(log: Logger, broker: Broker, subscriptions: number): Promise<void> {
  const deadline = performance.now() + SUBSCRIBED_MS
  while (broker.stats().subscriptions < subscriptions) {
    if (performance.now() > deadline) {
      log.warn('the worker is not heard by the broker yet; what comes meanwhile waits')
      return
    }
    await wait(5)
  }
}
