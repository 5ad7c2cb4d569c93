import { Broker } from '../../gateway/broker/index.ts'
import { hostAndPort } from '../../gateway/listen/address.ts'
import type { Invocation } from './command.ts'
import { CURVE_WAY_OUT, FIGURES_WAY_OUT, refuseExposed } from './exposure.ts'
import { type JournalSettings, createJournal, startJournal } from './journal.ts'
import { Lifetime } from './lifetime.ts'
import { createLog } from './log.ts'
import { StatusServer } from './status.ts'

export interface BrokerSettings extends JournalSettings {
  readonly host: string
  readonly port: number
  readonly http: number | undefined
  readonly insecure: boolean
  readonly curveSecretKey: string | undefined
  readonly grace: number
  readonly logLevel: string
}

/** `zibrato broker`. */
export async function run({ settings }: Invocation<BrokerSettings>): Promise<number> {
  const { host, port, http, insecure, curveSecretKey, grace } = settings
  await refuseExposed(host, insecure, [
    { name: 'the broker', port, isProtected: curveSecretKey !== undefined, wayOut: CURVE_WAY_OUT },
    { name: 'its figures', port: http ?? 0, isProtected: http === undefined, wayOut: FIGURES_WAY_OUT },
  ])
  const log = await createLog(settings.logLevel)
  const journal = createJournal(log, settings)
  const broker = new Broker({
    host,
    port,
    insecure,
    ...(curveSecretKey === undefined ? {} : { curveSecretKey }),
    ...(journal === undefined ? {} : { journal }),
    onWarning: (message) => log.warn(message),
  })
  const lifetime = new Lifetime(log, grace)
  return lifetime.run(async () => {
    await startJournal(lifetime, journal)
    lifetime.owns('broker', () => broker.stop({ graceMs: grace }))
    await broker.start()
    const addresses = { broker: addressesOf(host, broker) }
    if (http === undefined) {
      log.info(addresses, 'listening')
      return
    }
    const metrics = (): string => broker.metrics()
    const obstacle = (): string | undefined => journal?.obstacle?.message
    const status = new StatusServer({ component: 'broker', host, port: http, obstacle, metrics })
    lifetime.owns('status', () => status.stop())
    await status.start()
    log.info({ ...addresses, http: status.url }, 'listening')
  })
}

/** Where publishers and subscribers of a broker connect. */
export function addressesOf(host: string, broker: Broker): { publishers: string; subscribers: string } {
  return {
    publishers: `tcp://${hostAndPort(host, broker.port)}`,
    subscribers: `tcp://${hostAndPort(host, broker.subscribersPort)}`,
  }
}
