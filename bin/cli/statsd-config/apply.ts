import type { StatsdSource } from '../../../gateway/statsd.ts'
import { UsageError } from '../../../client/errors.ts'
import type { Origin } from '../command.ts'
import { variableOf } from '../flag.ts'
import type { Logger } from '../log.ts'
import type { StatsdConfig, StatsdServer } from '../statsd-config.ts'
import type { StatsdPlan, StatsdSettings } from '../statsd.ts'
import type { FlushSettings } from '../worker.ts'

/** The settings that a statsd configuration has something to say about. */
type Touched = Pick<FlushSettings, 'flush' | 'to' | 'idle'> & StatsdSettings & { readonly logLevel: string }

/** Flags, the setting of the file that each goes before, and what it is called here. */
const BEFORE = [
  ['flush', 'flush', 'flushInterval'],
  ['to', 'to', 'backends'],
  ['idle', 'idle', 'deleteIdleStats and what else is of that kind'],
  ['udp', 'udp', 'the port and address of UDP'],
  ['tcp', 'tcp', 'the port and address of TCP'],
  ['unix', 'unix', 'socket'],
] as const

export interface AppliedStatsdConfig<Settings> {
  /** With what the file says where nobody said anything else. */
  readonly settings: Settings
  /** Adds the file's servers to a plan made from these settings. */
  readonly planned: (plan: StatsdPlan) => StatsdPlan
  /** Names, a line each, what is not honoured and what goes before the file. */
  readonly tell: (log: Logger) => void
}

/**
 * What `up` is told, with what a configuration of statsd says in place of what neither flags, environment nor config say.
 *
 * @throws UsageError when nobody names a backend
 */
export function applyStatsdConfig<Settings extends Touched>(
  settings: Settings,
  origins: Readonly<Record<keyof Touched, Origin>>,
  file: StatsdConfig,
): AppliedStatsdConfig<Settings> {
  const isSaid = (name: keyof Touched): boolean => origins[name] !== 'default'
  if (file.to.length === 0 && !isSaid('to')) {
    throw new UsageError(
      '--statsd-config: the file names no backend that is known here; set graphiteHost, or give --to URL',
    )
  }
  const flush = isSaid('flush') ? settings.flush : file.flush
  const servers = file.servers.filter(({ kind }) => !isSaid(kind))
  return {
    settings: {
      ...settings,
      flush,
      to: isSaid('to') ? settings.to : file.to,
      idle: isSaid('idle') ? settings.idle : file.idle,
      // the file's servers stand in the plan
      udp: isSaid('udp') ? settings.udp : undefined,
      logLevel: file.debug && !isSaid('logLevel') ? 'debug' : settings.logLevel,
    },
    planned: (plan) => ({
      ...plan,
      listeners: [...plan.listeners, ...servers.map((server) => sourceOf(server, settings))],
      insecure: true,
      sanitize: file.sanitize,
      // some times in a window, so that each has them
      ...(file.prefixStats === ''
        ? {}
        : { figures: { prefix: file.prefixStats, everyMs: Math.min(1_000, flush / 4) } }),
      ...(servers.some(isOpen)
        ? {
            note: 'as with statsd, whoever reaches the port can send; "address" in its configuration says where that is',
          }
        : {}),
    }),
    tell: (log) => {
      for (const { setting, line, reason } of file.notes) {
        log.warn({ setting, line }, `statsd configuration: ${setting} is not honoured: ${reason}`)
      }
      for (const [name, flag, setting] of BEFORE) {
        if (!isSaid(name)) continue
        const { [name]: origin } = origins
        const place =
          origin === 'flag'
            ? `--${flag}`
            : origin === 'environment'
              ? variableOf({ name: flag })
              : `"${flag}" of --config`
        log.info(`statsd configuration: ${place} goes before ${setting}`)
      }
    },
  }
}

function sourceOf(server: StatsdServer, { udpBuffer, unixMode }: StatsdSettings): StatsdSource {
  const { kind, host, port } = server
  if (kind === 'unix') return { kind, path: host, mode: server.mode ?? unixMode }
  return kind === 'udp' && udpBuffer !== undefined ? { kind, host, port, bufferBytes: udpBuffer } : { kind, host, port }
}

function isOpen({ kind, host }: StatsdServer): boolean {
  return kind !== 'unix' && !/^(127\.|::1$|localhost$)/.test(host)
}
