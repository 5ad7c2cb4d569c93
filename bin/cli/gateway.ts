import type { CurveKeys } from '../../client/curve.ts'
import { UsageError } from '../../client/errors.ts'
import type { TokenSpec } from '../../gateway/auth.ts'
import { Gateway } from '../../gateway/node.ts'
import { BrokerSink } from '../../gateway/sink.ts'
import type { Invocation } from './command.ts'
import { connectKeys } from './curve.ts'
import { TOKENS_WAY_OUT, refuseExposed } from './exposure.ts'
import { ringMetrics } from './figures.ts'
import { Lifetime } from './lifetime.ts'
import { type Logger, createLog } from './log.ts'

export interface GatewaySettings {
  readonly host: string
  readonly http: number | undefined
  readonly udp: undefined
  readonly broker: string
  readonly tokens: readonly TokenSpec[]
  readonly tokensFile: readonly TokenSpec[] | undefined
  readonly insecure: boolean
  readonly curveServerKey: string | undefined
  readonly stopTimeout: number
  readonly logLevel: string
}

/** `zibrato gateway`. */
export async function run({ settings }: Invocation<GatewaySettings>): Promise<number> {
  const { host, http, broker, insecure } = settings
  if (http === undefined) throw new UsageError('--http: "off" leaves a gateway nothing to do; give a port')
  const tokens = [...settings.tokens, ...(settings.tokensFile ?? [])]
  await refuseExposed(host, insecure, [
    { name: 'the gateway', port: http, isProtected: tokens.length > 0, wayOut: TOKENS_WAY_OUT },
  ])
  const curve = await connectKeys(settings.curveServerKey)
  const log = await createLog(settings.logLevel)
  const lifetime = new Lifetime(log, settings.stopTimeout)
  return lifetime.run(async () => {
    const { stopTimeout } = settings
    const gateway = await openGateway(lifetime, log, { host, port: http, broker, tokens, insecure, curve, stopTimeout })
    log.info({ http: gateway.url, broker }, 'listening')
  })
}

export interface OpenGatewayOptions {
  readonly host: string
  readonly port: number
  readonly broker: string
  readonly tokens: readonly TokenSpec[]
  readonly insecure: boolean
  readonly curve: CurveKeys | undefined
  readonly stopTimeout: number
  /** What else the process says of itself. */
  readonly metrics?: () => string
}

/** Starts a gateway, which when it ends first stops listening and then sends on what it has. */
export async function openGateway(
  lifetime: Lifetime,
  log: Logger,
  { broker, curve, stopTimeout, metrics, ...options }: OpenGatewayOptions,
): Promise<Gateway> {
  const warn = ({ code, message }: { code: string; message: string }): void => log.warn({ code }, message)
  const sink = new BrokerSink({ broker, curve, warn })
  lifetime.owns('publisher', () => sink.close(stopTimeout))
  const gateway = new Gateway({
    ...options,
    sink,
    metrics: () => ringMetrics(sink.stats()) + (metrics?.() ?? ''),
    onError: (error) => log.error({ error: String(error) }, 'a request failed'),
  })
  lifetime.owns('gateway', () => gateway.close())
  await gateway.start()
  return gateway
}
