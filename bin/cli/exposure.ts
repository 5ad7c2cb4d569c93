import { UsageError } from '../../client/errors.ts'
import { hostAndPort, resolveListenHost } from '../../gateway/listen/address.ts'

/** What protects a broker, a gateway, and figures, which nothing does. */
export const CURVE_WAY_OUT = 'give --curve-secret-key $VAR or a file'
export const TOKENS_WAY_OUT = 'give --token NAME=$VAR or --tokens FILE'
export const FIGURES_WAY_OUT = 'leave it out with --http off'

/** A listener to be: what it is called, and what would protect it. */
export interface Listener {
  readonly name: string
  readonly port: number
  readonly isProtected: boolean
  /** Flags that would protect it. */
  readonly wayOut: string
}

/**
 * Refuses, before anything is opened, listeners that others could reach without being asked who they are.
 *
 * @throws UsageError naming the first of them and the ways out, or that the host is none
 */
export async function refuseExposed(host: string, insecure: boolean, listeners: readonly Listener[]): Promise<void> {
  const { loopback } = await resolveListenHost('--host', host)
  if (loopback || insecure) return
  for (const { name, port, isProtected, wayOut } of listeners) {
    if (isProtected) continue
    throw new UsageError(
      `--host ${host}: ${name} at ${hostAndPort(host, port)} would be open to others; ${wayOut}, or say --insecure`,
    )
  }
}
