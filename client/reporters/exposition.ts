import { pacer } from '../pace.ts'
import { baseName, boundText, escapeHelp, labelText, labelsOf, valueText } from '../prometheus.ts'
import type { Registry } from '../registry/registry.ts'
import { PERCENTILES, type SeriesStats } from '../registry/stats.ts'
import { hashKey } from '../wire/hash.ts'
import { utf8 } from '../wire/bytes.ts'
import type { Series, Type } from '../wire/series.ts'

/** The content type of {@link prometheusText}. */
export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Samples that are told of together. */
interface Family {
  readonly suffix: string
  readonly type: 'counter' | 'gauge' | 'summary'
  readonly about: string
  /** What stands behind the base name, the labels of a sample, and its value. */
  readonly samples: readonly (readonly [suffix: string, label: string, read: (stats: never) => number])[]
}

const QUANTILES = Object.entries({ min: 0, ...PERCENTILES, max: 1 }).map(
  ([key, quantile]) =>
    ['', `quantile="${boundText(quantile)}"`, (stats: Record<string, number>) => stats[key] as number] as const,
)

const summary = (about: string): Family => ({
  suffix: '',
  type: 'summary',
  about,
  samples: [
    ...QUANTILES,
    ['_sum', '', ({ sum }: { sum: number }) => sum],
    ['_count', '', ({ count }: { count: number }) => count],
  ],
})

const plain = (suffix: string, type: Family['type'], about: string, key: string): Family => ({
  suffix,
  type,
  about,
  samples: [[suffix, '', (stats: Record<string, number>) => stats[key] as number]],
})

// the same names as those of the backends, so that it does not matter who is asked
const FAMILIES: Readonly<Record<Type, readonly Family[]>> = {
  counter: [plain('_total', 'counter', '', 'value')],
  meter: [
    plain('_total', 'counter', '', 'count'),
    plain('_m1', 'gauge', ', per second over 1 minute', 'm1'),
    plain('_m5', 'gauge', ', per second over 5 minutes', 'm5'),
    plain('_m15', 'gauge', ', per second over 15 minutes', 'm15'),
  ],
  gauge: [plain('', 'gauge', '', 'value')],
  set: [plain('', 'gauge', ', distinct members of the window', 'value')],
  timer: [summary(' in seconds')],
  histogram: [summary('')],
}

/** Labels as texts, made once for each series. */
const labels = new WeakMap<Series, string>()

/**
 * A registry in Prometheus' text format 0.0.4: counters and meters as `_total` (a gauge once they went down), meters' rates
 * as `_m1 _m5 _m15`, gauges and uniques as gauges, timers (`_seconds`) and histograms as summaries. It lets the event loop breathe.
 */
export async function prometheusText(registry: Registry): Promise<string> {
  const breathe = pacer()
  let text = ''
  for (const piece of expose(registry)) {
    text += piece
    const pause = breathe()
    if (pause !== undefined) await pause
  }
  return text
}

/** The text in pieces, of one series in one family each. */
function* expose(registry: Registry): Generator<string> {
  const taken = new Set<string>()
  let group: SeriesStats[] = []
  for (const each of registry.series()) {
    const first = group[0]
    if (first !== undefined && (first.series.name !== each.series.name || first.type !== each.type)) {
      yield* groupPieces(group, taken)
      group = []
    }
    group.push(each)
    yield ''
  }
  yield* groupPieces(group, taken)
}

/** All series of one name. */
function* groupPieces(group: readonly SeriesStats[], taken: Set<string>): Generator<string> {
  const [first] = group
  if (first === undefined) return
  const { type, series } = first
  const families = FAMILIES[type]
  const base = claim(baseName(series), series.name, families, taken)
  const labelled = new Set<string>()
  const texts = group.map((each) => uniqueLabels(each.series, labelled))
  for (const { suffix, type: told, about, samples } of families) {
    const kind = told === 'counter' && group.some(({ wentDown }) => wentDown) ? 'gauge' : told
    const name = base + suffix
    yield `# TYPE ${name} ${kind}\n# HELP ${name} Zibrato ${type} ${escapeHelp(series.name)}${about}\n`
    const heads = samples.map(([end, label]) => `${base}${end}{${label}${label === '' ? '' : ','}`)
    const bare = samples.map(([end, label]) => `${base}${end}${label === '' ? '' : `{${label}}`} `)
    for (let index = 0; index < group.length; index++) {
      const own = texts[index] as string
      const stats = (group[index] as SeriesStats).stats as never
      let lines = ''
      for (let sample = 0; sample < samples.length; sample++) {
        const value = valueText((samples[sample] as Family['samples'][number])[2](stats))
        lines += own === '' ? `${bare[sample]}${value}\n` : `${heads[sample]}${own}} ${value}\n`
      }
      yield lines
    }
  }
}

/** A base whose names no other has: of two names that come to the same, the later one carries a hash of what it was. */
function claim(base: string, original: string, families: readonly Family[], taken: Set<string>): string {
  const names = families.flatMap(({ suffix, samples }) => [suffix, ...samples.map(([end]) => end)])
  const free = names.every((end) => !taken.has(base + end)) ? base : `${base}_${hashText(original)}`
  for (const end of names) taken.add(free + end)
  return free
}

/** A series' labels; of two series that come to the same ones, the later has another that tells them apart. */
function uniqueLabels(series: Series, taken: Set<string>): string {
  let text = labels.get(series)
  if (text === undefined) labels.set(series, (text = labelText(labelsOf(series))))
  if (taken.has(text)) {
    const tags = Object.entries(series.tags).flat()
    text += `${text === '' ? '' : ','}zibrato_series="${hashText([series.source, ...tags].join('\0'))}"`
  }
  taken.add(text)
  return text
}

function hashText(text: string): string {
  const bytes = utf8(text)
  return hashKey(bytes).toString(16).padStart(8, '0')
}
