import { utf8 } from '../wire/bytes.ts'
import { mix32 } from '../wire/hash.ts'
import { type Octets, finite, u32, varint } from '../wire/octets.ts'
import type { Aggregates } from './aggregates.ts'
import { MAX_READINGS, SUMMARISED } from './combine.ts'

/** How long a list grows until it becomes a frame before the next flush. */
const MOST = 4096

/** A value and its weight, a value and its time, or the halves of a hash. */
type Pair = readonly [number, number]

type Entry = (payload: Octets) => void

/** What was recorded, as it is. */
class List {
  readonly #pairs: Pair[] = []
  readonly #encode: (pairs: readonly Pair[], flags: number) => Octets
  readonly #most: number

  /** @param most pairs that one entry of a frame may list */
  constructor(encode: (pairs: readonly Pair[], flags: number) => Octets, most: number) {
    this.#encode = encode
    this.#most = most
  }

  add(left: number, right: number): boolean {
    return this.#pairs.push([left, right]) >= MOST
  }

  drain(entry: Entry, flags = 0): void {
    while (this.#pairs.length > 0) entry(this.#encode(this.#pairs.splice(0, this.#most), flags))
  }
}

/** As a `Distribution` does that is no sketch. */
function encodeValues(pairs: readonly Pair[]): Octets {
  const sum = (power: number): number => pairs.reduce((all, [value, weight]) => all + value ** power * weight, 0)
  const values = pairs.map(([value]) => value)
  const weights = pairs.map(([, weight]) => weight)
  const isWeighted = weights.some((weight) => weight !== 1)
  return [
    isWeighted ? 2 : 0,
    ...finite(sum(0), sum(1), Math.min(...values), Math.max(...values), sum(2)),
    ...varint(values.length),
    ...finite(...values, ...(isWeighted ? weights : [])),
  ]
}

/** As `Readings` do: the last of each second, and a summary when there were more. */
function encodeReadings(pairs: readonly Pair[], flags: number): Octets {
  const values = pairs.map(([value]) => value)
  const inTime = [...pairs].sort(([, left], [, right]) => left - right)
  const kept = lastBy(([, timeMs]) => Math.floor(timeMs / 1000), inTime).slice(-MAX_READINGS)
  const readings = kept.flatMap(([value, timeMs], index) => [
    ...varint(timeMs - (kept[index - 1]?.[1] ?? 0)),
    ...finite(value),
  ])
  return kept.length === values.length
    ? [flags, kept.length, ...readings]
    : [
        flags | SUMMARISED,
        kept.length,
        ...readings,
        ...finite(
          values.length,
          Math.min(...values),
          Math.max(...values),
          values.reduce((sum, value) => sum + value),
        ),
      ]
}

/** As `Members` do that are few. */
function encodeHashes(pairs: readonly Pair[]): Octets {
  const hashes = lastBy(String, pairs)
  return [0, ...varint(hashes.length), ...u32(...hashes.flat())]
}

function lastBy(key: (pair: Pair) => unknown, pairs: readonly Pair[]): Pair[] {
  return [...new Map(pairs.map((pair) => [key(pair), pair])).values()]
}

/** As `hashMember` does, which hashes without allocating and is more to load. */
function hash64(member: string): Pair {
  let hash = 0xcbf29ce484222325n
  for (const byte of utf8(member)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  const low = Number(hash & 0xffffffffn)
  const high = mix32(Number(hash >> 32n) ^ low)
  return [high, mix32(low ^ high)]
}

/**
 * Aggregates that list what they took, in place of sketches: less code to load, and nothing lost to rounding. For programs
 * that flush often, as the edge does after each request; a list that grows all the same becomes a frame before the flush.
 */
export const LISTS: Aggregates<Entry> = {
  samples: () => new List(encodeValues, 64),
  readings: () => new List(encodeReadings, MOST),
  sum: (entry, value) => entry(finite(value)),
  members: () => {
    const list = new List(encodeHashes, 1024)
    return {
      add: (member) => list.add(...hash64(member)),
      drain: (entry) => list.drain(entry),
    }
  },
}
