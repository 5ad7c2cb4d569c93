import { ManualClock } from '../../client/clock.ts'
import { Sum, createAggregate, mergeAggregate } from '../../client/sketch/aggregate.ts'
import type { Aggregate } from '../../client/sketch/aggregate.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { Gauge } from '../../client/sketch/gauge.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { decodeFrame } from '../../client/wire/frame.ts'
import { TYPE_CODE } from '../../client/wire/series.ts'
import { StatsdIntake, type StatsdOptions } from '../../gateway/ingest/statsd.ts'

/** What a series came to, in a form to compare. */
export interface Outcome {
  /** Of a counter, meter, timer or histogram. */
  sum?: number
  /** Of a gauge, timer, histogram or set: values, weighted, or distinct members. */
  count?: number
  min?: number
  max?: number
  /** Values of a timer or histogram as long as it keeps them, ascending. */
  values?: number[]
  /** [ms, value] of a gauge. */
  readings?: [number, number][]
}

/** An intake whose ring and clock are in the test's hands. */
export class StatsdHarness {
  readonly clock: ManualClock = new ManualClock()
  readonly frames: SealedFrame[] = []
  readonly warnings: string[] = []
  full = false
  /** Whether the ring refuses although it is not full. */
  refuses = false
  readonly intake: StatsdIntake

  constructor(options: Partial<StatsdOptions> = {}) {
    this.intake = new StatsdIntake({
      offer: (frames) => {
        if (this.refuses) return false
        this.frames.push(...frames)
        return true
      },
      full: () => this.full,
      onWarning: (message) => this.warnings.push(message),
      now: () => this.clock.now(),
      every: () => () => {},
      ...options,
    })
  }

  send(...lines: string[]): void {
    this.intake.packet(Buffer.from(lines.join('\n')))
  }

  /** Everything offered so far, by `type name key=value ...`. */
  taken(): Record<string, Outcome> {
    const merged = new Map<string, Aggregate>()
    for (const { bytes } of this.frames) {
      for (const { series, aggregate } of decodeFrame(bytes).entries) {
        const tags = Object.entries(series.tags).map(([key, value]) => ` ${key}=${value}`)
        const id = `${series.type} ${series.name}${tags.join('')}`
        const into = merged.get(id) ?? createAggregate(TYPE_CODE[series.type])
        mergeAggregate(into, aggregate)
        merged.set(id, into)
      }
    }
    return Object.fromEntries([...merged.keys()].sort().map((id) => [id, outcomeOf(merged.get(id) as Aggregate)]))
  }

  /** What these lines come to, in an intake of their own. */
  static outcome(lines: string | readonly string[], options?: Partial<StatsdOptions>): Record<string, Outcome> {
    const harness = new StatsdHarness(options)
    harness.send(...[lines].flat())
    harness.intake.close()
    return harness.taken()
  }
}

function outcomeOf(aggregate: Aggregate): Outcome {
  if (aggregate instanceof Sum) return { sum: aggregate.value }
  if (aggregate instanceof Gauge) {
    const { count, min, max } = aggregate
    const readings = aggregate.readings().map(([timeMs, value]): [number, number] => [timeMs, unsignedZero(value)])
    return { count, min: unsignedZero(min), max: unsignedZero(max), readings }
  }
  if (!(aggregate instanceof Distribution)) return { count: aggregate.size }
  const { count, sum } = aggregate
  const values = [...aggregate.values].map(unsignedZero).sort((a, b) => a - b)
  const min = unsignedZero(aggregate.min)
  const max = unsignedZero(aggregate.max)
  return { count, sum, min, max, ...(aggregate.sketched ? {} : { values }) }
}

/** The sign of a zero tells nothing apart here. */
function unsignedZero(value: number): number {
  return value + 0
}
