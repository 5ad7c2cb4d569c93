import { pacer } from '../../client/pace.ts'
import type { Family, Metric } from './family.ts'
import type { Claim, Group, PromSeries } from './group.ts'
import { escapeHelp, escapeQuoted, valueText } from '../../client/prometheus.ts'
import type { Registry } from './registry.ts'

/** Prometheus' classic text format 0.0.4, or OpenMetrics 1.0. */
export type Format = 'text' | 'openmetrics'

export const CONTENT_TYPE: Readonly<Record<Format, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
}

const CHUNK = 65_536

/**
 * Everything a registry knows, in pieces, so that neither the event loop stops nor one giant text is built. Samples of a
 * series belong to one window; those of different series may not, when a window comes meanwhile.
 */
export async function* expose(registry: Registry, format: Format, nowMs: number): AsyncGenerator<Buffer> {
  const breathe = pacer()
  let text = ''
  for (const piece of pieces(registry, format, nowMs)) {
    text += piece
    if (text.length >= CHUNK) {
      yield Buffer.from(text)
      text = ''
    }
    const pause = breathe()
    if (pause !== undefined) await pause
  }
  yield Buffer.from(format === 'openmetrics' ? `${text}# EOF\n` : text)
}

/** The samples of one series in one family at a time, with what tells of the family before the first. */
function* pieces(registry: Registry, format: Format, nowMs: number): Generator<string> {
  const { claims } = registry
  const sharedNames = new Set<string>()
  // what others may come to share while this goes on
  const told = new Set<Claim>()
  for (const group of registry.groups()) {
    for (const claim of group.claims) {
      if (claims.isShared(claim)) {
        for (const { suffix } of claim.family.metrics) sharedNames.add(group.base + suffix)
        continue
      }
      told.add(claim)
      yield* familyPieces(headOf(claim, format), claim, (series, metric) => {
        return isAllowed(series, metric, format) && !registry.isStale(series, metric, nowMs)
      })
    }
  }
  for (const name of sharedNames) {
    const all = claims.of(name)
    if (all.some((claim) => told.has(claim))) continue
    const providers = all.filter(({ group, family }) =>
      family.metrics.some(({ suffix }) => group.base + suffix === name),
    )
    let head = sharedHeadOf(name, providers, format)
    for (const claim of providers) {
      const isTold = yield* familyPieces(head, claim, (series, metric) => {
        return claim.group.base + metric.suffix === name && !registry.isStale(series, metric, nowMs)
      })
      if (isTold) head = ''
    }
  }
}

/** Answers whether there was anything to tell. */
function* familyPieces(
  head: string,
  { group, family, offset }: Claim,
  isShown: (series: PromSeries, metric: Metric) => boolean,
): Generator<string, boolean> {
  let isTold = false
  for (const series of group.series.values()) {
    let lines = ''
    for (let index = 0; index < family.metrics.length; index++) {
      const metric = family.metrics[index] as Metric
      const value = series.values[offset + index] as number
      if (!Number.isNaN(value) && isShown(series, metric)) lines += lineOf(series, metric, value)
    }
    // also of nothing, so that much of it does not take long at a stretch
    yield isTold || lines === '' ? lines : head + lines
    if (lines !== '') isTold = true
  }
  return isTold
}

/** To OpenMetrics a sum is a counter, which goes up only. */
function isAllowed({ isNegative }: PromSeries, { suffix }: Metric, format: Format): boolean {
  return !(isNegative && format === 'openmetrics' && suffix === '_sum')
}

function headOf({ group, family }: Claim, format: Format): string {
  const type = family.type === 'counter' && group.goesDown ? 'gauge' : family.type
  const name = group.base + (format === 'openmetrics' && type === 'counter' ? family.openSuffix : family.suffix)
  const unit = format === 'openmetrics' && family.unit !== '' ? `# UNIT ${name} ${family.unit}\n` : ''
  return `# TYPE ${name} ${type}\n${unit}${helpOf(name, group, family, format)}`
}

/**
 * What tells of samples whose name is also another family's. Two types cannot share a name, so the type gives way: Prometheus
 * stores the samples all the same, under the names they always have.
 */
function sharedHeadOf(name: string, providers: readonly Claim[], format: Format): string {
  const { group, family } = providers[0] as Claim
  let type = format === 'openmetrics' ? 'unknown' : 'untyped'
  if (providers.every((each) => each.family.type === 'gauge')) type = 'gauge'
  else if (providers.length === 1 && family.type === 'counter' && format === 'text') {
    type = group.goesDown ? 'gauge' : 'counter'
  }
  return `# TYPE ${name} ${type}\n${helpOf(name, group, family, format)}`
}

function helpOf(name: string, { type, original }: Group, { about }: Family, format: Format): string {
  const help = `Zibrato ${type} ${original}${about}`
  return `# HELP ${name} ${format === 'openmetrics' ? escapeQuoted(help) : escapeHelp(help)}\n`
}

function lineOf({ labels, group }: PromSeries, { suffix, label, labelValue }: Metric, value: number): string {
  const all = label === undefined ? labels : `${labels}${labels === '' ? '' : ','}${label}="${labelValue}"`
  return `${group.base}${suffix}${all === '' ? '' : `{${all}}`} ${valueText(value)}\n`
}
