import { Reader, Writer } from '../client/wire/bytes.ts'
import type { FrameHeader } from '../client/wire/frame.ts'
import { ReplayFilter } from '../client/wire/replay-filter.ts'

/** What a frame is known by. */
export type FrameIdentity = Pick<FrameHeader, 'publisher' | 'level' | 'shard' | 'seq'>

/** Publishers, by shard and level, that are remembered: some 30 MB. */
const MAX_PUBLISHERS = 400_000

/** Which frames were had before, by their identities. */
export class KnownFrames {
  readonly #filters = new Map<number, ReplayFilter>()
  readonly #maxPublishers: number

  constructor(maxPublishers: number = MAX_PUBLISHERS) {
    this.#maxPublishers = maxPublishers
  }

  /** Publishers remembered, by shard and level. */
  get size(): number {
    let size = 0
    for (const filter of this.#filters.values()) size += filter.size
    return size
  }

  /** Changes nothing. `refused`: there are too many publishers, and this one is new. */
  judge({ publisher, level, shard, seq }: FrameIdentity): 'new' | 'replay' | 'refused' {
    const verdict = this.#filters.get(shard)?.judge(publisher, level, seq) ?? 'unknown'
    if (verdict !== 'unknown') return verdict
    return this.size < this.#maxPublishers ? 'new' : 'refused'
  }

  /** Takes note of a frame; whether it is new. */
  admit({ publisher, level, shard, seq }: FrameIdentity, nowMs: number): boolean {
    let filter = this.#filters.get(shard)
    if (filter === undefined) this.#filters.set(shard, (filter = new ReplayFilter()))
    return filter.admit(publisher, level, seq, nowMs) !== 'replay'
  }

  /** Forgets publishers that were not heard of for ten minutes. */
  forget(nowMs: number): void {
    for (const [shard, filter] of this.#filters) {
      filter.forget(nowMs)
      if (filter.size === 0) this.#filters.delete(shard)
    }
  }
}

/** For each frame: publisher as two u32, level, shard u8 and seq varint. */
export function encodeIdentities(frames: readonly FrameIdentity[]): Uint8Array {
  const writer = new Writer(frames.length * 24)
  for (const { publisher, level, shard, seq } of frames) {
    writer.u32(publisher.high)
    writer.u32(publisher.low)
    writer.text(level)
    writer.u8(shard)
    writer.varint(seq)
  }
  return writer.bytes()
}

export function eachIdentity(bytes: Uint8Array, visit: (frame: FrameIdentity) => void): void {
  const reader = new Reader(bytes)
  while (reader.offset < bytes.length) {
    const publisher = { high: reader.u32(), low: reader.u32() }
    const level = reader.text()
    visit({ publisher, level, shard: reader.u8(), seq: reader.varint() })
  }
}
