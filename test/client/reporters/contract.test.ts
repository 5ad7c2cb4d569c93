import { Writable } from 'node:stream'
import { Zibrato } from '../../../client/platform/node.ts'
import {
  HttpReporter,
  type ScheduledReporter,
  StatsdReporter,
  StreamReporter,
  ZibratoReporter,
} from '../../../client/reporters/index.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import { PacketReceiver } from '../../backends/statsd-receiver.ts'
import { parseExposition } from '../../backends/prometheus/parser.ts'
import { reporterContract, scheduledReporterContract } from '../../contract/reporter.ts'
import { until } from '../../until.ts'

type Tree = Record<string, { value?: number; count?: number }>

/** A stream that keeps its lines, and fails when told to. */
class Lines extends Writable {
  readonly lines: string[] = []
  failing = false

  constructor() {
    super({ decodeStrings: false })
  }

  override _write(line: string, _: string, done: (error?: Error) => void): void {
    if (!this.failing) this.lines.push(line)
    // passed on as an error, the stream would be over
    done()
  }

  override write(line: string, done?: unknown): boolean {
    const tell = done as (error?: Error | null) => void
    if (!this.failing) return super.write(line, 'utf8', tell)
    setImmediate(() => tell(new Error('no room')))
    return false
  }
}

/** Waits until a report has failed. */
async function failed(reporter: ScheduledReporter): Promise<void> {
  const before = reporter.errors
  await until(() => reporter.errors > before, 'a report failed')
}

scheduledReporterContract('StreamReporter', (registry) => {
  const stream = new Lines()
  const reporter = new StreamReporter({ registry, stream, interval: 20 })
  return Promise.resolve({
    reporter,
    count: (name) => {
      const last = JSON.parse(stream.lines.at(-1) ?? '{}') as Tree
      return Promise.resolve(last[name]?.value ?? last[name]?.count)
    },
    fail: (record) => {
      stream.failing = true
      record()
      return failed(reporter)
    },
    mend: () => {
      stream.failing = false
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  })
})

reporterContract('HttpReporter', (registry) => {
  const reporter = new HttpReporter(0, { registry })
  const get = async (path: string): Promise<Response> => fetch(new URL(path, reporter.url))
  return Promise.resolve({
    reporter,
    count: async (name) => {
      const stats = (await (await get('/')).json()) as Tree
      const families = parseExposition(await (await get('/metrics')).text(), 'text')
      const value = stats[name]?.value ?? stats[name]?.count
      const sample = families
        .flatMap(({ samples }) => samples)
        .find((each) => each.name === `${name}_total` || each.name === `${name}_seconds_count`)
      return sample?.value === value ? value : undefined
    },
    close: () => Promise.resolve(),
  })
})

scheduledReporterContract('StatsdReporter', async (registry) => {
  const receiver = new PacketReceiver()
  await receiver.listen()
  const reporter = new StatsdReporter({ registry, port: Number(new URL(receiver.url).port), interval: 20 })
  return {
    reporter,
    count: (name) => {
      const added = receiver.lines.filter((line) => line.name === `${name}.value` && line.type === 'c')
      const total = receiver.lines.findLast((line) => line.name === `${name}.total`)
      if (added.length === 0) return Promise.resolve(total === undefined ? undefined : Number(total.value))
      return Promise.resolve(added.reduce((sum, { value }) => sum + Number(value), 0))
    },
    fail: async (record) => {
      await receiver.stop()
      record()
      await failed(reporter)
    },
    mend: () => receiver.listen(),
    close: () => receiver.stop(),
  }
})

scheduledReporterContract('ZibratoReporter', (registry) => {
  const metrics = new MemoryMetrics()
  const z = new Zibrato({ transport: metrics })
  const reporter = new ZibratoReporter({ registry, client: z, interval: 20 })
  return Promise.resolve({
    reporter,
    count: (name) => {
      if (metrics.series().every((series) => series.name !== name)) return Promise.resolve(undefined)
      return Promise.resolve(metrics.sum(name, { type: 'counter' }) || metrics.count(name))
    },
    // what a client does without a connection is its transports' concern
    fail: (record) => Promise.resolve(record()),
    mend: () => Promise.resolve(),
    close: () => z.close(),
  })
})
