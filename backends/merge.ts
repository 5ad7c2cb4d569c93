import { Distribution } from '../client/sketch/distribution.ts'
import { Members } from '../client/sketch/members.ts'
import type { Series, Type } from '../client/wire/series.ts'
import type {
  CounterRollup,
  DistributionRollup,
  GaugeRollup,
  MeterRollup,
  Rollup,
  SetRollup,
  Window,
} from './backend.ts'
import { pacer } from '../client/pace.ts'
import { summarise } from './worker/rollup.ts'
import { saturated } from '../client/sketch/saturated.ts'

export type Named = Pick<Series, 'name' | 'source' | 'tags'>

/** How a service names series, and what it tells them apart by. */
export interface Naming {
  /** What the service will know a series by; the same object where nothing changes. */
  rename(series: Rollup): Named
  /** Two series of one identity are one to the service. */
  identity(series: Named): string
  /** What a name stands for, where the service does not tell upper and lower case apart; itself elsewhere. */
  fold(name: string): string
  /** What is added to a series' name for each of the metrics that it becomes: `['']`, `['.count', '.avg']`. */
  readonly suffixes: Readonly<Record<Type, readonly string[]>>
}

/** Of several types that have one name, the first of these keeps it. */
const ORDER: readonly Type[] = ['counter', 'gauge', 'timer', 'histogram', 'meter', 'set']

type Breathe = () => Promise<void> | undefined

/** Series of a window that are one to the service. */
interface Group {
  readonly type: Type
  readonly named: Named
  readonly rollups: Rollup[]
}

/** Names that are remembered as shared by several types; past that it begins anew. */
const MOST_REMEMBERED = 100_000

/**
 * Makes of a window the one that a service will see. Series that become one there are merged, as counts would otherwise
 * overwrite each other: counters and meters add up, sets, timers and histograms merge whole, and
 * gauges keep all readings, then in no order of time.
 * Series of different types that would meet under one name are told apart by their type, `name.timer`; once that was
 * needed, it stays so.
 */
export class Merger {
  readonly #naming: Naming
  /** The first type whose metrics meet those of a type under the same name. */
  readonly #family = new Map<Type, number>()
  /** Suffixes by which a metric of one series can meet another series' name, and the types that have them. */
  readonly #derived = new Map<string, number>()
  readonly #apart = new Set<string>()

  constructor(naming: Naming) {
    this.#naming = naming
    ORDER.forEach((type, bit) => {
      const own = naming.suffixes[type]
      const family = ORDER.findIndex((other) => naming.suffixes[other].some((suffix) => own.includes(suffix)))
      this.#family.set(type, family)
      for (const suffix of own) {
        if (suffix !== '') this.#derived.set(suffix, (this.#derived.get(suffix) ?? 0) | (1 << bit))
      }
    })
  }

  async merge(window: Window): Promise<Window> {
    const breathe = pacer()
    const names: Named[] = []
    const typesOf = new Map<string, number>()
    for (const rollup of window.rollups) {
      const named = this.#naming.rename(rollup)
      names.push(named)
      const name = this.#naming.fold(named.name)
      typesOf.set(name, (typesOf.get(name) ?? 0) | (1 << ORDER.indexOf(rollup.type)))
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    const groups: Group[] = []
    const places = new Map<string, Group>()
    for (const [index, rollup] of window.rollups.entries()) {
      const named = this.#told(rollup.type, names[index] as Named, typesOf)
      const group = this.#place(named, rollup.type, places)
      if (group.rollups.length === 0) groups.push(group)
      group.rollups.push(rollup)
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    const rollups: Rollup[] = []
    for (const group of groups) {
      rollups.push(await mergeGroup(group, window.end - window.start, breathe))
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    return { start: window.start, end: window.end, rollups }
  }

  /** Where series of a name and type belong. */
  #place(named: Named, type: Type, places: Map<string, Group>): Group {
    const family = this.#family.get(type) as number
    for (let own = named; ; own = { ...own, name: `${own.name}.${type}` }) {
      const key = `${family} ${this.#naming.identity(own)}`
      const there = places.get(key)
      if (there?.type === type) return there
      if (there !== undefined) continue
      const group = { type, named: own, rollups: [] }
      places.set(key, group)
      return group
    }
  }

  /** A series' name, with its type behind it where another type has it. */
  #told(type: Type, named: Named, typesOf: ReadonlyMap<string, number>): Named {
    const name = this.#naming.fold(named.name)
    const types = typesOf.get(name) as number
    // most names have one type, and no other's suffix
    const alone = (types & (types - 1)) === 0
    const dot = name.lastIndexOf('.')
    const deriving = dot <= 0 ? 0 : (this.#derived.get(name.slice(dot)) ?? 0)
    if (alone && deriving === 0 && this.#apart.size === 0) return named
    const key = `${type} ${name}`
    const meets =
      (!alone && this.#isLater(type, types)) ||
      (deriving !== 0 &&
        this.#naming.suffixes[type].includes('') &&
        (deriving & (typesOf.get(name.slice(0, dot)) ?? 0)) !== 0)
    if (!meets && !this.#apart.has(key)) return named
    if (this.#apart.size >= MOST_REMEMBERED) this.#apart.clear()
    this.#apart.add(key)
    return { name: `${named.name}.${type}`, source: named.source, tags: named.tags }
  }

  /** Whether one of some types, as bits, keeps a name before another type. */
  #isLater(type: Type, types: number): boolean {
    const family = this.#family.get(type)
    return ORDER.slice(0, ORDER.indexOf(type)).some(
      (other, bit) => (types & (1 << bit)) !== 0 && this.#family.get(other) === family,
    )
  }
}

async function mergeGroup({ named, rollups }: Group, interval: number, breathe: Breathe): Promise<Rollup> {
  const [first, ...others] = rollups as [Rollup, ...Rollup[]]
  const { name, source, tags } = named
  if (others.length === 0) return named === first ? first : { ...first, name, source, tags }
  switch (first.type) {
    case 'counter': {
      const all = rollups as readonly CounterRollup[]
      const [value, rate, total] = [sumOf(all, 'value'), sumOf(all, 'rate'), sumOf(all, 'total')]
      return { ...first, name, source, tags, value, rate, total }
    }
    case 'meter': {
      const all = rollups as readonly MeterRollup[]
      const [count, rate] = [sumOf(all, 'count'), sumOf(all, 'rate')]
      const [m1, m5, m15] = [sumOf(all, 'm1'), sumOf(all, 'm5'), sumOf(all, 'm15')]
      return { ...first, name, source, tags, count, rate, m1, m5, m15 }
    }
    case 'gauge':
      return { ...mergeGauges(rollups as readonly GaugeRollup[]), name, source, tags }
    case 'set': {
      const members = new Members()
      for (const rollup of rollups as readonly SetRollup[]) {
        members.merge(rollup.members)
        const pause = breathe()
        if (pause !== undefined) await pause
      }
      return { ...first, name, source, tags, value: members.size, members }
    }
    case 'timer':
    case 'histogram': {
      const distribution = new Distribution()
      for (const rollup of rollups as readonly DistributionRollup[]) {
        distribution.merge(rollup.distribution)
        const pause = breathe()
        if (pause !== undefined) await pause
      }
      return { type: first.type, name, source, tags, ...summarise(distribution, interval, []), distribution }
    }
  }
}

function sumOf<Key extends string>(rollups: readonly Readonly<Record<Key, number>>[], key: Key): number {
  return rollups.reduce((sum, rollup) => saturated(sum + rollup[key]), 0)
}

/** The value is the newest reading's, of two at one time the larger: as where two frames meet. */
function mergeGauges(gauges: readonly GaugeRollup[]): GaugeRollup {
  let newest = gauges[0] as GaugeRollup
  let [min, max, sum, count] = [newest.min, newest.max, 0, 0]
  const timeOf = ({ readings }: GaugeRollup): number => readings.at(-1)?.[0] ?? Number.NEGATIVE_INFINITY
  for (const gauge of gauges) {
    const later = timeOf(gauge) - timeOf(newest)
    if (later > 0 || (timeOf(gauge) === timeOf(newest) && gauge.value > newest.value)) newest = gauge
    min = Math.min(min, gauge.min)
    max = Math.max(max, gauge.max)
    sum = saturated(sum + saturated(gauge.mean * gauge.count))
    count += gauge.count
  }
  const readings = gauges.flatMap((gauge) => gauge.readings)
  return { ...newest, min, max, mean: count === 0 ? newest.value : saturated(sum / count), count, readings }
}
