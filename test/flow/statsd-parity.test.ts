import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Carbon } from '../backends/carbon.ts'
import { logged, start } from '../bin/cli.ts'
import { MIXED_RATES, RARE, statsdPackets } from '../fixtures/statsd-lines/generate.ts'
import { until } from '../until.ts'
import { Playground } from './processes.ts'
import { freePorts, packetsOfStatsd, replay, startStatsd } from './statsd-daemon.ts'

/** Values by name. */
type Figures = ReadonlyMap<string, number>

/** What was sent to Graphite, by time, and the names of what the sender tells of its last flush. */
interface Outcome {
  /** Whether all packets were sent. */
  readonly whole: boolean
  readonly flushes: readonly Figures[]
  readonly own: readonly string[]
}

// they have the time of sending, or say how long something took
const OWN = /\.graphiteStats\.|\.processing_time(\.host)?$/
const LAST_OF_FLUSH = /\.graphiteStats\.flush_length/
// what says something though nothing came
const LASTING = /(^|\.)(g|gauges\..*|numStats|timestamp_lag)(\.host)?$/

/** Ports, a configuration file that says them, and a double of carbon. */
class Stage implements AsyncDisposable {
  readonly #ground = new Playground()
  readonly #carbon = new Carbon()
  readonly #flushMs: number
  #ports = { udp: 0, tcp: 0 }

  constructor(flushMs: number) {
    this.#flushMs = flushMs
  }

  /** @param settings of the configuration file, beside hosts, ports and the interval */
  async prepare(settings: string): Promise<this> {
    this.#ports = await freePorts()
    await this.#carbon.listen()
    const { udp, tcp } = this.#ports
    const text = `/* statsd and zibrato read this */ {
      port: ${udp}, address: '127.0.0.1', mgmt_port: ${tcp}, mgmt_address: '127.0.0.1',
      graphiteHost: "127.0.0.1", graphitePort: ${this.#carbon.port}, // a double
      flushInterval: ${this.#flushMs}, ${settings},
    }`
    writeFileSync(join(this.#ground.folder, 'config.js'), text)
    return this
  }

  /** The real one. @param count flushes to wait for, from the first with data on */
  async statsd(packets: readonly Buffer[], count: number): Promise<Outcome> {
    const program = await startStatsd(this.#ground, 'config.js', this.#ports.tcp)
    // it tells a little less in its first flush
    if (count > 1) await until(() => this.#ended > 0, 'statsd has flushed once')
    const whole = await replay(packets, this.#ports.udp, () => packetsOfStatsd(this.#ports.tcp))
    await this.#flushed(count)
    await program.stop()
    return this.#taken(whole)
  }

  /** Ours. @param count as above, where 1 is the one that it sends when it is stopped */
  async zibrato(packets: readonly Buffer[], count: number): Promise<Outcome> {
    const args = ['up', '--statsd-config', 'config.js', '--port', '0', '--http', '0', '--state', 'memory:']
    // the port is the file's
    const program = start(this.#ground, args, { ZIBRATO_UDP: '' })
    await program.output(({ stdout }) => (stdout.includes('server is up') ? true : undefined), 'server is up')
    const { http } = (await logged(program, 'listening')) as { http: string }
    await until(() => Date.now() % this.#flushMs < this.#flushMs / 4, 'a window begins')
    const whole = await replay(packets, this.#ports.udp, () => packetsOfZibrato(http))
    if (count > 1) await this.#flushed(count)
    const code = await program.stop()
    if (code !== 0) throw new Error(`zibrato ended with ${code}: ${program.stderr}`)
    return this.#taken(whole)
  }

  get #ended(): number {
    return this.#carbon.texts.filter((text) => LAST_OF_FLUSH.test(text)).length
  }

  #flushed(count: number): Promise<void> {
    const isOver = (): boolean => {
      const first = this.#flushes().findIndex(isActive)
      return first >= 0 && this.#ended >= first + count
    }
    return until(isOver, `${count} flushes have come`, 40_000)
  }

  #flushes(): Figures[] {
    const flushes = new Map<number, Map<string, number>>()
    for (const { path, value, time } of this.#carbon.points.values()) {
      if (OWN.test(path)) continue
      let figures = flushes.get(time)
      if (figures === undefined) flushes.set(time, (figures = new Map()))
      figures.set(path, value)
    }
    return [...flushes].sort(([left], [right]) => left - right).map(([, figures]) => figures)
  }

  #taken(whole: boolean): Outcome {
    const { points, bad, texts } = this.#carbon
    if (bad.length > 0) throw new Error(`carbon would refuse ${bad.length} lines, such as: ${String(bad[0])}`)
    const flushes = this.#flushes()
    const own = new Set([...points.values()].map(({ path }) => path).filter((path) => OWN.test(path)))
    points.clear()
    texts.length = 0
    return { whole, flushes, own: [...own].sort() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ground[Symbol.asyncDispose]()
    await this.#carbon.stop()
  }
}

test('100,000 lines of all types give the same lines for Graphite as in statsd 0.9, with the same file', async () => {
  await using stage = await new Stage(5_000).prepare('percentThreshold: [90, 50, -10, 99.9]')
  const packets = statsdPackets({ lines: 100_000, seed: 20_110_215 })
  const real = await fromOneFlush(1, () => stage.statsd(packets, 1))
  const ours = await fromOneFlush(1, () => stage.zibrato(packets, 1))
  const [wanted = new Map<string, number>()] = real.flushes
  const [got = new Map<string, number>()] = ours.flushes

  expect(wanted.size).toBeGreaterThan(5_000)
  expect(wanted.get('stats_counts.statsd.packets_received')).toBe(packets.length)
  expect(ours.own).toEqual(real.own)
  expect(missing(wanted, got)).toEqual([])
  // statsd knows it from its second flush on
  expect(missing(got, wanted)).toEqual(['stats.gauges.statsd.timestamp_lag'])
  const numStats = (wanted.get('statsd.numStats') as number) + 1
  expect(differences(new Map([...wanted, ['statsd.numStats', numStats]]), got)).toEqual([])
}, 180_000)

test('what is idle is sent as in statsd 0.9, and so are names, histograms and chosen figures', async () => {
  const texts = ['a:3|c', 't:12.5|ms\nt:20|ms|@0.5\ng:7|g', 'g:+1|g\ns:x|s\ns:y|s', 'tag:1|c|#k:v', 'bad']
  const packets = texts.map((text) => Buffer.from(text))
  const settings = [
    'percentThreshold: []',
    'deleteIdleStats: true, gaugesMaxTTL: 3, prefixStats: "statsd.self", flush_counts: false',
    'deleteCounters: true, deleteGauges: true, graphite: { legacyNamespace: false, globalSuffix: "host" }',
    `deleteTimers: true, deleteSets: true, histogram: [{ metric: "t", bins: [13, 'inf'] }],
     graphite: { legacyNamespace: false, globalPrefix: '', prefixCounter: 'c', prefixTimer: 't', prefixGauge: '' }`,
    'calculatedTimerMetrics: ["count", "upper_percent", "median"]',
  ]
  const outcomes = settings.map(async (each) => {
    await using one = await new Stage(2_000).prepare(each)
    await using other = await new Stage(2_000).prepare(each)
    const [real, ours] = await Promise.all([
      fromOneFlush(4, () => one.statsd(packets, 4)),
      fromOneFlush(4, () => other.zibrato(packets, 4)),
    ])
    return { real, ours }
  })
  for (const { real, ours } of await Promise.all(outcomes)) expect(ours).toEqual(real)
}, 180_000)

/**
 * Plays until all that came was in one flush, and answers so many flushes from that one on. When a window ended in between,
 * the two cannot be compared.
 */
async function fromOneFlush(count: number, play: () => Promise<Outcome>): Promise<Outcome> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { whole, flushes, own } = await play()
    const from = flushes.findIndex(isActive)
    const isOne = from >= 0 && from === flushes.findLastIndex(isActive)
    if (whole && isOne && flushes.length >= from + count) {
      return { whole, flushes: flushes.slice(from, from + count), own }
    }
  }
  throw new Error('no window held all packets, in five attempts')
}

/** Whether anything came in its window. */
function isActive(figures: Figures): boolean {
  return [...figures].some(([name, value]) => value !== 0 && !LASTING.test(name))
}

function missing(from: Figures, others: Figures): string[] {
  return [...from.keys()].filter((name) => !others.has(name))
}

/** In words, those of more than there may be. */
function differences(wanted: Figures, got: Figures): string[] {
  return [...wanted].flatMap(([name, value]) => {
    const other = got.get(name) as number
    const off = Math.abs(other - value) / Math.max(Math.abs(value), 1e-6)
    return off <= toleranceOf(name) ? [] : [`${name} is ${other} instead of ${value}, off by ${off}`]
  })
}

function toleranceOf(name: string): number {
  if (/^stats\.(gauges|sets)\./.test(name)) return 0
  const [, series = '', figure = ''] = /^stats\.timers\.(.*)\.(.*?)$/.exec(name) ?? []
  if (series.startsWith(RARE) || figure.startsWith('count')) return 0
  const isSum = ['', 'sum', 'sum_squares', 'mean', 'std', 'upper', 'lower'].includes(figure)
  // fractions were added up in another order
  if (isSum) return 1e-9
  // of values with several rates, each weighs as much as it stands for
  return series.startsWith(MIXED_RATES) ? Infinity : 0.01
}

async function packetsOfZibrato(http: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', http))).text()
  return Number(/^zibrato_gateway_statsd_packets_total (\d+)$/m.exec(text)?.[1])
}
