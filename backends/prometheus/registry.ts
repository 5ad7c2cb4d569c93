import { PermanentError, type Rollup, type Window } from '../backend.ts'
import { pacer } from '../../client/pace.ts'
import { Claims } from './claims.ts'
import { type Life, type Metric, type ShapeOptions, Shapes } from './family.ts'
import { Group, PromSeries } from './group.ts'
import { baseName, labelText, labelsOf } from '../../client/prometheus.ts'

export interface RegistryOptions extends ShapeOptions {
  /** The backend's; begins errors. */
  readonly owner: string
  /** Begins every name. */
  readonly prefix: string
  /** How long totals, counts and sums stay without new data, ms. */
  readonly keepMs: number
  /** How long gauges and rates stay without new data, ms. */
  readonly expireMs: number
  /** Whether series keep what they were before a gap. */
  readonly keepsFormer: boolean
  /** A clock, ms. */
  readonly now: () => number
}

/** What tells of one window stays at least this long, so that who scrapes once a minute sees it. */
const WINDOW_MS = 60_000
const SWEEP_MS = 60_000

/** All series that were flushed and not forgotten since, with the names they have for Prometheus. */
export class Registry {
  /** The names that families have. */
  readonly claims: Claims = new Claims()
  readonly #options: RegistryOptions
  readonly #series = new Map<string, PromSeries>()
  readonly #groups = new Map<string, Group>()
  readonly #shapes: Shapes
  #windowMs = WINDOW_MS
  #sweptMs: number

  constructor(options: RegistryOptions) {
    this.#options = options
    this.#shapes = new Shapes(options)
    this.#sweptMs = options.now()
  }

  get size(): number {
    return this.#series.size
  }

  groups(): Iterable<Group> {
    return this.#groups.values()
  }

  /** What is known of a rollup's series; undefined when it was refused. */
  find(rollup: Rollup): PromSeries | undefined {
    return this.#series.get(keyOf(rollup))
  }

  /**
   * Takes a window; a second time it changes nothing.
   *
   * @returns an error about series that Prometheus could not tell from others; they are left out
   */
  async take(window: Window, signal: AbortSignal): Promise<PermanentError | undefined> {
    const breathe = pacer()
    const nowMs = this.#options.now()
    this.#windowMs = Math.max(WINDOW_MS, 2000 * (window.end - window.start))
    let refused = 0
    let reason = ''
    for (const rollup of window.rollups) {
      const key = keyOf(rollup)
      const series = this.#series.get(key) ?? this.#insert(key, rollup)
      if (series instanceof PromSeries) {
        series.take(rollup, window, this.#options.keepsFormer)
        series.heardMs = nowMs
      } else {
        refused++
        if (reason === '') reason = series.problem
      }
      const pause = breathe()
      if (pause !== undefined) {
        await pause
        signal.throwIfAborted()
      }
    }
    if (nowMs - this.#sweptMs >= SWEEP_MS) await this.#sweep(nowMs)
    return refused === 0 ? undefined : new PermanentError(`${this.#options.owner}: ${reason}`, { refused })
  }

  /** Whether a number of a series has had no data for so long that it is shown no more. */
  isStale(series: PromSeries, { life }: Metric, nowMs: number): boolean {
    return nowMs - series.heardMs > this.#lifetimeMs(life)
  }

  #lifetimeMs(life: Life): number {
    const { keepMs, expireMs } = this.#options
    return life === 'cumulative' ? keepMs : life === 'gauge' ? expireMs : this.#windowMs
  }

  #insert(key: string, rollup: Rollup): PromSeries | { readonly problem: string } {
    const base = baseName(rollup, this.#options.prefix)
    const groupKey = `${rollup.type} ${base}`
    const known = this.#groups.get(groupKey)
    const group = known ?? new Group(base, rollup, this.#shapes.of(rollup))
    if (known === undefined) this.claims.add(group)
    const labels = labelText(labelsOf(rollup))
    const other = this.#clash(group, labels)
    if (other !== undefined) {
      if (known === undefined) this.claims.remove(group)
      return { problem: problemOf(rollup, group, other) }
    }
    if (known === undefined) this.#groups.set(groupKey, group)
    const series = new PromSeries(key, labels, group)
    group.series.set(labels, series)
    this.#series.set(key, series)
    return series
  }

  /** A series that a new one of the group could not be told from. */
  #clash(group: Group, labels: string): PromSeries | undefined {
    const same = group.series.get(labels)
    if (same !== undefined) return same
    for (const claim of group.claims) {
      if (!this.claims.isShared(claim)) continue
      for (const { suffix, label } of claim.family.metrics) {
        const name = group.base + suffix
        for (const { group: others, family } of this.claims.of(name)) {
          const theirs = others.series.get(labels)
          const hasSame = family.metrics.some(
            (metric) => others.base + metric.suffix === name && metric.label === label,
          )
          if (theirs !== undefined && hasSame) return theirs
        }
      }
    }
    return undefined
  }

  /** Forgets series of which nothing is shown any more. */
  async #sweep(nowMs: number): Promise<void> {
    this.#sweptMs = nowMs
    const breathe = pacer()
    for (const [groupKey, group] of this.#groups) {
      const lifetimeMs = Math.max(...group.shape.metrics.map(({ life }) => this.#lifetimeMs(life)))
      for (const [labels, series] of group.series) {
        if (nowMs - series.heardMs > lifetimeMs) {
          group.series.delete(labels)
          this.#series.delete(series.key)
        }
        const pause = breathe()
        if (pause !== undefined) await pause
      }
      if (group.series.size > 0) continue
      this.#groups.delete(groupKey)
      this.claims.remove(group)
    }
  }
}

// as in a series key; the tags are sorted
function keyOf({ type, name, source, tags }: Rollup): string {
  let key = `${type}\0${name}\0${source}`
  for (const tag in tags) key += `\0${tag}\0${tags[tag]}`
  return key
}

function problemOf({ type, name }: Rollup, { base, shape }: Group, { key, group }: PromSeries): string {
  const shared = base + (shape.metrics[0] as Metric).suffix
  return (
    `the ${type} ${JSON.stringify(name)} is left out: with its labels it would be the same series ${shared} as the ` +
    `${group.type} ${JSON.stringify(key.split('\0')[1])}; rename one of them, or its tags`
  )
}
