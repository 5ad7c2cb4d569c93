import type { RollupRecord } from '../../../backends/record.ts'
import { seriesOf } from './parser.ts'

/** A sample at the target, as what the contract suite compares. */
export interface Expected {
  /** Seconds since the epoch; not called `time`, as samples of one window may have two. */
  readonly at: number
  readonly series: string
  readonly value: number
}

const QUANTILES = {
  min: '0.0',
  p50: '0.5',
  p75: '0.75',
  p90: '0.9',
  p95: '0.95',
  p98: '0.98',
  p99: '0.99',
  p999: '0.999',
}

/** What records become by default, worked out a second time from the documentation alone. */
export class Translation {
  readonly #sums = new Map<string, number>()
  readonly #ends = new Map<string, number>()

  /** @param former whether samples before the window are wanted too */
  samples(record: RollupRecord, former: boolean): Expected[] {
    const { time, interval, type, name, source, tags } = record
    const figure = (key: string): number => Number(record[key])
    const labels: Record<string, string> = {}
    if (source !== 'not_specified') labels['source'] = source
    for (const [key, value] of Object.entries(tags)) labels[plain(key).replace(/^__+/, '_')] = value
    const samples: Expected[] = []
    const id = JSON.stringify([type, name, source, tags])
    const isFirst = this.#ends.get(id) !== time - interval && this.#ends.get(id) !== time
    this.#ends.set(id, time)
    const put = (suffix: string, value: number, extra: Record<string, string> = {}): void => {
      samples.push({
        at: time,
        series: seriesOf({ name: plain(name) + suffix, labels: { ...labels, ...extra } }),
        value,
      })
    }
    const grow = (suffix: string, value: number, before: number): void => {
      put(suffix, value)
      const last = samples.at(-1) as Expected
      if (former && isFirst) samples.push({ ...last, at: time - interval + 0.001, value: before })
    }
    const add = (suffix: string, value: number): void => {
      const before = this.#sums.get(id + suffix) ?? 0
      this.#sums.set(id + suffix, before + value)
      grow(suffix, before + value, before)
    }
    if (type === 'counter') grow('_total', figure('total'), figure('total') - figure('value'))
    if (type === 'gauge' || type === 'set') put('', figure('value'))
    if (type === 'meter') {
      add('_total', figure('count'))
      for (const rate of ['m1', 'm5', 'm15']) put(`_${rate}`, figure(rate))
    }
    if (type === 'timer' || type === 'histogram') {
      const unit = type === 'timer' ? '_seconds' : ''
      for (const [key, quantile] of Object.entries({ ...QUANTILES, max: '1.0' })) put(unit, figure(key), { quantile })
      add(`${unit}_sum`, figure('sum'))
      add(`${unit}_count`, figure('count'))
    }
    return samples
  }
}

function plain(text: string): string {
  const name = Array.from(text, (character) => (/[a-zA-Z0-9_]/.test(character) ? character : '_')).join('')
  return /^[0-9]/.test(name) ? `_${name}` : name
}
