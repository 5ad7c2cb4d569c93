import { UsageError } from '../../client/errors.ts'
import type { BackendUrl } from '../url.ts'

/** Upper limits, exclusive and ascending, of the bins of every timer whose name holds `metric`. The first match counts. */
export interface TimerHistogram {
  readonly metric: string
  /** In milliseconds; `'inf'` takes the rest. None at all switches histograms off for these timers. */
  readonly bins: readonly (number | 'inf')[]
}

/**
 * What a {@link GraphiteBackend} can be told, by the names and with the defaults of statsd 0.9. Behind a URL's `?` they
 * have the same names; lists are written with commas, and each histogram as `histogram=METRIC:BIN,BIN,...`.
 */
export interface GraphiteOptions {
  /** statsd's `graphiteHost`. */
  readonly host: string
  /** statsd's `graphitePort`, of the plain text protocol. Default 2003. */
  readonly port?: number | undefined
  /** Counters without a prefix of their own, and no other prefix but `prefixStats` used. Default true. */
  readonly legacyNamespace?: boolean | undefined
  /** Default `stats`; empty for none. */
  readonly globalPrefix?: string | undefined
  /** Default `counters`; empty for none, as with the others. */
  readonly prefixCounter?: string | undefined
  /** Default `timers`. */
  readonly prefixTimer?: string | undefined
  /** Default `gauges`. */
  readonly prefixGauge?: string | undefined
  /** Default `sets`. */
  readonly prefixSet?: string | undefined
  /** Of histograms, which statsd does not have. Default `histograms`. */
  readonly prefixHistogram?: string | undefined
  /** Of meters, which statsd does not have. Default `meters`. */
  readonly prefixMeter?: string | undefined
  /** Follows every name, behind a dot. Default none. */
  readonly globalSuffix?: string | undefined
  /** Under which the backend's own figures go. Default `statsd`; empty for no such figures. */
  readonly prefixStats?: string | undefined
  /** Whether counters also come as sums, not only as rates. Default true. */
  readonly flush_counts?: boolean | undefined
  /** From -100 to 100; negative ones are about the largest values. Default 90. */
  readonly percentThreshold?: readonly number[] | undefined
  /** Default none. */
  readonly histogram?: readonly TimerHistogram[] | undefined
  /**
   * The figures of timers to send, such as `count`, `median`, `upper_percent` and `histogram`; all when there is none.
   */
  readonly calculatedTimerMetrics?: readonly string[] | undefined
  /** False leaves in tags what Graphite can bear; in names it changes nothing. Default true. */
  readonly keyNameSanitize?: boolean | undefined
  /**
   * Where tags and a source go: behind the name as `;key=value` (Graphite 1.1), into the path as `.key.value`, or nowhere,
   * so that series that differ in nothing else become one. Default `tag`.
   */
  readonly tags?: 'tag' | 'path' | 'drop' | undefined
}

const TEXTS = [
  'globalPrefix',
  'prefixCounter',
  'prefixTimer',
  'prefixGauge',
  'prefixSet',
  'prefixHistogram',
  'prefixMeter',
  'globalSuffix',
  'prefixStats',
] as const
// what statsd silently passes over in its old namespace
const NOT_IN_LEGACY = TEXTS.slice(0, 7)

/**
 * Reads the options behind a URL.
 *
 * @throws UsageError naming the option that makes no sense
 */
export function graphiteOptions(url: BackendUrl): GraphiteOptions {
  const { params } = url
  if (url.scheme !== 'graphite') {
    throw new UsageError(`${url.label}: only the plain text protocol over TCP is spoken; write graphite://host:2003`)
  }
  if (url.host === '' || !['', '/'].includes(url.path)) {
    throw new UsageError(`${url.label}: name a host, and nothing behind it but options; write graphite://host:2003`)
  }
  if (url.user !== undefined || url.password !== undefined) {
    throw new UsageError(`${url.label}: Graphite takes no user or password; remove what stands before the "@"`)
  }
  const texts = Object.fromEntries(TEXTS.map((name) => [name, params.text(name)]))
  const legacyNamespace = params.flag('legacyNamespace')
  const idle = legacyNamespace === false ? undefined : NOT_IN_LEGACY.find((name) => texts[name] !== undefined)
  if (idle !== undefined) {
    throw new UsageError(`${url.label}: the option ${idle} changes nothing without legacyNamespace=false; add that`)
  }
  const thresholds = params.text('percentThreshold')
  const figures = params.text('calculatedTimerMetrics')
  return {
    host: url.host,
    port: url.port,
    legacyNamespace,
    ...texts,
    flush_counts: params.flag('flush_counts'),
    percentThreshold: thresholds === undefined ? undefined : itemsOf(thresholds).map(numberOf),
    histogram: params.list('histogram').map((text) => histogramOf(text, url.label)),
    calculatedTimerMetrics: figures === undefined ? undefined : itemsOf(figures),
    keyNameSanitize: params.flag('keyNameSanitize'),
    tags: params.choice('tags', ['tag', 'path', 'drop']),
  }
}

/**
 * @param owner begins the message
 * @throws UsageError naming the option that makes no sense
 */
export function checkGraphiteOptions(options: GraphiteOptions, owner: string): void {
  for (const name of TEXTS) {
    // it would end the name, and the rest of the line with it
    if (/[\s\p{Cc};]/u.test(options[name] ?? '')) {
      throw new UsageError(`${owner}: the option ${name} must not hold spaces, control characters or ";"`)
    }
  }
  const threshold = options.percentThreshold?.find((each) => !(each >= -100 && each <= 100))
  if (threshold !== undefined) {
    throw new UsageError(`${owner}: the option percentThreshold must be numbers from -100 to 100, such as 90,99,-10`)
  }
  const bins = options.histogram?.flatMap((each) => each.bins) ?? []
  if (!bins.every((bin) => bin === 'inf' || Number.isFinite(bin))) {
    throw new UsageError(`${owner}: the bins of the option histogram must be numbers or inf, such as render:10,100,inf`)
  }
}

function itemsOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function numberOf(text: string): number {
  return Number(text)
}

function histogramOf(text: string, owner: string): TimerHistogram {
  const colon = text.lastIndexOf(':')
  if (colon < 0) {
    throw new UsageError(`${owner}: the option histogram=${text} must be METRIC:BINS, such as render:10,100,inf`)
  }
  const bins = itemsOf(text.slice(colon + 1)).map((bin) => (bin === 'inf' ? bin : Number(bin)))
  return { metric: text.slice(0, colon), bins }
}
