import { UsageError } from '../client/errors.ts'
import { Backend, type DistributionRollup, type Rollup, type Window } from './backend.ts'
import { type Batch, Batches, WINDOW_MS } from './batches.ts'
import { sendPackets } from '../client/packets.ts'
import { type NameStyle, gaugeLine, identityOf, milliseconds } from '../client/statsd.ts'
import { sendStream } from './stream.ts'
import type { BackendUrl } from './url.ts'

/** Bytes sent before it is known whether they arrived, as far as that can be known. */
const BATCH_BYTES = 48 * 1024
/** An Ethernet frame less the headers of IPv6, UDP and a tunnel, as statsd's documentation advises. */
const MTU = 1432

/**
 * `statsd://host:8125` (UDP), `statsd+tcp://host:8125` and `statsd+unix:/path`: a StatsD server, as lines.
 *
 * Counters come out exactly. Of a timer or histogram with up to 64 values, each is sent; of one with more, `samples`
 * values of equal weight at evenly spread ranks, least and greatest included, with a sample rate that makes up the count.
 */
export class StatsdBackend extends Backend {
  readonly name = 'statsd'
  override readonly timeoutMs: number = WINDOW_MS
  readonly #batches: Batches<LineBatch>

  constructor(url: BackendUrl) {
    super()
    const { params } = url
    const style = {
      prefix: params.text('prefix') ?? '',
      tags: params.choice('tags', ['name', 'dogstatsd', 'drop']) ?? 'name',
      histograms: params.choice('histograms', ['ms', 'h', 'd']),
      samples: params.number('samples', { min: 2, max: 100_000, whole: true }) ?? 200,
    }
    const mtu = params.number('mtu', { min: 64, max: 65_000, whole: true }) ?? MTU
    const lines = new Lines({ ...style, histograms: style.histograms ?? (style.tags === 'dogstatsd' ? 'h' : 'ms') })
    const send = senderOf(url, this.name, mtu)
    this.#batches = new Batches({
      timeoutMs: url.timeoutMs,
      name: this.name,
      begin: () => new LineBatch(lines),
      limit: BATCH_BYTES,
      post: (batch, signal) => send(batch.units, signal),
      dropUnanswered: url.inDoubt === 'drop',
    })
  }

  override flush(window: Window, signal: AbortSignal): Promise<void> {
    return this.#batches.flush(window, signal)
  }
}

type Send = (units: readonly string[], signal: AbortSignal) => Promise<void>

function senderOf(url: BackendUrl, name: string, mtu: number): Send {
  const { scheme, host, port = 8125, path, label } = url
  if (scheme === 'statsd+unix') {
    if (host !== '' || path === '') throw new UsageError('statsd: names no socket; write statsd+unix:/run/statsd.sock')
    return (units, signal) => sendStream(textOf(units), { name, label, to: { path }, signal })
  }
  if (scheme !== 'statsd' && scheme !== 'statsd+tcp') {
    throw new UsageError(
      `statsd: knows no ${scheme}:; write statsd://host:8125, statsd+tcp://host:8125 or statsd+unix:/path`,
    )
  }
  if (host === '' || (path !== '' && path !== '/')) {
    throw new UsageError(`statsd: ${label} names no host, or more than one; write ${scheme}://host:8125`)
  }
  if (scheme === 'statsd') return (units, signal) => sendPackets(units, { name, label, host, port, mtu, signal })
  return (units, signal) => sendStream(textOf(units), { name, label, to: { host, port }, signal })
}

function textOf(units: readonly string[]): string[] {
  return [`${units.join('\n')}\n`]
}

/** Lines of a part of a window. */
class LineBatch implements Batch {
  /** One line each, or several that must stay together. */
  readonly units: string[] = []
  size = 0
  readonly #lines: Lines

  constructor(lines: Lines) {
    this.#lines = lines
  }

  add(rollup: Rollup): void {
    for (const unit of this.#lines.of(rollup)) {
      this.units.push(unit)
      this.size += unit.length + 1
    }
  }
}

interface LineStyle extends NameStyle {
  readonly histograms: 'ms' | 'h' | 'd'
  readonly samples: number
}

/** What rollups become. */
class Lines {
  readonly #style: LineStyle

  constructor(style: LineStyle) {
    this.#style = style
  }

  *of(rollup: Rollup): Generator<string> {
    const [name, tags] = identityOf(rollup, this.#style)
    switch (rollup.type) {
      case 'counter':
        if (rollup.value !== 0) yield `${name}:${rollup.value}|c${tags}`
        return
      case 'meter':
        if (rollup.count !== 0) yield `${name}:${rollup.count}|c${tags}`
        return
      case 'gauge':
      case 'set':
        yield gaugeLine(name, rollup.value, tags)
        return
      default:
        yield* this.#distribution(name, rollup, tags)
    }
  }

  *#distribution(name: string, rollup: DistributionRollup, tags: string): Generator<string> {
    const type = rollup.type === 'timer' ? 'ms' : this.#style.histograms
    const { distribution, count } = rollup
    const line = (value: number, weight: number): string => {
      const shown = rollup.type === 'timer' ? milliseconds(value) : value
      return `${name}:${shown}|${type}${weight === 1 ? '' : `|@${decimal(1 / weight)}`}${tags}`
    }
    if (!distribution.sketched) {
      const { values, weights } = distribution
      for (let index = 0; index < values.length; index++) {
        yield line(values[index] as number, weights === undefined ? 1 : (weights[index] as number))
      }
      return
    }
    const whole = Math.round(count)
    const samples = whole === count && count <= this.#style.samples ? count : this.#style.samples
    // the middle of each of `samples` parts of equal weight; at both ends what is known exactly
    const ranks = Array.from({ length: samples }, (_, index) => (index + 0.5) / samples)
    const values = distribution.quantiles(ranks)
    values[0] = distribution.min
    values[samples - 1] = distribution.max
    for (const value of values) yield line(value, count / samples)
  }
}

/** A sample rate without an exponent, which statsd would read over: 1e-7 as 1. */
function decimal(rate: number): string {
  const text = String(rate)
  return text.includes('e') ? rate.toFixed(Math.min(100, 16 - Math.floor(Math.log10(rate)))) : text
}
