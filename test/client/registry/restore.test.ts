import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../client/clock.ts'
import { Zibrato } from '../../../client/platform/node.ts'
import { Registry } from '../../../client/registry/index.ts'
import { MemoryTransport } from '../../../client/transport/memory.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'

const value = fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.double({ min: -1e9, max: 1e9, noNaN: true }))
const event = fc.record({
  what: fc.constantFrom('counter', 'meter', 'timer', 'histogram', 'unique', 'last', 'sum', 'max'),
  route: fc.constantFrom(undefined, 'a', 'b'),
  value,
  times: fc.constantFrom(1, 1, 1, 100),
  /** Whether another process recorded it. */
  remote: fc.boolean(),
  passes: fc.constantFrom(0, 0, 1_000, 70_000),
})
type Event = typeof event extends fc.Arbitrary<infer Value> ? Value : never

function record(on: Registry | Zibrato, { what, route, value: amount, times }: Event): void {
  for (let time = 0; time < times; time++) {
    const one = amount + time
    if (what === 'counter') on.counter('c').with({ route }).inc(one)
    else if (what === 'meter') on.meter('m').with({ route }).mark(one)
    else if (what === 'timer') on.timer('t').with({ route }).record(one)
    else if (what === 'histogram') on.histogram('h').with({ route }).record(one)
    else if (what === 'unique') on.unique('u').with({ route }).add(one)
    else
      on.gauge(what, { combine: what as 'sum' })
        .with({ route })
        .set(one)
  }
}

describe('a registry that takes the place of another', () => {
  test('knows what that knew, and goes on the same', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { maxLength: 30 }),
        fc.array(event, { maxLength: 10 }),
        async (before, after) => {
          const clock = new ManualClock()
          const first = new Registry({ clock })
          const second = new Registry({ clock })
          const registries = [first]
          // takes in what it is told by another process
          const remote = new Zibrato({
            clock,
            flushInterval: '1h',
            transport: new MemoryTransport((frame) => {
              for (const registry of registries) registry.takeIn(frame)
            }),
          })
          const run = async (events: readonly Event[]): Promise<void> => {
            for (const each of events) {
              if (each.remote) {
                record(remote, each)
                await remote.flush()
              } else for (const registry of registries) record(registry, each)
              clock.advance(each.passes)
            }
          }
          await run(before)
          const writer = new Writer(64)
          first.encode(writer)
          const reader = new Reader(writer.bytes())
          second.restore(reader)
          expect(reader.offset).toBe(writer.length)
          expect(second.getStats()).toEqual(first.getStats())
          registries.push(second)
          await run(after)
          clock.advance(20_000)
          // sums are added in another order
          expect(JSON.stringify(second.getStats(), rounded)).toBe(JSON.stringify(first.getStats(), rounded))
        },
      ),
      { numRuns: 50 },
    )
  })
})

function rounded(_: string, each: unknown): unknown {
  return typeof each === 'number' ? Number(each.toPrecision(6)) : each
}
