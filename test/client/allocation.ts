import { MemoryTransport } from '../../client/transport/memory.ts'
import { Zibrato } from '../../client/platform/node.ts'

/** Prints, for each way to record on a kept handle, the bytes that a million calls leave on the heap before any collection. */
const z = new Zibrato({ transport: new MemoryTransport(), flushInterval: '1h' })
const counter = z.counter('counter')
const labelled = z.counter('labelled')
const meter = z.meter('meter')
const gauge = z.gauge('gauge')
const timer = z.timer('timer')
const histogram = z.histogram('histogram')
labelled.with({ route: '/pay', status: 200 })
const tags = { route: '/pay', status: 200 }
const shot = { type: 'counter', name: 'shot', value: 1, tags } as const

const ways: Record<string, (index: number) => void> = {
  inc: () => counter.inc(),
  'inc by a fraction': (index) => counter.inc(index + 0.5),
  dec: () => counter.dec(2),
  'with tags that are kept': () => labelled.with(tags).inc(),
  mark: () => meter.mark(3),
  set: (index) => gauge.set(index),
  'record a time': (index) => timer.record((index % 1000) / 7),
  'record ms': (index) => timer.recordMs(index % 1000),
  'record a value': (index) => histogram.record(index % 5000),
  'record one shot': () => z.record(shot),
}

function run(way: (index: number) => void, times: number): void {
  for (let index = 0; index < times; index++) way(index)
}

const collect = (globalThis as unknown as { gc: () => void }).gc
const bytes: Record<string, number> = {}
for (const [name, way] of Object.entries(ways)) {
  for (let round = 0; round < 5; round++) run(way, 100_000)
  collect()
  const before = process.memoryUsage().heapUsed
  run(way, 1_000_000)
  bytes[name] = process.memoryUsage().heapUsed - before
}
process.stdout.write(JSON.stringify(bytes))
