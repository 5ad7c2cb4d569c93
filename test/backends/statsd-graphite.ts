import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import { until } from '../until.ts'
import { Carbon, type Point } from './carbon.ts'

const require = createRequire(import.meta.url)

/** What statsd has counted, by key, in milliseconds. */
export interface Counted {
  readonly counters: Readonly<Record<string, number>>
  /** Values and what each weighs. */
  readonly timers: Readonly<Record<string, readonly (readonly [ms: number, weight: number])[]>>
  readonly gauges: Readonly<Record<string, number>>
  readonly sets: Readonly<Record<string, readonly string[]>>
}

interface StatsdSet {
  insert(member: string): void
}

/** What statsd 0.9 itself sends for these settings: its own code for figures and for Graphite, before a carbon. */
export async function sentByStatsd(
  config: object,
  flushInterval: number,
  time: number,
  counted: Counted,
): Promise<Point[]> {
  const { process_metrics: processMetrics } = require('statsd/lib/process_metrics.js') as {
    process_metrics: (...args: unknown[]) => void
  }
  const { Set: Members } = require('statsd/lib/set.js') as { Set: new () => StatsdSet }
  // settings are global in it, and names pile up when it is set up twice
  const path = require.resolve('statsd/backends/graphite.js')
  delete require.cache[path]
  const backend = require(path) as { init: (...args: unknown[]) => boolean }
  const carbon = new Carbon()
  await carbon.listen()
  try {
    const events = new EventEmitter()
    const full = { ...config, flushInterval, graphiteHost: carbon.host, graphitePort: carbon.port }
    backend.init(time, full, events, console)
    const { calculatedTimerMetrics, percentThreshold = [90], histogram } = config as Readonly<Record<string, unknown>>
    const metrics = {
      counters: { ...counted.counters },
      gauges: { ...counted.gauges },
      timers: mapped(counted.timers, (values) => values.map(([ms]) => ms)),
      timer_counters: mapped(counted.timers, (values) => values.reduce((sum, [, weight]) => sum + weight, 0)),
      sets: mapped(counted.sets, (members) => {
        const set = new Members()
        for (const member of members) set.insert(member)
        return set
      }),
      pctThreshold: percentThreshold,
      histogram,
    }
    processMetrics(metrics, calculatedTimerMetrics, flushInterval, time, (processed: unknown) =>
      events.emit('flush', time, processed),
    )
    await until(() => carbon.texts[0]?.includes('graphiteStats.flush_length') === true, 'statsd has flushed')
    await until(() => carbon.texts[0]?.endsWith('\n') === true, 'statsd has flushed all')
    if (carbon.bad.length > 0) throw carbon.bad[0] as Error
    return [...carbon.points.values()]
  } finally {
    await carbon.stop()
  }
}

function mapped<From, To>(record: Readonly<Record<string, From>>, map: (from: From) => To): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}
