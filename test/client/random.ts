import { createAggregate } from '../../client/sketch/aggregate.ts'
import { Distribution } from '../../client/sketch/distribution.ts'
import { COMBINES, Gauge } from '../../client/sketch/gauge.ts'
import { Members } from '../../client/sketch/members.ts'
import type { Aggregate } from '../../client/sketch/aggregate.ts'
import { FrameEncoder } from '../../client/wire/frame.ts'
import { type EncodedKey, encodeKey, seriesKey } from '../../client/wire/series.ts'

/** Numbers in 0 .. 1, the same for the same seed (mulberry32). */
export type Random = () => number

export function seeded(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit)
}

/** Log-normal, as latencies are: median 1. */
export function lognormal(random: Random, deviation = 1): number {
  return Math.exp(deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()))
}

const TYPE_CODES = [1, 2, 3, 4, 5, 6]
const LEVELS = ['info', 'crit', 'dé', '級'.repeat(21), 'l'.repeat(64), '\ufefflevel']

export function randomAggregate(random: Random, type: number, many = 300): Aggregate {
  const aggregate = createAggregate(type)
  const count = 1 + below(random, random() < 0.5 ? 5 : many)
  for (let index = 0; index < count; index++) {
    if (aggregate instanceof Gauge) aggregate.set(below(random, 100) - 50, 1_700_000_000_000 + below(random, 200_000))
    else if (aggregate instanceof Members) aggregate.add(`member ${below(random, 10 * many)}`)
    else if (aggregate instanceof Distribution) {
      const value = lognormal(random, 3) * (random() < 0.1 ? -1 : 1) * (random() < 0.05 ? 0 : 1)
      aggregate.add(value, count % 3 === 0 ? 0.5 + below(random, 9) : 1)
    } else aggregate.add(below(random, 1000))
  }
  if (aggregate instanceof Gauge) aggregate.combine = COMBINES[below(random, 4)] ?? 'last'
  return aggregate
}

export function randomKey(random: Random, shard: number): EncodedKey {
  const tags = Object.fromEntries(
    Array.from({ length: below(random, 4) }, () => [`tag${below(random, 9)}`, `ü${below(random, 99)}`]),
  )
  const rest = seriesKey('name', random() < 0.5 ? '' : 'web', tags)
  for (let number = below(random, 1e6); ; number++) {
    const key = encodeKey(`${number}.${rest}`)
    if (key.shard === shard) return key
  }
}

export interface RandomFrame {
  readonly bytes: Uint8Array
  readonly level: string
  readonly shard: number
  readonly seq: number
  readonly entries: readonly { readonly type: number; readonly key: EncodedKey; readonly aggregate: Aggregate }[]
}

/** A valid frame of up to `size` entries of all types. */
export function randomFrame(random: Random, size = 8, many = 300): RandomFrame {
  const encoder = new FrameEncoder()
  const shard = below(random, 32)
  const entries = Array.from({ length: 1 + below(random, size) }, () => {
    const type = TYPE_CODES[below(random, TYPE_CODES.length)] ?? 1
    return { type, key: randomKey(random, shard), aggregate: randomAggregate(random, type, many) }
  })
  for (const { type, key, aggregate } of entries) encoder.add(type, key, aggregate)
  const level = LEVELS[below(random, LEVELS.length)] ?? 'info'
  const seq = 1 + below(random, random() < 0.5 ? 100 : Number.MAX_SAFE_INTEGER - 1)
  const publisher = { high: below(random, 2 ** 32), low: below(random, 2 ** 32) }
  const bytes = encoder.seal(
    publisher,
    level,
    shard,
    seq,
    1_700_000_000_000 + below(random, 1e6),
    below(random, 10_000),
  )
  return { bytes, level, shard, seq, entries }
}
