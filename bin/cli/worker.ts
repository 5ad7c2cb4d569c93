import type { BackendUrl } from '../../backends/url.ts'
import { openState, stateLabel } from '../../backends/state/open.ts'
import { type Idle, type Target, Worker, type WorkerOptions } from '../../backends/worker/index.ts'
import type { CurveKeys } from '../../client/curve.ts'
import type { Invocation } from './command.ts'
import { connectKeys } from './curve.ts'
import { FIGURES_WAY_OUT, refuseExposed } from './exposure.ts'
import { workerMetrics } from './figures.ts'
import { Lifetime } from './lifetime.ts'
import { type Logger, createLog } from './log.ts'
import { watchBrokers } from './reach.ts'
import { StatusServer } from './status.ts'
import { openTargets, routesOf } from './targets.ts'

/** What `worker` and `up` take alike. */
export interface FlushSettings {
  readonly levels: readonly string[] | undefined
  readonly flush: number
  readonly to: readonly BackendUrl[]
  readonly state: string
  readonly journal: boolean
  readonly group: string
  readonly idle: Idle
  readonly percentiles: readonly number[] | undefined
  readonly maxSeries: number
  readonly stopTimeout: number
}

export interface WorkerSettings extends FlushSettings {
  readonly brokers: readonly string[]
  readonly host: string
  readonly http: number | undefined
  readonly insecure: boolean
  readonly curveServerKey: string | undefined
  readonly logLevel: string
}

/** `zibrato worker`. */
export async function run({ settings }: Pick<Invocation<WorkerSettings>, 'settings'>): Promise<number> {
  const { brokers, host, http, insecure } = settings
  await refuseExposed(host, insecure, [
    { name: "the worker's figures", port: http ?? 0, isProtected: http === undefined, wayOut: FIGURES_WAY_OUT },
  ])
  const curve = await connectKeys(settings.curveServerKey)
  const log = await createLog(settings.logLevel)
  const targets = await openTargets(settings.to)
  routesOf(targets, 'is served by `zibrato up` only; in a worker name where to listen: prometheus://127.0.0.1:9464')
  const createWorker = await prepareWorker(log, settings, targets)
  const worker = createWorker(brokers, curve)
  const lifetime = new Lifetime(log, settings.stopTimeout)
  return lifetime.run(async () => {
    const status =
      http === undefined ? undefined : statusOf(worker, lifetime, { host, http, journal: settings.journal })
    // asked for its figures until it has stopped, which takes as long as its backends do
    if (status !== undefined) lifetime.owns('status', () => status.stop())
    await startWorker(lifetime, worker)
    if (!settings.journal) {
      const meanwhile = 'nothing comes from there; start them, or correct --broker'
      watchBrokers(lifetime, log, { brokers, answering: () => worker.figures().connections, meanwhile })
    }
    await status?.start()
    const doing = { ...(settings.journal ? {} : { brokers }), ...describe(settings) }
    log.info({ ...doing, ...(status === undefined ? {} : { http: status.url }) }, 'listening')
  })
}

interface StatusSettings {
  readonly host: string
  readonly http: number
  readonly journal: boolean
}

function statusOf(worker: Worker, lifetime: Lifetime, { host, http, journal }: StatusSettings): StatusServer {
  return new StatusServer({
    component: 'worker',
    host,
    port: http,
    obstacle: () => {
      if (lifetime.ending) return 'the worker is stopping'
      if (worker.figures().connections > 0) return undefined
      return `the worker ${journal ? 'cannot read the journal' : 'is not connected to a broker'}`
    },
    metrics: () => workerMetrics(worker.figures()),
  })
}

/**
 * Reads what a worker needs, so that a mistake is told before anything listens.
 *
 * @returns what makes the worker, once it is known where its brokers are
 * @throws UsageError for a backend, state or setting that makes no sense
 */
export async function prepareWorker(
  log: Logger,
  { state: stateUrl, journal, percentiles, ...settings }: Omit<FlushSettings, 'to'>,
  targets: readonly Target[],
): Promise<(brokers: readonly string[], curve: CurveKeys | undefined, shared?: WorkerOptions['settings']) => Worker> {
  const state = openState(stateUrl, {
    journal,
    onDropped: ({ end, bytes, pending }) =>
      log.error(
        { window: end / 1000, bytes, backends: pending },
        'too much waits for backends: the oldest window was dropped',
      ),
    onWarning: (message) => log.warn(message),
  })
  if (!state.durable) {
    log.warn(
      { state: state.name },
      'when this process is killed, the window at hand and what no backend took are lost; --state file:DIR keeps them',
    )
  }
  const options = { ...settings, ...(percentiles === undefined ? {} : { percentiles }), targets, state, log }
  return (brokers, curve, shared = {}) => new Worker({ ...options, brokers, curve, settings: shared })
}

/** Starts a worker as a part of a life that ends when it fails. */
export async function startWorker(lifetime: Lifetime, worker: Worker): Promise<void> {
  lifetime.owns('worker', () => worker.stop())
  await worker.start()
  worker.finished().catch((error: unknown) => lifetime.fail(error))
}

/** What a log line says a worker is doing. */
export function describe({ to, state: stateUrl, journal, group, levels, flush }: FlushSettings): object {
  const state = stateLabel(stateUrl)
  const source = journal ? { journal } : {}
  const common = { to: to.map(({ label }) => label), state, ...source, group, flushSeconds: flush / 1000 }
  return levels === undefined ? common : { ...common, levels }
}
