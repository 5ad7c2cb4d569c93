import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BUNDLE_TYPE, encodeBundle } from '../../client/wire/bundle.ts'
import { createApp } from '../../gateway/index.ts'
import { FakeSink, counterFrame } from './fake-sink.ts'

interface Answered {
  accepted: number
  rejected: { index: number; reason: string }[]
}

async function post(sink: FakeSink, body: string | Uint8Array, type = 'application/json'): Promise<[number, Answered]> {
  const errors: unknown[] = []
  const app = createApp({ sink, onError: (error) => errors.push(error) })
  const init = { method: 'POST', headers: { 'content-type': type }, body: body as BodyInit }
  const response = await app.request('/v1/metrics', init)
  expect(errors).toEqual([])
  return [response.status, (await response.json()) as Answered]
}

const good = fc.record({
  type: fc.constantFrom('counter', 'meter', 'gauge', 'timer', 'histogram'),
  name: fc.stringMatching(/^[a-z.]{1,20}$/),
  value: fc.double({ noNaN: true, noDefaultInfinity: true }),
})

/** Something like a measurement, each part of which may be anything. */
const odd = fc.record(
  {
    type: fc.oneof(fc.constantFrom('counter', 'set', 'gauge', 'timer', '__proto__', 'constructor'), fc.jsonValue()),
    name: fc.oneof(fc.string(), fc.jsonValue()),
    value: fc.oneof(fc.double(), fc.jsonValue()),
    level: fc.oneof(fc.string(), fc.jsonValue()),
    source: fc.jsonValue(),
    tags: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue()),
    timestamp: fc.jsonValue(),
    rate: fc.oneof(fc.double(), fc.jsonValue()),
    unit: fc.jsonValue(),
  },
  { requiredKeys: [] },
)

describe('JSON ingest', () => {
  test('takes every valid measurement whatever stands beside it, and answers for each', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(good, odd, fc.jsonValue()), { maxLength: 30 }),
        fc.boolean(),
        async (list, bare) => {
          const sink = new FakeSink()
          const [status, answer] = await post(sink, JSON.stringify(bare ? list : { measurements: list }))
          expect([202, 400]).toContain(status)
          expect(answer.accepted + answer.rejected.length).toBe(list.length)
          expect(sink.measurements).toHaveLength(answer.accepted)
          // each alone fares as it does among the others
          const rejected = new Set(answer.rejected.map(({ index }) => index))
          for (const [index, measurement] of list.entries()) {
            const [, alone] = await post(new FakeSink(), JSON.stringify([measurement]))
            expect(alone.accepted).toBe(rejected.has(index) ? 0 : 1)
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  test('answers whatever JSON or text it is sent without failing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string(), fc.uint8Array({ maxLength: 200 })), async (body) => {
        const [status] = await post(new FakeSink(), body)
        expect([202, 400]).toContain(status)
      }),
      { numRuns: 500 },
    )
  })

  test('is not led astray by deep nesting or by names of the language', async () => {
    expect((await post(new FakeSink(), '['.repeat(100_000) + ']'.repeat(100_000)))[0]).toBe(400)
    const sink = new FakeSink()
    const body =
      '[{"type":"counter","name":"__proto__","value":1,"__proto__":{"level":"crit"},"tags":{"__proto__":"x"}}]'
    expect((await post(sink, body))[0]).toBe(202)
    expect(sink.measurements[0]?.level).toBeUndefined()
    expect(({} as { level?: string }).level).toBeUndefined()
  })
})

describe('bundle ingest', () => {
  test('takes every valid frame whatever its neighbours are, and mutated bundles never fail', async () => {
    const frame = fc
      .record({ seq: fc.integer({ min: 1, max: 1e9 }), name: fc.stringMatching(/^[a-z.]{1,20}$/) })
      .map(counterFrame)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(frame, fc.uint8Array({ minLength: 1, maxLength: 60 })), { minLength: 1 }),
        async (frames) => {
          const sink = new FakeSink()
          const [status, answer] = await post(sink, encodeBundle(frames), BUNDLE_TYPE)
          expect(status).toBe(answer.accepted > 0 ? 202 : 400)
          expect(answer.accepted + answer.rejected.length).toBe(frames.length)
          for (const { bytes } of sink.frames) expect(frames.map(String)).toContain(String(bytes))
        },
      ),
      { numRuns: 200 },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(frame, { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.nat(255),
        async (frames, at, byte) => {
          const bytes = encodeBundle(frames)
          bytes[at % bytes.length] = byte
          const [status] = await post(new FakeSink(), bytes, BUNDLE_TYPE)
          expect([202, 400]).toContain(status)
        },
      ),
      { numRuns: 500 },
    )
  })
})
