import { copyFile, mkdir, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { MemoryState } from '../../../backends/state/memory.ts'
import { temporaryDirectories } from './directory.ts'
import { Model, SHARDS_USED, type Step, look, perform } from './model.ts'

const BACKENDS = ['a', 'b', 'c']

const shard = fc.nat(SHARDS_USED - 1)
// some past the window in which a log is read at once
const bytes = fc.oneof(
  { weight: 20, arbitrary: fc.string({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.constant('long '.repeat(60_000)) },
)
const anyCall: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      entries: fc.array(fc.tuple(shard, bytes), { maxLength: 5 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      windows: fc.uniqueArray(
        fc.record({
          shard,
          snapshot: bytes,
          full: fc.boolean(),
          entries: fc.nat(6),
          outbox: fc.option(bytes, { nil: undefined }),
        }),
        { maxLength: 3, selector: (window) => window.shard },
      ),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('attempt' as const, 'release' as const, 'settle' as const),
      backend: fc.constantFrom(...BACKENDS),
      nth: fc.nat(4),
    }),
  },
)
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 7, arbitrary: anyCall },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('compact' as const), during: fc.array(anyCall, { maxLength: 6 }) }),
  },
)
const life = fc.record({
  backends: fc.subarray(BACKENDS),
  steps: fc.array(anyStep, { maxLength: 12 }),
  /** Where between its start and its end the log is torn when this life ends; 1: nowhere. */
  torn: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
})

const directory = temporaryDirectories()

describe('any sequence of calls', () => {
  it('leaves memory state as the model says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(life, { maxLength: 3 }), async (lives) => {
        const model = new Model()
        const state = new MemoryState()
        for (const { backends, steps } of lives) {
          await state.open({ group: 'g', backends })
          model.restart(backends)
          for (const step of steps) {
            await perform(state, step)
            model.apply(step)
          }
          expect(await look(state)).toEqual(model.view())
          await state.close()
        }
      }),
      { numRuns: 100 },
    )
  })

  it('leaves a directory as the model says, wherever its log is torn off between calls or within one', async () => {
    const root = await directory()
    let lived = 0
    await fc.assert(
      fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 4 }), async (lives) => {
        let model = new Model()
        let path = join(root, `life${lived++}`)
        for (const { backends, steps, torn } of lives) {
          const log = join(path, 'log')
          const state = new FileState({ directory: path, sync: 'never', onWarning: () => {} })
          // what the log said at each size it had: a log torn within a step is as it was before it
          let moments: { size: number; model: Model }[] = [{ size: 0, model: model.clone() }]
          const note = async (): Promise<void> => {
            moments.push({ size: (await stat(log)).size, model: model.clone() })
          }
          const old = (await stat(log).catch(() => undefined))?.size ?? 0
          if (old > 0) moments = [{ size: old, model: model.clone() }]
          await state.open({ group: 'g', backends })
          model.restart(backends)
          expect(await look(state)).toEqual(model.view())
          await note()
          for (const step of steps) {
            let size = (await stat(log)).size
            const before = model.clone()
            await perform(state, step)
            model.apply(step)
            if (step.kind === 'compact') moments = []
            if (step.kind === 'append') {
              // torn within an append, the entries before the tear stand
              const lengths = step.entries.map(([, bundle]) => Buffer.byteLength(bundle))
              const total = (await stat(log)).size - size
              const each = (total - lengths.reduce((sum, length) => sum + length, 0)) / lengths.length
              for (const [index, entry] of step.entries.entries()) {
                size += each + (lengths[index] as number)
                before.apply({ kind: 'append', entries: [entry] })
                moments.push({ size, model: before.clone() })
              }
            }
            await note()
          }
          const first = (moments[0] as (typeof moments)[0]).size
          const end = (moments.at(-1) as (typeof moments)[0]).size
          const cut = Math.round(first + torn * (end - first))
          model = (moments.findLast(({ size }) => size <= cut) as (typeof moments)[0]).model
          // as a crash leaves it, which writes no farewell
          path = join(root, `life${lived++}`)
          await mkdir(path)
          await copyFile(log, join(path, 'log'))
          await truncate(join(path, 'log'), cut)
          await state.close()
        }
        const state = new FileState({ directory: path, onWarning: () => {} })
        await state.open({ group: 'g', backends: BACKENDS })
        model.restart(BACKENDS)
        expect(await look(state)).toEqual(model.view())
        await state.close()
      }),
      { numRuns: 60 },
    )
  })
})
