import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { Backend, Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { openBackend } from '../../backends/open.ts'
import { recordOf } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { UsageError } from '../../client/errors.ts'
import { until } from '../until.ts'
import { tempDirectories } from './temp.ts'

const temp = tempDirectories()
const never = new AbortController().signal

async function connected(path: string, options = ''): Promise<Backend> {
  const backend = await openBackend(`file:${path}${options}`)
  await backend.connect?.()
  return backend
}

async function linesOf(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8')
  expect(text === '' || text.endsWith('\n')).toBe(true)
  return text.split('\n').slice(0, -1)
}

function textOf(window: Window): string[] {
  return window.rollups.map((rollup) => JSON.stringify(recordOf(window, rollup)))
}

function counter(name: string, index = 0): Window {
  return sampleWindow([sampleRollup({ type: 'counter', name, source: 'web', tags: {} }, [5])], index)
}

describe('file: passes the backend contract and', () => {
  let path = ''
  const setup = {
    create: async () => {
      path = join(await temp(), 'metrics.jsonl')
      return openBackend(`file:${path}`)
    },
    received: async () => (await linesOf(path)).map((line) => JSON.parse(line) as object),
    // a directory stands where the file was
    breakTarget: async () => {
      await rename(path, `${path}.kept`)
      await mkdir(path)
    },
    mendTarget: async () => {
      await rm(path, { recursive: true })
      await rename(`${path}.kept`, path)
    },
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('a line', () => {
  test('is exactly what the format says', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    const backend = await connected(path)
    await backend.flush(counter('orders'), never)
    await backend.close?.()
    expect(await readFile(path, 'utf8')).toBe(
      '{"time":1700000010,"interval":10,"type":"counter","name":"orders","source":"web","tags":{},"value":5,"rate":0.5,"total":10}\n',
    )
  })

  test('carries the figures of its type in their order', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    const backend = await connected(path)
    await backend.flush(sampleWindow(rollupsOfEveryType()), never)
    await backend.close?.()
    const keys = (await linesOf(path)).map((line) =>
      Object.keys(JSON.parse(line) as object)
        .slice(2)
        .join(' '),
    )
    const distribution = 'count rate sum min max mean stddev p50 p75 p90 p95 p98 p99 p999'
    expect(keys).toEqual([
      'type name source tags value rate total',
      'type name source tags count rate m1 m5 m15',
      'type name source tags value min max mean count readings',
      `type name source tags ${distribution}`,
      `type name source tags ${distribution}`,
      'type name source tags value',
    ])
  })

  test('gives windows of a fraction of a second their length without noise', () => {
    const [rollup] = rollupsOfEveryType()
    const window = { start: 1_700_000_000.2, end: 1_700_000_000.3 }
    expect(recordOf(window, rollup as NonNullable<typeof rollup>).interval).toBe(0.1)
  })
})

describe('the file', () => {
  test.each(['file:', 'file://', 'file://localhost'])('is named by an absolute path behind %s', async (prefix) => {
    const directory = await temp()
    const backend = await openBackend(`${prefix}${directory}/new/deep/my%20metrics.jsonl`)
    await backend.connect?.()
    await backend.flush(counter('orders'), never)
    await backend.close?.()
    expect(await linesOf(join(directory, 'new/deep/my metrics.jsonl'))).toHaveLength(1)
  })

  test('is taken from the working directory when its path is relative', async () => {
    const directory = await temp()
    const before = process.cwd()
    process.chdir(directory)
    try {
      const backend = await connected('logs/metrics.jsonl')
      process.chdir(before)
      await backend.flush(counter('orders'), never)
      await backend.close?.()
    } finally {
      process.chdir(before)
    }
    expect(await linesOf(join(directory, 'logs/metrics.jsonl'))).toHaveLength(1)
  })

  test('goes on under its name after it was renamed away', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    const backend = await connected(path)
    await backend.flush(counter('a', 0), never)
    await rename(path, `${path}.1`)
    await backend.flush(counter('b', 1), never)
    await backend.flush(counter('c', 2), never)
    await backend.close?.()
    expect([await linesOf(`${path}.1`), await linesOf(path)]).toEqual([
      textOf(counter('a', 0)),
      [...textOf(counter('b', 1)), ...textOf(counter('c', 2))],
    ])
  })

  test('begins again after it was removed, with its directory too, or emptied', async () => {
    const directory = join(await temp(), 'logs')
    const path = join(directory, 'metrics.jsonl')
    const backend = await connected(path)
    await backend.flush(counter('a', 0), never)
    await rm(directory, { recursive: true })
    await backend.flush(counter('b', 1), never)
    await truncate(path, 0)
    await backend.flush(counter('c', 2), never)
    await backend.close?.()
    expect(await linesOf(path)).toEqual(textOf(counter('c', 2)))
  })
})

describe('a file that can never be written is refused at once', () => {
  async function refusal(url: string): Promise<string> {
    const error: unknown = await openBackend(url)
      .then((backend) => backend.connect?.())
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UsageError)
    return (error as Error).message
  }

  test('because it is a directory', async () => {
    const directory = await temp()
    expect(await refusal(`file:${directory}`)).toBe(
      `file: cannot append to ${directory}: it is a directory; name a file in it`,
    )
  })

  test('because a part of its path is a file', async () => {
    const file = join(await temp(), 'plain')
    await writeFile(file, '')
    expect(await refusal(`file:${file}/metrics.jsonl`)).toContain('a part of its path is no directory')
  })

  test('because its links go round in circles, or its name is too long', async () => {
    const directory = await temp()
    await symlink(join(directory, 'a'), join(directory, 'a'))
    expect(await refusal(`file:${directory}/a`)).toContain('links go round in circles')
    expect(await refusal(`file:${directory}/${'n'.repeat(300)}`)).toContain('too long')
  })

  test('because nothing or a host is named', async () => {
    expect(await refusal('file:')).toContain('names no file')
    expect(await refusal('file://metrics.jsonl')).toContain('reads metrics.jsonl as a host; write file:NAME')
    expect(await refusal('file:m.jsonl?synk=yes')).toContain('unknown option "synk"')
  })

  test('because it does not hold lines of metrics', async () => {
    const path = join(await temp(), 'letter.txt')
    await writeFile(path, 'Dear reader,\nnothing of this may be cut off')
    expect(await refusal(`file:${path}`)).toContain('does not end in a line of metrics')
    await writeFile(path, 'x'.repeat(2_000_000))
    expect(await refusal(`file:${path}`)).toContain('does not consist of lines of metrics')
    expect((await stat(path)).size).toBe(2_000_000)
  })

  test('because this user may not write there', async () => {
    const directory = join(await temp(), 'locked')
    await mkdir(directory, { mode: 0o500 })
    const message = await withoutPrivileges(() => refusal(`file:${directory}/metrics.jsonl`))
    expect(message).toContain('permission denied')
  })
})

/** Runs as nobody where tests run as root, who may write everywhere. */
async function withoutPrivileges<Result>(body: () => Promise<Result>): Promise<Result> {
  if (process.getuid?.() !== 0) return body()
  process.seteuid?.(65_534)
  try {
    return await body()
  } finally {
    process.seteuid?.(0)
  }
}

describe('the end that a killed process left', () => {
  const [whole] = textOf(counter('old')) as [string]

  test('is cut off where a line is not finished, wherever that broke off', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    for (let length = 1; length < whole.length; length += 7) {
      await writeFile(path, `${whole}\n${whole.slice(0, length)}`)
      const backend = await connected(path)
      await backend.flush(counter('new', 1), never)
      await backend.close?.()
      expect(await linesOf(path)).toEqual([whole, ...textOf(counter('new', 1))])
    }
  })

  test('keeps a whole line that lacks only its line break', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    await writeFile(path, whole)
    const backend = await connected(path)
    await backend.flush(counter('new', 1), never)
    await backend.close?.()
    expect(await linesOf(path)).toEqual([whole, ...textOf(counter('new', 1))])
  })

  test('is cut off where a power failure left zeros', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    await writeFile(path, `${whole}\n${whole.slice(0, 20)}${'\0'.repeat(200_000)}`)
    await (await connected(path)).close?.()
    expect(await linesOf(path)).toEqual([whole])
  })

  test('is found without reading what is before it', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    await writeFile(path, '')
    // a hole of a terabyte: reading it would take an hour
    await truncate(path, 2 ** 40)
    await appendFile(path, `\n${whole}\n${whole.slice(0, 30)}`)
    const backend = await connected(path)
    await backend.close?.()
    expect((await stat(path)).size).toBe(2 ** 40 + 1 + whole.length + 1)
  })

  test('is not written again when the window comes again', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    const window = sampleWindow(manyRollups(2000), 1)
    const lines = textOf(window)
    await writeFile(path, [whole, ...lines.slice(0, 1200), lines[1200]?.slice(0, 50)].join('\n'))
    const backend = await connected(path)
    await backend.flush(window, never)
    await backend.flush(counter('new', 2), never)
    await backend.close?.()
    expect(await linesOf(path)).toEqual([whole, ...lines, ...textOf(counter('new', 2))])
  })
})

test('a process that is killed while it writes loses and doubles nothing, once the next has sent the rest', async () => {
  const path = join(await temp(), 'metrics.jsonl')
  const script = fileURLToPath(new URL('./file-writer.ts', import.meta.url))
  let accepted = 0
  for (let round = 0; round < 3; round++) {
    const arguments_ = ['--import', 'tsx', script, path, String(accepted)]
    const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    await until(() => output !== '', 'the writer has flushed something')
    const size = (await stat(path)).size
    await until(async () => (await stat(path)).size !== size, 'the writer is writing again')
    child.kill('SIGKILL')
    await once(child, 'close')
    accepted += output.trim().split('\n').length
  }
  const backend = await connected(path)
  await backend.flush(sampleWindow(manyRollups(5000), accepted), never)
  await backend.close?.()
  const expected = Array.from({ length: accepted + 1 }, (_, index) => textOf(sampleWindow(manyRollups(5000), index)))
  expect((await linesOf(path)).join('\n')).toBe(expected.flat().join('\n'))
})

describe('a flush', () => {
  test('that is aborted halfway leaves nothing, and the window can come again', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    const backend = await connected(path)
    await backend.flush(counter('first', 0), never)
    const window = sampleWindow(manyRollups(30_000), 1)
    const giveUp = new AbortController()
    const flush = backend.flush(window, giveUp.signal)
    const begun = (await stat(path)).size
    while ((await stat(path)).size === begun) await new Promise((resolve) => setImmediate(resolve))
    giveUp.abort(new Error('enough'))
    await expect(flush).rejects.toThrow('enough')
    await backend.flush(window, never)
    await backend.close?.()
    expect(await linesOf(path)).toEqual([...textOf(counter('first', 0)), ...textOf(window)])
  })

  test('that meets a full disk is taken back whole, and says so', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    await appendFile(path, '')
    // the limit on the size of files is the disk that is full for one process only
    const script = fileURLToPath(new URL('./full-disk.ts', import.meta.url))
    const child = spawn(
      'bash',
      ['-c', `ulimit -f 600; exec "${process.execPath}" --import tsx "${script}" "${path}"`],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    await once(child, 'close')
    expect(output).toContain('EFBIG')
    expect(output).toContain('what was written of this window is taken back')
    expect(await linesOf(path)).toEqual([...textOf(counter('first', 0)), ...textOf(counter('last', 2))])
  })

  test('to a device that takes nothing fails with its reason', async () => {
    const backend = await connected('/dev/full')
    await expect(backend.flush(counter('orders'), never)).rejects.toThrow(/cannot append to \/dev\/full: ENOSPC/)
    await backend.close?.()
  })

  test('does not join its lines to half a line of another writer', async () => {
    const path = join(await temp(), 'metrics.jsonl')
    const backend = await connected(path, '?sync=yes')
    await backend.flush(counter('a', 0), never)
    await appendFile(path, '{"time":17')
    await backend.flush(counter('b', 1), never)
    await backend.close?.()
    expect(await linesOf(path)).toEqual([...textOf(counter('a', 0)), '{"time":17', ...textOf(counter('b', 1))])
  })

  test('after close says that the backend is closed', async () => {
    const backend = await connected(join(await temp(), 'metrics.jsonl'))
    await backend.close?.()
    await expect(backend.flush(counter('late'), never)).rejects.toThrow('is closed')
  })
})

test('two processes that append to one file leave every line whole', async () => {
  const path = join(await temp(), 'metrics.jsonl')
  const [one, two] = [await connected(path), await connected(path)]
  const windows = Array.from({ length: 20 }, (_, index) => sampleWindow(manyRollups(500), index))
  await Promise.all(
    windows.map((window, index) => (index % 2 === 0 ? one : two).flush(window, new AbortController().signal)),
  )
  await Promise.all([one.close?.(), two.close?.()])
  expect((await linesOf(path)).sort()).toEqual(windows.flatMap(textOf).sort())
})
