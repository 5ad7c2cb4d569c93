import { UsageError } from '../errors.ts'
import { sendPackets } from '../packets.ts'
import { pacer } from '../pace.ts'
import { PERCENTILES, type SeriesStats } from '../registry/stats.ts'
import { type NameStyle, gaugeLine, identityOf, milliseconds } from '../statsd.ts'
import type { Series } from '../wire/series.ts'
import { ScheduledReporter, type ScheduledOptions } from './scheduled.ts'

/** An Ethernet frame less the headers of IPv6, UDP and a tunnel, as statsd's documentation advises. */
const MTU = 1432
const RATES = ['m1', 'm5', 'm15'] as const
const SPREAD = ['min', 'max', 'mean', 'stddev', ...Object.keys(PERCENTILES)] as readonly (
  | 'min'
  | 'max'
  | 'mean'
  | 'stddev'
  | keyof typeof PERCENTILES
)[]

export interface StatsdReporterOptions extends ScheduledOptions {
  /** Default 127.0.0.1. */
  readonly host?: string | undefined
  /** Default 8125. */
  readonly port?: number | undefined
  /** Begins every name, and ends with its own dot if it is to have one: `'app.'`. */
  readonly prefix?: string | undefined
  /** Tags as parts of the name (`name.key.value`), as DogStatsD's (`#key:value`), or not at all. Default `name`. */
  readonly tags?: NameStyle['tags'] | undefined
  /** Bytes of a packet at the most. Default 1432. */
  readonly mtu?: number | undefined
}

/** A line, and what it tells of a counter for good. */
interface Unit {
  readonly text: string
  readonly series?: Series
  readonly total?: number
}

/**
 * Sends numbers to a StatsD server over UDP, under the names that Tapes gave them (percentiles are `p50`, where Tapes said
 * `q50`):
 *
 * | instrument | lines |
 * | --- | --- |
 * | counter | `<name>.value` as a count: what was added since the last report |
 * | gauge, unique | `<name>.value` as a gauge |
 * | meter | `<name>.total` as a gauge; `.m1_rate .m5_rate .m15_rate` as timings |
 * | histogram | `<name>.total` as a gauge; `.min .max .mean .stddev .p50 ... .p999` as timings |
 * | timer | a meter's and a histogram's, the latter in milliseconds |
 *
 * What cannot be handed over, because nobody listens, is told with the next report. UDP loses the rest without a word.
 */
export class StatsdReporter extends ScheduledReporter {
  readonly #host: string
  readonly #port: number
  readonly #mtu: number
  readonly #style: NameStyle
  /** What the server was told of each counter. */
  #told = new WeakMap<Series, number>()

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: StatsdReporterOptions = {}) {
    super(options)
    const { host = '127.0.0.1', port = 8125, mtu = MTU, prefix = '', tags = 'name' } = options
    if (!(Number.isInteger(port) && port > 0 && port < 65_536)) {
      throw new UsageError(`StatsdReporter: port ${port} is none; give one from 1 to 65535`)
    }
    if (!(mtu >= 64 && mtu <= 65_000)) throw new UsageError(`StatsdReporter: mtu ${mtu} must lie from 64 to 65000`)
    if (!['name', 'dogstatsd', 'drop'].includes(tags)) {
      throw new UsageError(`StatsdReporter: tags ${JSON.stringify(tags)} is none of name, dogstatsd and drop`)
    }
    this.#host = host
    this.#port = port
    this.#mtu = mtu
    this.#style = { prefix, tags }
  }

  async report(signal: AbortSignal): Promise<void> {
    const breathe = pacer()
    const units: Unit[] = []
    for (const each of this.registry.series()) {
      units.push(...this.#units(each))
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    let noted = 0
    await sendPackets(
      units.map(({ text }) => text),
      {
        name: 'StatsdReporter',
        label: `${this.#host}:${this.#port}`,
        host: this.#host,
        port: this.#port,
        mtu: this.#mtu,
        signal,
        onSent: (count) => {
          for (; noted < count; noted++) {
            const { series, total } = units[noted] as Unit
            if (series !== undefined && total !== undefined) this.#told.set(series, total)
          }
        },
      },
    )
  }

  *#units({ type, series, stats }: SeriesStats): Generator<Unit> {
    const [name, tags] = identityOf(series, this.#style)
    switch (type) {
      case 'counter': {
        const total = stats.value
        const added = total - (this.#told.get(series) ?? 0)
        if (added !== 0) yield { text: `${name}.value:${added}|c${tags}`, series, total }
        return
      }
      case 'gauge':
      case 'set':
        if (!Number.isNaN(stats.value)) yield { text: gaugeLine(`${name}.value`, stats.value, tags) }
        return
      default:
        yield { text: gaugeLine(`${name}.total`, stats.count, tags) }
    }
    const timing = (what: string, value: number): Unit => ({ text: `${name}.${what}:${value}|ms${tags}` })
    if (type !== 'histogram') for (const rate of RATES) yield timing(`${rate}_rate`, stats[rate])
    if (type === 'meter' || Number.isNaN(stats.mean)) return
    for (const figure of SPREAD) yield timing(figure, type === 'timer' ? milliseconds(stats[figure]) : stats[figure])
  }
}
