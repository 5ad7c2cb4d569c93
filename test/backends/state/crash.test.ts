import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { temporaryDirectories } from './directory.ts'
import { Model, type View, look } from './model.ts'
import { buildChild, children } from './process.ts'
import { SCRIPT } from './script.ts'

const directory = temporaryDirectories()
const start = children()
let built = ''
let child = ''

beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), 'zibrato-child-'))
  child = await buildChild(built)
})
afterAll(() => rm(built, { recursive: true, force: true }))

async function read(path: string): Promise<{ view: View; warnings: string[] }> {
  const warnings: string[] = []
  const state = new FileState({ directory: path, onWarning: (warning) => warnings.push(warning) })
  await state.open({ group: 'g', backends: ['a', 'b'] })
  const view = await look(state)
  await state.close()
  return { view, warnings }
}

/** What the next process should see after each step of the script. */
function expectedViews(): View[] {
  const model = new Model()
  model.restart(['a', 'b'])
  const view = (): View => {
    const next = model.clone()
    next.restart(['a', 'b'])
    return next.view()
  }
  return [
    view(),
    ...SCRIPT.map((step) => {
      if (step.kind === 'restart') model.restart(['a', 'b'])
      else model.apply(step)
      return view()
    }),
  ]
}

describe('a process killed', () => {
  it('at any of its calls to the file system leaves what it had acknowledged, and at most the step it was in', async () => {
    const views = expectedViews()
    let alive = true
    let next = 1
    const lane = async (): Promise<void> => {
      while (alive) {
        const nth = next++
        const path = await directory()
        const process = start(child, 'crash', path, String(nth))
        const { code, signal } = await process.ended
        expect({ nth, code, signal }).toEqual(
          signal === 'SIGKILL' ? { nth, code: null, signal } : { nth, code: 0, signal: null },
        )
        alive &&= signal === 'SIGKILL'
        const done = process.lines.filter((line) => line === 'done').length
        const { view } = await read(path)
        const possible = views.slice(done, done + 2)
        expect(possible, `killed at call ${nth}, after ${done} steps`).toContainEqual(view)
        // and what the crash left behind is gone
        expect((await read(path)).warnings).toEqual([])
      }
    }
    await Promise.all([lane(), lane(), lane()])
    expect(next).toBeGreaterThan(60)
  })
})

describe('a full disk', () => {
  it('fails the calls it has no room for, whole, and no others', async () => {
    const path = await directory()
    const process = start(child, 'full', path)
    expect(await process.ended).toEqual({ code: 0, signal: null })
    const { failures, sizes } = process.lines[0] as { failures: string[]; sizes: [number, number] }
    expect(failures).toHaveLength(2)
    for (const failure of failures)
      expect(failure).toMatch(/writing to its log failed \(EFBIG.*nothing of this call was kept/)
    expect(sizes[1]).toBe(sizes[0])
    const { view, warnings } = await read(path)
    expect(warnings).toEqual([])
    expect(view.shards[0]).toEqual({ end: 10, snapshots: ['later'], entries: ['fits', 'after '.repeat(1000)] })
  })
})
