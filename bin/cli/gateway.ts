import type { CurveKeys } from '../../client/curve.ts'
import { UsageError } from '../../client/errors.ts'
import type { TokenSpec } from '../../gateway/auth.ts'
import { exposition } from '../../gateway/figures.ts'
import { journalFigures } from '../../gateway/journal/figures.ts'
import { Gateway } from '../../gateway/node.ts'
import type { Journal } from '../../gateway/journal/journal.ts'
import { JournalSink } from '../../gateway/journal/sink.ts'
import { BrokerSink } from '../../gateway/sink.ts'
import { StatsdFigures } from '../../gateway/ingest/statsd-figures.ts'
import { StatsdGateway } from '../../gateway/statsd.ts'
import type { Invocation } from './command.ts'
import { connectKeys } from './curve.ts'
import { TOKENS_WAY_OUT, refuseExposed } from './exposure.ts'
import { ringMetrics } from './figures.ts'
import { type JournalSettings, createJournal, startJournal } from './journal.ts'
import { Lifetime } from './lifetime.ts'
import { type Logger, createLog } from './log.ts'
import { watchBrokers } from './reach.ts'
import { type StatsdPlan, type StatsdSettings, planStatsd, statsdAddresses, statsdPorts } from './statsd.ts'
import type { Routes } from './targets.ts'

export interface GatewaySettings extends StatsdSettings, JournalSettings {
  readonly host: string
  readonly http: number | undefined
  readonly broker: string
  readonly tokens: readonly TokenSpec[]
  readonly tokensFile: readonly TokenSpec[] | undefined
  readonly insecure: boolean
  readonly curveServerKey: string | undefined
  readonly stopTimeout: number
  readonly logLevel: string
}

/** `zibrato gateway`. */
export async function run({ settings, origins }: Invocation<GatewaySettings>): Promise<number> {
  const { host, http, broker, insecure } = settings
  const statsd = await planStatsd(settings, settings, origins.udp)
  if (http === undefined && statsd.listeners.length === 0) {
    throw new UsageError('--http: "off" leaves a gateway without --udp, --tcp and --unix nothing to do; give a port')
  }
  const tokens = [...settings.tokens, ...(settings.tokensFile ?? [])]
  await refuseExposed(host, insecure, [
    {
      name: 'the gateway',
      port: http ?? 0,
      isProtected: http === undefined || tokens.length > 0,
      wayOut: TOKENS_WAY_OUT,
    },
    ...statsdPorts(statsd, host),
  ])
  const curve = await connectKeys(settings.curveServerKey)
  const log = await createLog(settings.logLevel)
  const journal = createJournal(log, settings)
  const lifetime = new Lifetime(log, settings.stopTimeout)
  return lifetime.run(async () => {
    const { stopTimeout } = settings
    await startJournal(lifetime, journal)
    const options = { host, http, statsd, broker, tokens, insecure, curve, stopTimeout, journal }
    const { addresses, isConnected } = await openGateway(lifetime, log, options)
    const fate =
      journal === undefined ? 'what is taken waits, and then is refused' : 'what is taken is in the journal only'
    const meanwhile = `${fate}; start it, or correct --broker`
    watchBrokers(lifetime, log, { brokers: [broker], answering: () => (isConnected() ? 1 : 0), meanwhile })
    log.info({ ...addresses, broker }, 'listening')
  })
}

export interface OpenGatewayOptions {
  readonly host: string
  /** undefined: none */
  readonly http: number | undefined
  readonly statsd: StatsdPlan
  readonly broker: string
  readonly tokens: readonly TokenSpec[]
  readonly insecure: boolean
  readonly curve: CurveKeys | undefined
  readonly stopTimeout: number
  /** Started; undefined: none. */
  readonly journal: Journal | undefined
  /** What else the process says of itself. */
  readonly metrics?: () => string
  /** What else it serves, by path. */
  readonly routes?: Routes
}

/** Where a gateway listens. */
export interface GatewayAddresses extends ReturnType<typeof statsdAddresses> {
  /** `http://127.0.0.1:8080`, or `off`. */
  readonly http: string
  /** `udp://127.0.0.1:8125`, or `off`. */
  readonly udp: string
}

/**
 * Starts a gateway, which when it ends first stops listening and then sends on what it has.
 *
 * @returns where it listens, and what tells whether its broker answers
 */
export async function openGateway(
  lifetime: Lifetime,
  log: Logger,
  { host, http, statsd, broker, curve, stopTimeout, journal, metrics, ...options }: OpenGatewayOptions,
): Promise<{ readonly addresses: GatewayAddresses; readonly isConnected: () => boolean }> {
  const warn = ({ code, message }: { code: string; message: string }): void => log.warn({ code }, message)
  const sink =
    journal === undefined ? new BrokerSink({ broker, curve, warn }) : new JournalSink({ journal, broker, curve, warn })
  lifetime.owns('publisher', () => sink.close(stopTimeout))
  const { note, figures, insecure = options.insecure, ...plan } = statsd
  const lines = new StatsdGateway({
    ...plan,
    sink: sink instanceof JournalSink ? sink.lines : sink,
    insecure,
    onWarning: (message) => log.warn(message),
  })
  if (figures !== undefined) {
    const own = new StatsdFigures({ ...figures, sink, stats: () => lines.stats(), level: plan.level })
    lifetime.owns("statsd's figures", async () => own.close())
  }
  const gateway = new Gateway({
    ...options,
    host,
    port: http ?? 0,
    sink,
    metrics: () =>
      ringMetrics(sink.stats()) +
      (journal === undefined ? '' : exposition(journalFigures('gateway', journal.stats()))) +
      lines.metrics() +
      (metrics?.() ?? ''),
    onError: (error) => log.error({ error: String(error) }, 'a request failed'),
  })
  lifetime.owns('gateway', () => gateway.close())
  if (http !== undefined) await gateway.start()
  lifetime.owns('statsd', () => lines.close())
  await lines.start()
  if (note !== undefined) log.info(note)
  const addresses = { http: http === undefined ? 'off' : gateway.url, udp: 'off', ...statsdAddresses(statsd, lines) }
  return { addresses, isConnected: () => sink.connected() }
}
