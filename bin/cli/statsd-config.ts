import { readFileSync } from 'node:fs'
import { type BackendUrl, parseBackendUrl } from '../../backends/url.ts'
import type { IdleWindows } from '../../backends/worker/index.ts'
import { UsageError } from '../../client/errors.ts'
import { parseConstants } from './statsd-config/constants.ts'
import { graphiteUrl } from './statsd-config/graphite.ts'
import { notHonoured } from './statsd-config/not-honoured.ts'
import { type Note, SettingsReader } from './statsd-config/reader.ts'
import { type StatsdServer, readServers } from './statsd-config/servers.ts'

export type { Note, StatsdServer }

/** What a configuration file of statsd 0.9 asks for, in the words of this command line. */
export interface StatsdConfig {
  /** ms */
  readonly flush: number
  /** Where it would send; none when it names no backend that is known here. */
  readonly to: readonly BackendUrl[]
  readonly idle: IdleWindows
  readonly servers: readonly StatsdServer[]
  /** Whether names are cleaned as they come (`keyNameSanitize`). */
  readonly sanitize: boolean
  /** What the names of statsd's figures about itself begin with; empty for none. */
  readonly prefixStats: string
  readonly debug: boolean
  /** What is not honoured, in the order of the file. */
  readonly notes: readonly Note[]
}

const FLUSH_MS = 10_000
const LONGEST_MS = 86_400_000
/** statsd repeats what is idle until it is restarted; a restart here forgets nothing, so something else must. */
const IDLE_MS = 30 * 86_400_000

/**
 * Reads a configuration file of statsd.
 *
 * @throws UsageError with the place of what makes no sense or would have to be executed, and the way out
 */
export function readStatsdConfig(path: string): StatsdConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new UsageError(`--statsd-config: ${path} cannot be read (${code}); name a configuration file of statsd`, {
      cause,
    })
  }
  try {
    return statsdConfig(text, path)
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause
    throw new UsageError(`--statsd-config: ${cause.message}`, { cause })
  }
}

/** {@link readStatsdConfig} of a text. @param file named in errors */
export function statsdConfig(text: string, file: string): StatsdConfig {
  const reader = new SettingsReader(file, parseConstants(text, file))
  // 0 and such stand for the default, as in statsd
  const flush = reader.number('flushInterval', { min: 0, max: LONGEST_MS }) || FLUSH_MS
  if (flush < 100) {
    throw new UsageError(`${file}: flushInterval ${flush} is in milliseconds and must be 100 or more; raise it`)
  }
  const prefixStats = reader.text('prefixStats') ?? 'statsd'
  const sanitize = reader.flag('keyNameSanitize') ?? true
  const servers = readServers(reader)
  const to = readBackends(reader, { prefixStats, sanitize })
  const idle = readIdle(reader, flush)
  const debug = reader.flag('debug') ?? false
  notHonoured(reader)
  const notes = reader.notes.toSorted((left, right) => left.line - right.line || left.column - right.column)
  return { flush, to, idle, servers, sanitize, prefixStats, debug, notes }
}

function readBackends(
  reader: SettingsReader,
  { prefixStats, sanitize }: { readonly prefixStats: string; readonly sanitize: boolean },
): BackendUrl[] {
  // asked for whether or not it is used, so that its settings are known
  const graphite = graphiteUrl(reader, { prefixStats, sanitize })
  const urls = new Set<string>()
  const unknown: string[] = []
  for (const name of reader.texts('backends') ?? ['./backends/graphite']) {
    const [, known] = /^\.\/backends\/(graphite|console|repeater)(?:\.js)?$/.exec(name) ?? []
    if (known === 'graphite' && graphite !== undefined) urls.add(graphite)
    // statsd prints all of it
    else if (known === 'console') urls.add('console:?rows=all')
    else if (known === undefined) unknown.push(name)
  }
  if (unknown.length > 0) {
    const names = unknown.map((name) => JSON.stringify(name)).join(', ')
    reader.note('backends', `${names}: backends of statsd cannot be loaded; see which --to there are, and give one`)
  }
  return [...urls].map((url) => parseBackendUrl(url, {}))
}

/** Windows after the last with data in which a series is emitted still. */
function readIdle(reader: SettingsReader, flushMs: number): IdleWindows {
  const all = reader.flag('deleteIdleStats') ?? false
  const lasting = Math.ceil(IDLE_MS / flushMs)
  const windowsOf = (name: string): number => ((reader.flag(name) ?? all) ? 0 : lasting)
  const timer = windowsOf('deleteTimers')
  const gauge = windowsOf('deleteGauges')
  const cycles = reader.number('gaugesMaxTTL', { min: -Infinity, max: Infinity }) ?? 1
  return {
    counter: windowsOf('deleteCounters'),
    timer,
    histogram: timer,
    set: windowsOf('deleteSets'),
    // the first of its cycles is the window with data
    gauge: gauge > 0 || !(Number.isInteger(cycles) && cycles > 1) ? gauge : cycles - 1,
  }
}
