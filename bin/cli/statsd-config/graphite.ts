import type { SettingsReader } from './reader.ts'

const TEXTS = ['globalPrefix', 'prefixCounter', 'prefixTimer', 'prefixGauge', 'prefixSet'] as const

/**
 * The URL of the backend that does what statsd's graphite backend does with these settings; undefined when no host is
 * given, as statsd then sends nothing.
 */
export function graphiteUrl(
  reader: SettingsReader,
  { prefixStats, sanitize }: { readonly prefixStats: string; readonly sanitize: boolean },
): string | undefined {
  const host = reader.text('graphiteHost')
  const port = reader.number('graphitePort', { min: 0, max: 65_535, whole: true }) || 2003
  const isPickled = reader.text('graphiteProtocol') === 'pickle'
  if (isPickled) {
    reader.note('graphiteProtocol', `only the plain text protocol is spoken, to port ${port}; open that in Graphite`)
  }
  // with plain text statsd does not use it either
  reader.take('graphitePicklePort')
  const options = [...graphiteOptions(reader, prefixStats, sanitize), ...timerOptions(reader)]
  if (host === undefined || host === '') return undefined
  const target = `${host.includes(':') ? `[${host}]` : encodeURIComponent(host)}:${port}`
  // so that windows that wait still find it when options have changed
  options.push(['known-as', `${host}:${port}`])
  return `graphite://${target}?${options.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`
}

type Option = readonly [name: string, value: string]

function graphiteOptions(reader: SettingsReader, prefixStats: string, sanitize: boolean): Option[] {
  const options: Option[] = []
  const block = reader.object('graphite')
  const isLegacy = block?.flag('legacyNamespace') ?? true
  if (!isLegacy) options.push(['legacyNamespace', 'no'])
  for (const name of TEXTS) {
    const text = block?.text(name)
    if (text === undefined) continue
    if (isLegacy) block?.note(name, 'as in statsd it changes nothing without legacyNamespace: false')
    else options.push([name, text])
  }
  const suffix = block?.text('globalSuffix')
  if (suffix !== undefined) options.push(['globalSuffix', suffix])
  block?.noteUnknown('not a setting of statsd 0.9')
  if (prefixStats !== 'statsd') options.push(['prefixStats', prefixStats])
  if (!sanitize) options.push(['keyNameSanitize', 'no'])
  if (reader.flag('flush_counts') === false) options.push(['flush_counts', 'no'])
  return options
}

function timerOptions(reader: SettingsReader): Option[] {
  const options: Option[] = []
  const thresholds = reader.numbers('percentThreshold', { min: -100, max: 100 })
  // statsd takes a bare 0 for none given
  const isZero = thresholds?.length === 1 && thresholds[0] === 0
  if (thresholds !== undefined && !isZero) options.push(['percentThreshold', thresholds.join(',')])
  const figures = reader.texts('calculatedTimerMetrics') ?? []
  if (figures.length > 0) options.push(['calculatedTimerMetrics', figures.join(',')])
  for (const histogram of reader.objects('histogram') ?? []) {
    const metric = histogram.text('metric') ?? ''
    const bins = histogram.texts('bins') ?? []
    histogram.noteUnknown('not a setting of statsd 0.9')
    options.push(['histogram', `${metric}:${bins.join(',')}`])
  }
  return options
}
