import { mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { DirectoryLock } from '../../../backends/state/file/lock.ts'
import { UsageError } from '../../../client/errors.ts'
import { until } from '../../until.ts'
import { temporaryDirectories } from './directory.ts'
import { type Child, buildChild, children } from './process.ts'

const directory = temporaryDirectories()
const start = children()
let built = ''
let child = ''

beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), 'zibrato-child-'))
  child = await buildChild(built)
})
afterAll(() => rm(built, { recursive: true, force: true }))

const SETTINGS = { group: 'g', backends: [] }
const isAnswer = (line: unknown): boolean => line === 'open' || (line as { error?: string }).error !== undefined

async function hold(path: string): Promise<Child> {
  const process = start(child, 'hold', path)
  process.process.stdin?.write('go\n')
  await process.says(isAnswer)
  return process
}

async function kill(process: Child): Promise<void> {
  process.process.kill('SIGKILL')
  await process.ended
}

async function failureOf(path: string): Promise<Error> {
  const failure = await new FileState({ directory: path }).open(SETTINGS).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(UsageError)
  return failure as Error
}

describe('a state directory in use', () => {
  it('is refused to another process, with the pid that holds it and the way to have several workers', async () => {
    const path = await directory()
    const holder = await hold(path)
    const { message } = await failureOf(path)
    expect(message).toContain(`in use by process ${holder.process.pid}:`)
    expect(message).toContain('--state redis://')
    expect(message).toContain(path)
  })

  it('is refused to the process that has it already', async () => {
    const path = await directory()
    const state = new FileState({ directory: path })
    await state.open(SETTINGS)
    expect((await failureOf(path)).message).toContain(`this process (pid ${process.pid})`)
    await state.close()
    const next = new FileState({ directory: path })
    await next.open(SETTINGS)
    await next.close()
  })

  it('is free again when opening it failed', async () => {
    const path = await directory()
    await writeFile(join(path, 'log'), 'not a log at all')
    await failureOf(path)
    await rm(join(path, 'log'))
    const state = new FileState({ directory: path })
    await state.open(SETTINGS)
    expect(await state.outbox()).toEqual([])
    await state.close()
  })

  it('keeps one lock file, however often it was opened', async () => {
    const path = await directory()
    for (let round = 1; round <= 4; round++) {
      const state = new FileState({ directory: path })
      await state.open(SETTINGS)
      await state.close()
      expect((await readdir(path)).toSorted()).toEqual([`lock.${round}`, 'log'])
    }
  })
})

describe('a lock left behind', () => {
  it('by a process that was killed is taken over', async () => {
    const path = await directory()
    await kill(await hold(path))
    expect((await hold(path)).lines).toContain('open')
  })

  it('by a process whose pid another one has now is taken over', async () => {
    const path = await directory()
    await kill(await hold(path))
    const lock = join(path, 'lock.1')
    // init lives, but did not start when the holder did
    await writeFile(lock, JSON.stringify({ ...JSON.parse(await readFile(lock, 'utf8')), pid: 1 }))
    expect((await hold(path)).lines).toContain('open')
  })

  it('is not taken over while its holder lives, whatever the pid of the asker', async () => {
    const path = await directory()
    const state = new FileState({ directory: path })
    await state.open(SETTINGS)
    const [line] = (await hold(path)).lines.filter(isAnswer)
    expect(line).toMatchObject({ error: expect.stringContaining(`process ${process.pid}:`) })
    await state.close()
  })

  it('with nothing in it, as a power failure may leave it, is taken over', async () => {
    const path = await directory()
    for (const content of ['', 'null', '{}', '{"pid":"x"}']) {
      await writeFile(join(path, 'lock.1'), content)
      const holder = await hold(path)
      expect(holder.lines).toContain('open')
      await kill(holder)
      await rm(join(path, 'lock.2'))
    }
  })

  it('is won by one of many who find it at once', async () => {
    for (let round = 0; round < 2; round++) {
      const path = await directory()
      await kill(await hold(path))
      const racers = Array.from({ length: 6 }, () => start(child, 'hold', path))
      for (const racer of racers) await racer.says((line) => line === 'ready')
      for (const racer of racers) racer.process.stdin?.write('go\n')
      const answers = await Promise.all(racers.map((racer) => racer.says(isAnswer)))
      const winner = racers[answers.indexOf('open')]
      const refusal = { error: expect.stringContaining(`process ${winner?.process.pid}:`) as string }
      expect(answers).toEqual(racers.map((racer) => (racer === winner ? 'open' : refusal)))
      for (const racer of racers) await kill(racer)
    }
  })

  it('is won by one of many within a process', async () => {
    for (let round = 0; round < 20; round++) {
      const path = await directory()
      await writeFile(join(path, 'lock.41'), '{"pid":0}')
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, () => DirectoryLock.take({ directory: path, name: 'state' })),
      )
      const won = results.filter((result) => result.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const { value } of won) await value.release()
      expect(await readdir(path)).toEqual(['lock.42'])
    }
  })
})

describe('a lock of another container', () => {
  const foreign = JSON.stringify({ pid: process.pid, start: 'whenever', space: 'elsewhere pid:[1]' })

  it('holds as long as it is touched', async () => {
    const path = await directory()
    const lock = join(path, 'lock.3')
    await writeFile(lock, foreign)
    const beat = setInterval(() => void utimes(lock, new Date(), new Date()), 20)
    try {
      const taken = DirectoryLock.take({ directory: path, name: 'state x', patienceMs: 60_000 })
      await expect(taken).rejects.toThrow(/another container or machine \(elsewhere/)
    } finally {
      clearInterval(beat)
    }
  })

  it('that nobody touches is taken over', async () => {
    const path = await directory()
    await writeFile(join(path, 'lock.3'), foreign)
    const lock = await DirectoryLock.take({ directory: path, name: 'state', patienceMs: 300 })
    expect(JSON.parse(await readFile(join(path, 'lock.4'), 'utf8'))).toMatchObject({
      pid: process.pid,
      space: expect.stringContaining(hostname()),
    })
    await lock.release()
  })

  it('that took this one over ends what is written here', async () => {
    const path = await directory()
    const state = new FileState({ directory: path })
    await state.open(SETTINGS)
    // what another process does that thinks this one dead
    await writeFile(join(path, 'lock.2'), foreign)
    await rm(join(path, 'lock.1'))
    const bundle = new Uint8Array(1)
    const append = (): Promise<unknown> => state.append([{ shard: 0, bundle }])
    const fails = (): Promise<boolean> =>
      append().then(
        () => false,
        () => true,
      )
    await until(fails, 'it notices')
    await expect(append()).rejects.toThrow(/another process took the directory over/)
    await state.close()
    expect(await readdir(path)).toContain('lock.2')
  })
})
