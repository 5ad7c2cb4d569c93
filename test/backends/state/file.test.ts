import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FileState, type FileStateOptions } from '../../../backends/state/file.ts'
import { UsageError } from '../../../client/errors.ts'
import { bytes, entriesOf, stateContract, text, windowOf } from '../../contract/state.ts'
import { until } from '../../until.ts'
import { temporaryDirectories } from './directory.ts'
import { look } from './model.ts'

const directory = temporaryDirectories()

stateContract('a directory', {
  create: async (options) => new FileState({ directory: join(await directory(), 'state'), ...options }),
  reopen: (state, options) =>
    new FileState({ directory: state.name.slice('file:'.length), onWarning: () => {}, ...options }),
})

const SETTINGS = { group: 'g', backends: ['a'] }

async function open(path: string, options: Partial<FileStateOptions> = {}): Promise<FileState> {
  const state = new FileState({ directory: path, ...options })
  await state.open(SETTINGS)
  return state
}

describe('a state directory', () => {
  it('is made for its owner only, and so is all that is in it', async () => {
    const path = join(await directory(), 'deep', 'state')
    const state = await open(path)
    await state.compact()
    const mode = async (name: string): Promise<number> => (await stat(name)).mode & 0o777
    expect(await mode(path)).toBe(0o700)
    for (const name of await readdir(path)) expect([name, await mode(join(path, name))]).toEqual([name, 0o600])
    expect(await readdir(path)).toHaveLength(2)
    await state.close()
  })

  it('names itself and says that it outlives the process', () => {
    expect(new FileState({ directory: '/x' })).toMatchObject({ name: 'file:/x', durable: true, dropped: 0 })
  })

  it('that cannot be one is refused with the reason', async () => {
    const path = join(await directory(), 'taken')
    await writeFile(path, 'x')
    for (const taken of [path, join(path, 'below')]) {
      const failure = await open(taken).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(UsageError)
      expect((failure as Error).message).toMatch(/cannot be used \((EEXIST|ENOTDIR)/)
    }
  })

  it('with a log that is no log, or one of a later format, is refused untouched', async () => {
    const path = await directory()
    const log = join(path, 'log')
    for (const [content, message] of [
      ['some other log', /is not a state log/],
      ['ZBSTATE\u0002rest', /format version 2, this Zibrato reads version 1/],
    ] as const) {
      await writeFile(log, content)
      const failure = await open(path).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(UsageError)
      expect((failure as Error).message).toMatch(message)
      expect(await readFile(log, 'utf8')).toBe(content)
    }
  })

  it('warns when its time is ahead of the clock', async () => {
    const path = await directory()
    const first = await open(path, { now: () => 1_000_000 })
    await first.append([{ shard: 0, bundle: bytes('x') }])
    await first.close()
    const warnings: string[] = []
    const next = await open(path, { now: () => 400_000, onWarning: (warning) => warnings.push(warning) })
    expect(warnings).toEqual([expect.stringContaining('600 s ahead')])
    await next.close()
  })

  it('keeps what each level of sync keeps', async () => {
    for (const sync of ['commit', 'always', 'never'] as const) {
      const path = await directory()
      const first = await open(path, { sync })
      const [answer] = await first.append([{ shard: 0, bundle: bytes('x') }])
      await first.commit([windowOf(0, 10, { position: answer?.position })])
      await first.attempt('a', ['10-0'])
      await first.close()
      const next = await open(path, { sync })
      expect((await next.outbox())[0]).toMatchObject({ end: 10, attempted: ['a'] })
      await next.close()
    }
  })

  it('holds thousands of entries of many sizes, in order', async () => {
    const path = await directory()
    const state = await open(path, { sync: 'never' })
    const size = (index: number): number => [0, 1, 500, 5000, 70_000][(index * index) % 5] as number
    const bundle = (index: number): Uint8Array => new Uint8Array(size(index)).fill(index)
    for (let index = 0; index < 3000; index += 30) {
      await state.append(
        Array.from({ length: 30 }, (_, at) => ({ shard: (index + at) % 7, bundle: bundle(index + at) })),
      )
    }
    await state.close()
    const next = await open(path)
    for (let shard = 0; shard < 7; shard++) {
      const entries = await entriesOf(await next.acquire(shard))
      expect(entries).toHaveLength(Math.ceil((3000 - shard) / 7))
      const wrong = entries.findIndex((entry, at) => Buffer.compare(entry.bundle, bundle(shard + at * 7)) !== 0)
      expect(wrong).toBe(-1)
    }
    await next.close()
  })

  it('reads entries again that it was asked for twice', async () => {
    const state = await open(await directory())
    await state.append([{ shard: 0, bundle: bytes('x') }])
    const restored = await state.acquire(0)
    expect(await entriesOf(restored)).toEqual(await entriesOf(restored))
    await state.close()
  })
})

describe('compaction', () => {
  const big = new Uint8Array(10_000)

  async function fill(state: FileState, from: number, to: number): Promise<void> {
    for (let end = from; end <= to; end++) {
      const [answer] = await state.append([{ shard: 0, bundle: big }])
      await state.commit([windowOf(0, end, { position: answer?.position, outbox: undefined })])
    }
  }

  it('happens by itself when the log is mostly garbage, and keeps what is needed', async () => {
    const path = await directory()
    const state = await open(path, { sync: 'never', minGarbageBytes: 200_000 })
    await state.commit([windowOf(1, 5, { outbox: bytes('wait for a') })])
    await fill(state, 1, 60)
    await until(async () => (await stat(join(path, 'log'))).size < 400_000, 'the log is compacted')
    await state.append([{ shard: 1, bundle: bytes('after') }])
    const seen = await look(state)
    expect(seen.outbox).toEqual([{ end: 5, shard: 1, text: 'wait for a', pending: ['a'], attempted: [] }])
    await state.close()
    const next = await open(path)
    expect(await look(next)).toEqual(seen)
    expect((await entriesOf(await next.acquire(1))).map(({ bundle }) => text(bundle))).toEqual(['after'])
    await next.close()
  })

  it('leaves a small log alone, and one that is mostly needed', async () => {
    const path = await directory()
    const state = await open(path, { sync: 'never', minGarbageBytes: 100_000 })
    await fill(state, 1, 5)
    await state.append(Array.from({ length: 50 }, () => ({ shard: 1, bundle: big })))
    await fill(state, 6, 20)
    await state.close()
    expect((await stat(join(path, 'log'))).size).toBeGreaterThan(700_000)
  })

  it('goes on under entries that are being read', async () => {
    const path = await directory()
    const state = await open(path, { sync: 'never' })
    const bundle = (index: number): Uint8Array => bytes(String(index).padEnd(3000, '.'))
    await fill(state, 1, 30)
    await state.append(Array.from({ length: 1000 }, (_, index) => ({ shard: 2, bundle: bundle(index) })))
    let index = 0
    for await (const entry of (await state.acquire(2)).entries) {
      if (index === 10) await state.compact()
      if (index === 500) void state.compact()
      expect(Buffer.compare(entry.bundle, bundle(index))).toBe(0)
      index++
    }
    expect(index).toBe(1000)
    await state.close()
  })

  it('is given up by a close, which leaves nothing of it', async () => {
    const path = await directory()
    const state = await open(path, { sync: 'never' })
    await state.append(Array.from({ length: 500 }, () => ({ shard: 2, bundle: big })))
    const compacted = state.compact()
    await state.close()
    await compacted
    expect((await readdir(path)).toSorted()).toEqual(['lock.1', 'log'])
    const next = await open(path)
    expect(await entriesOf(await next.acquire(2))).toHaveLength(500)
    await next.close()
  })

  it('that fails is said, and does not keep the state from going on', async () => {
    const path = await directory()
    const warnings: string[] = []
    const options = {
      sync: 'never',
      minGarbageBytes: 50_000,
      onWarning: (line: string) => warnings.push(line),
    } as const
    const state = await open(path, options)
    // a directory in the way of the new log
    await mkdir(join(path, 'log.new'))
    await fill(state, 1, 6)
    await until(() => warnings.length > 0, 'the failure is said')
    expect(warnings[0]).toMatch(/could not be compacted \(EISDIR/)
    await fill(state, 7, 8)
    expect((await state.acquire(0)).end).toBe(8)
    expect(warnings).toHaveLength(1)
    await state.close()
  })
})
