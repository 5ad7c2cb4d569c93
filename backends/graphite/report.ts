import type { Rollup, Window } from '../backend.ts'
import { Merger } from '../merge.ts'
import { pacer } from '../../client/pace.ts'
import { TimerFigures } from './figures.ts'
import { Lines } from './lines.ts'
import { Names } from './names.ts'
import type { GraphiteOptions } from './options.ts'

/** Text handed on at once; characters. */
const CHUNK = 32_768

/** Each type has names of its own, so that none meets another. */
const NAMESPACES = {
  counter: ['counter'],
  timer: ['timer'],
  gauge: ['gauge'],
  set: ['set'],
  histogram: ['histogram'],
  meter: ['meter'],
} as const

/** What the backend tells of its last flush, under statsd's names. Times are whole seconds since the epoch. */
export interface OwnFigures {
  /** When a window was last taken. */
  last_flush: number
  /** When one was last not taken; 0 before that. */
  last_exception: number
  /** How long the last one took until it was taken, ms. */
  flush_time: number
  /** How many bytes that was. */
  flush_length: number
}

/** Writes windows as statsd's Graphite backend would. */
export class Report {
  readonly #names: Names
  readonly #merger: Merger
  readonly #figures: TimerFigures
  readonly #sendsSums: boolean
  readonly #sendsOwn: boolean

  constructor(options: GraphiteOptions) {
    this.#names = new Names(options)
    this.#merger = new Merger({
      rename: (rollup) => ({ name: this.#names.keyOf(rollup), source: '', tags: {} }),
      identity: ({ name }) => name,
      fold: (name) => name,
      suffixes: NAMESPACES,
    })
    this.#figures = new TimerFigures(options)
    this.#sendsSums = options.flush_counts ?? true
    this.#sendsOwn = options.prefixStats !== ''
  }

  /** A window's lines in chunks, made as they are asked for, in slices that let the event loop breathe. */
  async *text(window: Window, own: OwnFigures): AsyncGenerator<string, void, undefined> {
    const begun = performance.now()
    const interval = intervalOf(window)
    const { rollups } = await this.#merger.merge(window)
    let since = performance.now()
    const processingMs = since - begun
    let calculationMs = 0
    const breathe = pacer()
    const lines = new Lines(window.end)
    for (const rollup of rollups) {
      this.#write(rollup, interval, lines)
      const pause = breathe()
      if (pause === undefined && lines.length < CHUNK) continue
      // what others take meanwhile is no work of this
      calculationMs += performance.now() - since
      if (lines.length >= CHUNK) yield lines.take()
      await pause
      since = performance.now()
    }
    calculationMs += performance.now() - since
    if (this.#sendsOwn) this.#writeOwn(lines, { numStats: rollups.length, processingMs, calculationMs }, own)
    if (lines.length > 0) yield lines.take()
  }

  /** @param rollup whose name is its key */
  #write(rollup: Rollup, interval: number, lines: Lines): void {
    const names = this.#names
    const path = names.pathOf(rollup.name)
    switch (rollup.type) {
      case 'counter':
        lines.add(names.figure('counter', path, names.legacy ? '' : '.rate'), rollup.value / interval)
        if (this.#sendsSums) lines.add(names.counterSum(path), rollup.value)
        break
      case 'gauge':
        lines.add(names.figure('gauge', path, ''), rollup.value)
        break
      case 'set':
        lines.add(names.figure('set', path, '.count'), rollup.value)
        break
      case 'timer':
      case 'histogram':
        this.#figures.each(rollup, rollup.name, interval, (figure, value) => {
          lines.add(names.figure(rollup.type, path, figure), value)
        })
        break
      case 'meter':
        for (const figure of ['count', 'rate', 'm1', 'm5', 'm15'] as const) {
          lines.add(names.figure('meter', path, `.${figure}`), rollup[figure])
        }
        break
    }
  }

  #writeOwn(
    lines: Lines,
    { numStats, processingMs, calculationMs }: Readonly<Record<'numStats' | 'processingMs' | 'calculationMs', number>>,
    own: OwnFigures,
  ): void {
    const names = this.#names
    lines.add(names.own(names.numStats, 'numStats'), numStats)
    lines.add(names.own(names.stats, 'processing_time'), Math.round(processingMs))
    const figures = { calculationtime: Math.round(calculationMs), ...own }
    for (const [figure, value] of Object.entries(figures)) {
      lines.add(names.own(names.stats, `graphiteStats.${figure}`), value)
    }
  }
}

/** Length in seconds, without what fractions that are no powers of two leave. */
function intervalOf({ start, end }: Window): number {
  return Math.round((end - start) * 1000) / 1000
}
