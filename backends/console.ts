import type { Writable } from 'node:stream'
import { DEFAULT_SOURCE } from '../client/wire/series.ts'
import { orAborted } from './abort.ts'
import { Backend, type DistributionRollup, PermanentError, type Rollup, type Window } from './backend.ts'
import { pacer } from '../client/pace.ts'
import { percentilesOf } from './record.ts'
import { type Column, layOut } from './table.ts'
import { formatNumber, formatSeconds, localTime } from './units.ts'
import type { BackendUrl, Env, InDoubt } from './url.ts'

/** Standard output, or what stands for it. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }

const ROWS = 40
const BATCH = 4096
// of the percentiles there are, those that fit beside everything else
const FAVOURITES = ['p50', 'p95', 'p99']
// would move the cursor, or turn the line round
// oxlint-disable-next-line no-control-regex
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
const GONE = ['EPIPE', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END']

interface Row {
  readonly rollup: Rollup
  readonly tags: string
}

/**
 * `console:`: each window as a table on standard output, by name and tags, times in the unit that suits them. A window
 * without measurements prints nothing, or one short line on a terminal.
 *
 * Options: `rows=N` shows the first N series (40), `rows=all` all of them.
 */
export class ConsoleBackend extends Backend {
  readonly name = 'console'
  override readonly inDoubt: InDoubt = 'resend'
  readonly #rows: number
  readonly #output: Output
  readonly #coloured: boolean
  // what the terminal or pipe has not taken yet
  #writing: Promise<void> = Promise.resolve()
  readonly #ignore = (): void => {}

  constructor(url: BackendUrl, output: Output = process.stdout, env: Env = process.env) {
    super()
    const all = url.params.text('rows') === 'all'
    this.#rows = all ? Infinity : (url.params.number('rows', { min: 1, whole: true }) ?? ROWS)
    this.#output = output
    this.#coloured = output.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
    // the error also comes to `flush`; without a listener it would end the process
    output.on('error', this.#ignore)
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    // so that no more than one window waits for a reader that has stopped reading
    await orAborted(this.#writing, signal)
    const text = await this.#format(window)
    signal.throwIfAborted()
    if (text === '') return
    const writing = this.#write(text)
    this.#writing = writing.catch(() => {})
    await orAborted(writing, signal)
  }

  override async close(): Promise<void> {
    this.#output.off('error', this.#ignore)
  }

  async #format(window: Window): Promise<string> {
    const start = localTime(window.start)
    const count = window.rollups.length
    const span = `${start.date}T${start.time}${start.offset} to ${localTime(window.end).time}`
    if (count === 0) return this.#output.isTTY === true ? `${this.#style(2, `${span}  nothing measured`)}\n` : ''
    const rows = await firstRows(window.rollups, this.#rows)
    const percentiles = shownPercentiles(rows)
    // a terminal that does not know its width says 0
    const width = (this.#output.isTTY === true && this.#output.columns) || Infinity
    const breathe = pacer()
    const cells: string[][] = []
    for (const row of rows) {
      cells.push(cellsOf(row, percentiles))
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    const [titles, ...lines] = await layOut(columnsFor(percentiles), cells, width)
    const more = count > rows.length ? `and ${formatNumber(count - rows.length)} more\n` : ''
    const head = this.#style(1, `${span}  ${formatNumber(count)} series`)
    return `${head}\n${this.#style(2, titles as string)}\n${lines.join('\n')}\n${more}\n`
  }

  #style(code: number, text: string): string {
    return this.#coloured ? `\x1b[${code}m${text}\x1b[0m` : text
  }

  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#output.write(text, (error) => {
        if (error === null || error === undefined) resolve()
        else if (GONE.includes((error as { code?: string }).code ?? '')) {
          reject(new PermanentError('console: nobody reads standard output any more', { cause: error }))
        } else reject(new Error(`console: cannot write: ${error.message}`, { cause: error }))
      })
    })
  }
}

/** The first rows by name, tags, source and type, without sorting all of them at once. */
async function firstRows(rollups: readonly Rollup[], limit: number): Promise<Row[]> {
  const breathe = pacer()
  let rows: Row[] = []
  for (let start = 0; start < rollups.length; start += BATCH) {
    for (const rollup of rollups.slice(start, start + BATCH)) rows.push({ rollup, tags: tagText(rollup) })
    rows.sort(compareRows)
    rows = rows.slice(0, limit)
    const pause = breathe()
    if (pause !== undefined) await pause
  }
  return rows
}

function compareRows(left: Row, right: Row): number {
  return (
    compare(left.rollup.name, right.rollup.name) ||
    compare(left.tags, right.tags) ||
    compare(left.rollup.source, right.rollup.source) ||
    compare(left.rollup.type, right.rollup.type)
  )
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

function tagText({ tags }: Rollup): string {
  let text = ''
  for (const tag in tags) text += `${text === '' ? '' : ' '}${tag}=${tags[tag]}`
  return text
}

function shownPercentiles(rows: readonly Row[]): string[] {
  // the worker's settings make them the same for all
  const first = rows.map(({ rollup }) => rollup).find(({ type }) => type === 'timer' || type === 'histogram')
  const all = first === undefined ? [] : Object.keys(percentilesOf(first as DistributionRollup))
  const favourites = FAVOURITES.filter((percentile) => all.includes(percentile))
  return favourites.length > 0 ? favourites : all.slice(0, 3)
}

function columnsFor(percentiles: readonly string[]): Column[] {
  const words = (title: string, importance: number): Column => ({ title, align: 'left', importance })
  const figures = (title: string, importance: number): Column => ({ title, align: 'right', importance })
  return [
    words('name', Infinity),
    words('tags', Infinity),
    words('source', 6),
    words('type', 9),
    figures('value', Infinity),
    figures('count', 10),
    figures('rate', 8),
    figures('total', 3),
    figures('min', 4),
    figures('mean', 7),
    ...percentiles.map((percentile) => figures(percentile, 5)),
    figures('max', 5),
    figures('m1', 2),
    figures('m5', 1),
    figures('m15', 1),
  ]
}

function cellsOf({ rollup, tags }: Row, percentiles: readonly string[]): string[] {
  const source = rollup.source === DEFAULT_SOURCE ? '' : rollup.source
  const show = rollup.type === 'timer' ? formatSeconds : formatNumber
  const figures = rollup as unknown as Readonly<Record<string, number | undefined>>
  const cell = (key: string, format: (value: number) => string): string => {
    const value = figures[key]
    return value === undefined ? '' : format(value)
  }
  const perSecond = (value: number): string => `${formatNumber(value)}/s`
  return [
    ...[rollup.name, tags, source, rollup.type].map(printable),
    cell('value', show),
    cell('count', formatNumber),
    cell('rate', perSecond),
    cell('total', formatNumber),
    ...['min', 'mean', ...percentiles, 'max'].map((key) => cell(key, show)),
    ...['m1', 'm5', 'm15'].map((key) => cell(key, perSecond)),
  ]
}

function printable(text: string): string {
  return text.replace(UNPRINTABLE, '�')
}
