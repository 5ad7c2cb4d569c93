import { copyFile, mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { temporaryDirectories } from './directory.ts'
import { Model, type Step, type View, look, perform } from './model.ts'

const directory = temporaryDirectories()

const STEPS: readonly Step[] = [
  { kind: 'append', entries: [[0, 'one']] },
  { kind: 'append', entries: [[1, 'two']] },
  {
    kind: 'commit',
    windows: [
      { shard: 0, snapshot: 'first', full: true, entries: 1, outbox: 'o' },
      { shard: 1, snapshot: 'second', full: false, entries: 0, outbox: 'p' },
    ],
  },
  { kind: 'append', entries: [[0, 'three']] },
  { kind: 'attempt', backend: 'a', nth: 0 },
  { kind: 'settle', backend: 'a', nth: 1 },
  { kind: 'release', backend: 'a', nth: 0 },
  { kind: 'commit', windows: [{ shard: 0, snapshot: 'third', full: false, entries: 1, outbox: undefined }] },
]

interface Moment {
  readonly size: number
  readonly view: View
}

/** A small log, and what it says at each length at which a record ends. */
async function write(path: string, compacted: boolean): Promise<Moment[]> {
  const state = new FileState({ directory: path, sync: 'never' })
  const model = new Model()
  const moments: Moment[] = [{ size: 0, view: afterCrash(model) }]
  const note = async (): Promise<void> => {
    moments.push({ size: (await stat(join(path, 'log'))).size, view: afterCrash(model) })
  }
  await state.open({ group: 'g', backends: ['a'] })
  model.restart(['a'])
  await note()
  for (const step of STEPS) {
    await perform(state, step)
    model.apply(step)
    if (!compacted) await note()
  }
  if (compacted) {
    await state.compact()
    await note()
  }
  await state.close()
  return moments
}

function afterCrash(model: Model): View {
  const next = model.clone()
  next.restart(['a'])
  return next.view()
}

interface Found {
  readonly view: View
  readonly warnings: readonly string[]
}

async function read(path: string): Promise<Found> {
  const warnings: string[] = []
  const state = new FileState({ directory: path, sync: 'never', onWarning: (warning) => warnings.push(warning) })
  await state.open({ group: 'g', backends: ['a'] })
  const view = await look(state)
  await state.append([{ shard: 2, bundle: new Uint8Array(9) }])
  await state.close()
  return { view, warnings }
}

describe('a log torn off', () => {
  it('at any byte holds what stands before, and says how many bytes were cut', async () => {
    const path = await directory()
    const moments = await write(path, false)
    const end = (moments.at(-1) as Moment).size
    for (let size = 0; size <= end; size++) {
      const copy = join(path, `copy${size}`)
      await mkdir(copy)
      await copyFile(join(path, 'log'), join(copy, 'log'))
      await truncate(join(copy, 'log'), size)
      const moment = moments.findLast((known) => known.size <= size) as Moment
      const { view, warnings } = await read(copy)
      expect({ size, view }).toEqual({ size, view: moment.view })
      // the magic number is no record, but can stand alone
      const torn = size - (size >= 8 ? Math.max(8, moment.size) : 0)
      const cuts = warnings.map((warning) => Number(/its last (\d+) bytes/.exec(warning)?.[1]))
      expect(cuts).toEqual(torn === 0 ? [] : [torn])
      // and it is whole again
      expect((await read(copy)).warnings).toEqual([])
    }
  })
})

describe('a log with a wrong byte', () => {
  it('holds what stands before the record that has it, and keeps aside what it cuts off', async () => {
    const path = await directory()
    const moments = await write(path, false)
    const good = await readFile(join(path, 'log'))
    for (let at = 8; at < good.length; at += 5) {
      const copy = join(path, `copy${at}`)
      await mkdir(copy)
      const bad = Buffer.from(good)
      bad[at] = (bad[at] as number) ^ (1 << (at % 8))
      await writeFile(join(copy, 'log'), bad)
      const moment = moments.findLast(({ size }) => size <= at) as Moment
      const { view, warnings } = await read(copy)
      expect({ at, view }).toEqual({ at, view: moment.view })
      const start = Math.max(8, moment.size)
      expect(warnings).toEqual([
        expect.stringMatching(new RegExp(`from byte ${start} on \\(.*its last ${good.length - start} bytes.*log.cut`)),
      ])
      expect(await readFile(join(copy, 'log.cut'))).toEqual(bad.subarray(start))
    }
  })

  it('is cut off in a compacted log as well', async () => {
    const path = await directory()
    const moments = await write(path, true)
    const log = await readFile(join(path, 'log'))
    expect((await read(path)).view).toEqual((moments.at(-1) as Moment).view)
    log[log.length - 5] = (log[log.length - 5] as number) ^ 1
    await writeFile(join(path, 'log'), log)
    expect((await read(path)).warnings).toHaveLength(1)
  })

  it('in the middle of a record larger than what is read at once is found', async () => {
    const path = await directory()
    const state = new FileState({ directory: path, sync: 'never' })
    await state.open({ group: 'g', backends: ['a'] })
    await state.append([{ shard: 0, bundle: Buffer.from('kept') }])
    await state.append([{ shard: 0, bundle: Buffer.alloc(1_000_000, 1) }])
    await state.close()
    const log = await readFile(join(path, 'log'))
    await writeFile(join(path, 'whole'), log)
    log[500_000] = 2
    await writeFile(join(path, 'log'), log)
    const { view, warnings } = await read(path)
    expect(view.shards[0]?.entries).toEqual(['kept'])
    expect(warnings).toEqual([expect.stringContaining('checksum')])
    await copyFile(join(path, 'whole'), join(path, 'log'))
    expect((await read(path)).view.shards[0]?.entries[1]).toHaveLength(1_000_000)
  })

  it('or anything else in place of its records never fails but by a warning', async () => {
    const path = await directory()
    const magic = Buffer.from('ZBSTATE\u0001')
    for (let round = 0; round < 80; round++) {
      const junk = Buffer.from(Array.from({ length: (round * 7) % 90 }, (_, at) => (round * 31 + at * at * 17) % 256))
      if (round % 2 === 0 && junk.length > 8) junk.writeUInt32LE(junk.length - 12 > 0 ? junk.length - 12 : 1)
      await writeFile(join(path, 'log'), Buffer.concat([magic, round % 3 === 0 ? Buffer.alloc(round) : junk]))
      const { view } = await read(path)
      expect(view).toEqual(new Model().view())
    }
  })
})
