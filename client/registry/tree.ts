import type { SeriesStats, StatsOf } from './stats.ts'
import type { Type } from '../wire/series.ts'

/** A series of a name that has another source, or other tags, than the registry itself. */
export type TaggedStats = {
  readonly [T in Type]: StatsOf[T] & {
    readonly source: string
    readonly tags: Readonly<Record<string, string>>
  }
}[Type]

/**
 * Names split at their dots:
 *
 * ```ts
 * { my: { timer: { count: 3, m1: 0.2, ..., p50: 0.012, ... }, orders: { value: 5, series: [{ source, tags: { paid: 'true' }, value: 2 }] } } }
 * ```
 *
 * What is a number belongs to the series of that name, what is an object to longer names. Where a longer name goes on with
 * what is a number or `series` already, it has a dot before it: of the counters `a` and `a.value`, the second stands at
 * `stats.a['.value']`. Objects have no prototype, so every name is a name like any other.
 */
export interface StatsTree {
  readonly [key: string]: StatsTree | number | readonly TaggedStats[]
}

type Node = Record<string, unknown>

// what `Object.create(null)` makes is a hash table inside, three times as slow
const Node = function () {} as unknown as new () => Node
Node.prototype = Object.create(null)

/** Grows a {@link StatsTree}. Names with fewer dots come first, so that what belongs to a name is there before longer ones. */
export class TreeBuilder {
  readonly root: StatsTree = new Node() as StatsTree

  /** The place for a name's numbers. */
  at(path: readonly string[]): Node {
    let node = this.root as Node
    for (const segment of path) {
      const known = node[segment]
      if (known === undefined) node = node[segment] = new Node() as never
      else if (isNode(known)) node = known
      else node = (node[`.${segment}`] ??= new Node()) as Node
    }
    return node
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && !Array.isArray(value)
}

/** Adds the numbers of a series to its name's node. */
export function put(node: Node, { series, stats }: SeriesStats, plain: boolean): void {
  if (plain) {
    Object.assign(node, stats)
    return
  }
  const others = (node['series'] ??= []) as TaggedStats[]
  others.push({ source: series.source, tags: series.tags, ...stats })
}
