import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { PermanentError, type Rollup, type Window } from '../../backends/backend.ts'
import { ConsoleBackend } from '../../backends/console.ts'
import { backendContract } from '../../backends/contract.ts'
import type { RollupRecord } from '../../backends/record.ts'
import { manyRollups, rollupsOfEveryType, sampleRollup, sampleWindow } from '../../backends/samples.ts'
import { displayWidth } from '../../backends/table.ts'
import { formatNumber, formatSeconds, localTime } from '../../backends/units.ts'
import { type Env, parseBackendUrl } from '../../backends/url.ts'

const never = new AbortController().signal

/** A terminal or pipe that keeps what it is told, refuses it, or says nothing. */
class Screen extends Writable {
  text = ''
  mood: 'well' | 'broken' | 'hanging' = 'well'
  isTTY = false
  columns: number = Number.NaN
  #held: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.mood === 'hanging') {
      this.#held = () => this._write(chunk, _encoding, done)
      return
    }
    this.text += chunk.toString()
    done()
  }

  resume(): void {
    this.mood = 'well'
    this.#held?.()
  }
}

async function print(window: Window, url = 'console:', screen = new Screen(), env: Env = {}): Promise<string> {
  const backend = new ConsoleBackend(parseBackendUrl(url), screen, env)
  await backend.flush(window, never)
  await backend.close?.()
  return screen.text
}

function terminal(columns: number): Screen {
  return Object.assign(new Screen(), { isTTY: true, columns })
}

// columns are two spaces or more apart
function rowsOf(text: string): string[][] {
  const lines = text.trimEnd().split('\n').slice(2)
  return lines.map((line) => line.split(/ {2,}/))
}

const counterOf = (name: string, tags: Record<string, string> = {}): Rollup =>
  sampleRollup({ type: 'counter', name, source: 'not_specified', tags }, [5])

describe('console: passes the backend contract and', () => {
  let screen = new Screen()
  const printable = (text: string): string => text.replace(/[^\P{Control}]|[\u202e]/gu, '�')
  const setup = {
    create: () => {
      screen = new Screen()
      return new ConsoleBackend(parseBackendUrl('console:?rows=all'), screen, {})
    },
    // a table is for people: names and types are compared, in no order
    received: () =>
      screen.text
        .split('\n\n')
        .filter((table) => table !== '')
        .flatMap((table) => table.split('\n').slice(2))
        .map((line) => ({
          name: line.split(/ {2,}/)[0],
          type: / (counter|meter|gauge|timer|histogram|set) /.exec(line)?.[1],
        })),
    expected: ({ name, type }: RollupRecord) => [{ name: printable(name), type }],
    hangTarget: () => {
      screen.mood = 'hanging'
    },
    mendTarget: () => screen.resume(),
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('the table', () => {
  test('is aligned, sorted and in units that people read', async () => {
    const { date, time, offset } = localTime(1_700_000_000)
    expect(await print(sampleWindow(rollupsOfEveryType()))).toBe(
      [
        `${date}T${time}${offset} to ${localTime(1_700_000_010).time}  6 series`,
        'name    tags                   source  type       value  count   rate  total    min      mean    p50     p95     p99     max    m1   m5  m15',
        'db      route=/pay status=200  web     timer                 4  0.4/s         50 µs    637 ms  12 ms   2.5 s   2.5 s   2.5 s',
        'events  route=/pay status=200  web     meter               120   12/s                                                         12/s  6/s  3/s',
        'orders                         web     counter        5         0.5/s     10',
        'queue   host=a                 web     gauge          4      3                    3     5.333                              9',
        'size                                   histogram             4  0.4/s            -7  22,626.3      0  90,000  90,000  90,000',
        'users                          web     set            3',
        '',
        '',
      ].join('\n'),
    )
  })

  test('shows the first forty by name and tags, and counts the others', async () => {
    const rollups = Array.from({ length: 100 }, (_, index) => counterOf(`n${99 - index}`.padEnd(3, '0')))
    const names = rollups.map(({ name }) => name).sort()
    const rows = rowsOf(await print(sampleWindow(rollups)))
    expect(rows.slice(0, 40).map(([name]) => name)).toEqual(names.slice(0, 40))
    expect(rows.slice(40)).toEqual([['and 60 more']])
  })

  test('orders series of one name by their tags', async () => {
    const rollups = ['c', 'a', 'b'].map((value) => counterOf('n', { tag: value }))
    const rows = rowsOf(await print(sampleWindow(rollups)))
    expect(rows.map(([, tags]) => tags)).toEqual(['tag=a', 'tag=b', 'tag=c'])
  })

  test('shows as many rows as it is told', async () => {
    const window = sampleWindow(manyRollups(9000))
    expect(rowsOf(await print(window, 'console:?rows=2'))).toHaveLength(3)
    const all = rowsOf(await print(window, 'console:?rows=all'))
    expect(all.map(([name]) => name)).toEqual(window.rollups.map(({ name }) => name).sort())
  })

  test('leaves out columns that nothing is in', async () => {
    const titles = (await print(sampleWindow([counterOf('orders')]))).split('\n')[1]
    expect(titles).toBe('name    type     value   rate  total')
  })

  test('keeps to the width of a terminal', async () => {
    const rollups = [...rollupsOfEveryType(), counterOf('名前'.repeat(30), { k: 'v'.repeat(100) })]
    for (const columns of [200, 120, 80, 60, 40]) {
      const text = await print(sampleWindow(rollups), 'console:', terminal(columns), { NO_COLOR: '1' })
      const lines = text.split('\n').slice(1)
      expect(Math.max(...lines.map(displayWidth))).toBeLessThanOrEqual(columns)
      expect(lines[0]).toMatch(/^name .*value/)
    }
  })

  test('is coloured on a terminal only, and not where colours are unwanted', async () => {
    const window = sampleWindow([counterOf('orders')])
    expect(await print(window, 'console:', terminal(80))).toContain('\u001b[1m')
    expect(await print(window, 'console:', new Screen())).not.toContain('\u001b')
    expect(await print(window, 'console:', terminal(80), { NO_COLOR: '1' })).not.toContain('\u001b')
    expect(await print(window, 'console:', terminal(80), { TERM: 'dumb' })).not.toContain('\u001b')
  })

  test('lets no name move the cursor', async () => {
    const text = await print(sampleWindow([counterOf('a\u001b[2Jb\tc\u202ed')]))
    expect(text).toContain('a�[2Jb�c�d')
  })

  test('is not there for a window without rollups, but for a short line on a terminal', async () => {
    expect(await print(sampleWindow([]))).toBe('')
    expect(await print(sampleWindow([]), 'console:', terminal(80))).toMatch(/nothing measured.*\n$/)
  })
})

test('a reader that went away is a permanent error, and ends no process', async () => {
  const screen = new Screen()
  const backend = new ConsoleBackend(parseBackendUrl('console:'), screen, {})
  screen.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  await expect(backend.flush(sampleWindow([counterOf('orders')]), never)).rejects.toThrow(PermanentError)
  await backend.close?.()
})

test('a program whose output was closed goes on', async () => {
  const script = fileURLToPath(new URL('./closed-output.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  let errors = ''
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()))
  const [code] = (await once(child, 'close')) as [number]
  expect(errors.trim().split('\n').at(-1)).toBe('PermanentError: console: nobody reads standard output any more')
  expect(code).toBe(0)
})

test.each(['rows=0', 'rows=1.5', 'rows=many', 'rows='])('the option %s is refused', (option) => {
  expect(() => new ConsoleBackend(parseBackendUrl(`console:?${option}`))).toThrow(
    /rows=.* must be a whole number from 1/,
  )
})

describe('units', () => {
  test.each([
    [0, '0 s'],
    [0.00005, '50 µs'],
    [0.000_999_6, '1 ms'],
    [0.0121, '12.1 ms'],
    [0.9996, '1 s'],
    [1.2345, '1.23 s'],
    [4321.5, '4,321.5 s'],
    [-0.002, '-2 ms'],
    [2e-10, '0.0002 µs'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text)
  })

  test.each([
    [5, '5'],
    [1_234_567, '1,234,567'],
    [1234.56, '1,234.6'],
    [1 / 3, '0.3333'],
    [1e21, '1.00e+21'],
    [-1e-9, '-1.00e-9'],
    [Number.NaN, 'NaN'],
  ])('%d is shown as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text)
  })

  test('wide and combining characters take the cells that a terminal gives them', () => {
    expect(['abc', '温度', 'u\u0308', '🚀', ''].map(displayWidth)).toEqual([3, 4, 1, 2, 0])
  })
})
