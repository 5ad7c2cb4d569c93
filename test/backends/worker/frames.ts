import { type Aggregate, Sum } from '../../../client/sketch/aggregate.ts'
import { Distribution } from '../../../client/sketch/distribution.ts'
import { type Combine, Gauge } from '../../../client/sketch/gauge.ts'
import { Members } from '../../../client/sketch/members.ts'
import type { Writer } from '../../../client/wire/bytes.ts'
import { FrameEncoder, type Publisher } from '../../../client/wire/frame.ts'
import { type EncodedKey, TYPE_CODE, type Tags, type Type, encodeKey, seriesKey } from '../../../client/wire/series.ts'

/** A key of a shard, whose name starts as given. */
export function keyIn(shard: number, prefix: string, tags?: Tags): EncodedKey {
  for (let number = 0; ; number++) {
    const key = encodeKey(seriesKey(`${prefix}${number}`, 'web', tags))
    if (key.shard === shard) return key
  }
}

export interface Entry {
  readonly type: Type
  readonly key: EncodedKey
  readonly aggregate: { encode(writer: Writer): void }
}

export function counter(key: EncodedKey, value: number): Entry {
  return { type: 'counter', key, aggregate: new Sum(value) }
}

export function meter(key: EncodedKey, value: number): Entry {
  return { type: 'meter', key, aggregate: new Sum(value) }
}

export function gauge(key: EncodedKey, value: number, timeMs: number, combine: Combine = 'last'): Entry {
  const aggregate = new Gauge(combine)
  aggregate.set(value, timeMs)
  return { type: 'gauge', key, aggregate }
}

/** What a live publisher says of a gauge that was not set again. */
export function repeated(key: EncodedKey, value: number, timeMs: number, combine: Combine): Entry {
  const encode = (writer: Writer): void => Gauge.encodeRepeat(writer, combine, value, timeMs)
  return { type: 'gauge', key, aggregate: { encode } }
}

export function timer(key: EncodedKey, ...values: number[]): Entry {
  return { type: 'timer', key, aggregate: distributionOf(values) }
}

export function set(key: EncodedKey, ...members: string[]): Entry {
  return { type: 'set', key, aggregate: membersOf(members) }
}

export function distributionOf(values: readonly number[]): Distribution {
  const distribution = new Distribution()
  for (const value of values) distribution.add(value)
  return distribution
}

export function membersOf(names: readonly string[]): Members {
  const members = new Members()
  for (const name of names) members.add(name)
  return members
}

/** The aggregate that measurements of a type make, as a client would. */
export function aggregateOf(type: Type, values: readonly number[], timesMs: readonly number[] = []): Aggregate {
  if (type === 'timer' || type === 'histogram') return distributionOf(values)
  if (type === 'set') return membersOf(values.map((value) => `m${value}`))
  if (type !== 'gauge') return new Sum(values.reduce((sum, value) => sum + value, 0))
  const aggregate = new Gauge()
  values.forEach((value, index) => aggregate.set(value, timesMs[index] ?? 0))
  return aggregate
}

export interface FrameParts {
  readonly publisher?: number
  readonly level?: string
  readonly shard?: number
  readonly seq?: number
  readonly spanMs?: number
}

const encoder = new FrameEncoder()

/** A frame as a client seals it; publishers are told by a number. */
export function frame(parts: FrameParts, ...entries: readonly Entry[]): Uint8Array {
  const { publisher = 1, level = 'info', shard = entries[0]?.key.shard ?? 0, seq = 1, spanMs = 5_000 } = parts
  for (const { type, key, aggregate } of entries) encoder.add(TYPE_CODE[type], key, aggregate)
  const who: Publisher = { high: publisher, low: 7 }
  return encoder.seal(who, level, shard, seq, 1_700_000_000_000, spanMs)
}
