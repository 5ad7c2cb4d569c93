import { durationMs } from '../duration.ts'
import { UsageError } from '../errors.ts'
import type { Closable, Every, Platform, Sealing, ZibratoOptions } from '../options.ts'
import { givenDefaults } from '../registry/given.ts'
import { Recorder } from '../registry/recorder.ts'
import { closeOnExit } from './exit.ts'
import { tell } from './warnings.ts'

/** What is the same wherever there is a process of Node. */
export const ofProcess: Pick<Platform, 'sink' | 'lingerMs' | 'closeTimeoutMs'> = {
  sink: tell,
  lingerMs: 0,
  closeTimeoutMs: 5_000,
}

/** What a client takes of a registry that it publishes, and the defaults where it has none. */
export function withRegistry(env: (name: string) => string | undefined): Pick<Platform, 'defaults' | 'recorder'> {
  return {
    defaults(options) {
      const { registry } = options
      if (registry === undefined) return givenDefaults('Zibrato', options, env)
      for (const name of ['level', 'source', 'tags', 'maxSeries', 'clock'] as const) {
        if (options[name] !== undefined) {
          throw new UsageError(`Zibrato: ${name} belongs to the registry; give it to new Registry({ ${name} }) instead`)
        }
      }
      return registry.defaults
    },
    recorder(outlet, { registry }, client) {
      try {
        return registry?.publishTo({ ...outlet, seal: () => client.seal() }) ?? new Recorder(outlet)
      } catch (error) {
        void client.transport.close(0)
        throw error
      }
    },
  }
}

/** What a client does by itself where there are timers or an end of the program to be told of. */
export function started(
  client: Sealing & Closable,
  { flushInterval = 5_000, exitHooks, transport, registry }: ZibratoOptions,
  { every, outOfWork }: { readonly every?: Every | undefined; readonly outOfWork: boolean },
): () => void {
  // at 0 the timer still serves gauges that are observed or say their value again
  const stopTimer = every?.(durationMs(flushInterval) || 5_000, () => client.seal())
  const forget = exitHooks === false || transport !== undefined ? undefined : closeOnExit(client, { outOfWork })
  return () => {
    stopTimer?.()
    forget?.()
    registry?.release()
  }
}
