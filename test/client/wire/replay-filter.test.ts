import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidFrameError } from '../../../client/errors.ts'
import { Reader, Writer } from '../../../client/wire/bytes.ts'
import { MAX_RANGES, REMEMBERED_MS, ReplayFilter } from '../../../client/wire/replay-filter.ts'
import { type Random, below, seeded } from '../random.ts'

const publisherOf = (id: number): { high: number; low: number } => ({ high: 0xffffff00 + (id % 3), low: id * 0x10000 })

/** The same answers from plain sets: every seq below the highest that is not in `taken` or `given` is missing. */
class NaiveFilter {
  lost = 0
  readonly publishers = new Map<string, { taken: Set<number>; given: Set<number>; first: number; seenMs: number }>()
  readonly maxPublishers: number

  constructor(maxPublishers: number) {
    this.maxPublishers = maxPublishers
  }

  admit(id: string, seq: number, nowMs: number): string {
    const known = this.publishers.get(id)
    if (known === undefined) {
      if (this.publishers.size >= this.maxPublishers) return 'refused'
      this.publishers.set(id, { taken: new Set([seq]), given: new Set(), first: seq, seenMs: nowMs })
      return 'new'
    }
    known.seenMs = nowMs
    if (known.taken.has(seq) || known.given.has(seq)) return 'replay'
    known.taken.add(seq)
    const ranges = this.ranges(id)
    if (ranges.length > MAX_RANGES) {
      for (const missing of ranges[0] ?? []) {
        known.given.add(missing)
        if (missing >= known.first) this.lost++
      }
    }
    return 'new'
  }

  /** Missing seqs, those that follow each other together. */
  ranges(id: string): number[][] {
    const known = this.publishers.get(id)
    if (known === undefined) return []
    const ranges: number[][] = []
    let open = false
    const highest = Math.max(...known.taken)
    for (let seq = 1; seq < highest; seq++) {
      const isMissing = !known.taken.has(seq) && !known.given.has(seq)
      if (isMissing && !open) ranges.push([])
      if (isMissing) ranges.at(-1)?.push(seq)
      open = isMissing
    }
    return ranges
  }

  owed(id: string): number {
    const first = this.publishers.get(id)?.first ?? 0
    return this.ranges(id)
      .flat()
      .filter((seq) => seq >= first).length
  }

  get missing(): number {
    return [...this.publishers.keys()].reduce((count, id) => count + this.owed(id), 0)
  }

  forget(nowMs: number): void {
    for (const [id, { seenMs }] of this.publishers) {
      if (nowMs - seenMs <= REMEMBERED_MS) continue
      this.lost += this.owed(id)
      this.publishers.delete(id)
    }
  }
}

function encoded(filter: ReplayFilter, what: 'changed' | 'all'): Uint8Array {
  const writer = new Writer()
  filter.encode(writer, what)
  return writer.bytes()
}

function restored(snapshots: readonly Uint8Array[], maxPublishers: number): ReplayFilter {
  const filter = new ReplayFilter({ maxPublishers })
  for (const snapshot of snapshots) {
    const reader = new Reader(snapshot)
    filter.restore(reader)
    expect(reader.offset).toBe(snapshot.length)
  }
  return filter
}

interface Stream {
  readonly id: number
  readonly level: string
  next: number
  readonly held: number[]
}

/** The next seq of a stream as a bad network brings it: in order, late, again, or never. */
function arrival(random: Random, stream: Stream, badness: number): number {
  const way = random()
  if (way < badness * 0.3) stream.held.push(stream.next++)
  if (way < badness * 0.35) stream.next += 1 + below(random, 3)
  if (way < badness * 0.6 && stream.held.length > 0) {
    return stream.held.splice(below(random, stream.held.length), 1)[0] ?? stream.next++
  }
  if (way < badness * 0.8) return Math.max(1, stream.next - 1 - below(random, 30))
  return stream.next++
}

describe('ReplayFilter', () => {
  it('answers as plain sets do under reordering, duplication, loss, forgetting and restarts', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = seeded(seed)
      const badness = [0.1, 0.5, 1][seed % 3] ?? 1
      const maxPublishers = seed % 4 === 0 ? 6 : 20
      const naive = new NaiveFilter(maxPublishers)
      let filter = new ReplayFilter({ maxPublishers })
      let snapshots = [encoded(filter, 'all')]
      let nowMs = 1_700_000_000_000
      const streams = Array.from({ length: 10 }, (_, id): Stream => ({
        id: id >> 1,
        level: id % 2 === 0 ? 'info' : 'ü',
        next: 1 + below(random, 40),
        held: [],
      }))
      for (let step = 0; step < 2500; step++) {
        const stream = streams[below(random, streams.length)] as Stream
        nowMs += below(random, 3000)
        const seq = arrival(random, stream, badness)
        const isKnown = naive.publishers.has(`${stream.id} ${stream.level}`)
        const judged = filter.judge(publisherOf(stream.id), stream.level, seq)
        const answer = filter.admit(publisherOf(stream.id), stream.level, seq, nowMs)
        expect(judged).toBe(isKnown ? answer : 'unknown')
        expect(answer).toBe(naive.admit(`${stream.id} ${stream.level}`, seq, nowMs))
        if (step % 50 === 0) {
          if (random() < 0.2) nowMs += REMEMBERED_MS - below(random, 60_000)
          filter.forget(nowMs)
          naive.forget(nowMs)
        }
        expect(filter.size).toBe(naive.publishers.size)
        if (step % 40 !== 0) continue
        const what = random() < 0.2 ? 'all' : 'changed'
        const snapshot = encoded(filter, what)
        if (what === 'all') snapshots = []
        snapshots.push(snapshot)
        const copy = restored(snapshots, maxPublishers)
        expect([copy.lost, copy.missing, copy.size]).toEqual([filter.lost, filter.missing, filter.size])
        // from here on the copy must do as well as the original
        if (random() < 0.5) filter = copy
      }
      expect(filter.missing).toBe(naive.missing)
      expect(filter.lost).toBe(naive.lost)
    }
  })

  it('keeps 64 missing ranges, gives up the lowest and counts exactly what that loses', () => {
    const filter = new ReplayFilter()
    const publisher = publisherOf(1)
    // 1, then every third: ranges of two
    for (let index = 0; index <= MAX_RANGES; index++) filter.admit(publisher, 'info', 1 + 3 * index, 0)
    expect([filter.lost, filter.missing]).toEqual([0, 2 * MAX_RANGES])
    filter.admit(publisher, 'info', 1 + 3 * (MAX_RANGES + 1), 0)
    expect([filter.lost, filter.missing]).toEqual([2, 2 * MAX_RANGES])
    expect(filter.admit(publisher, 'info', 2, 0)).toBe('replay')
    expect(filter.admit(publisher, 'info', 5, 0)).toBe('new')
    expect(filter.admit(publisher, 'info', 5, 0)).toBe('replay')
    expect(filter.admit(publisher, 'info', 6, 0)).toBe('new')
    expect([filter.lost, filter.missing]).toEqual([2, 2 * MAX_RANGES - 2])
  })

  it('gives up the lowest range, too, when a late frame splits one', () => {
    const filter = new ReplayFilter()
    const publisher = publisherOf(1)
    for (let index = 0; index <= MAX_RANGES; index++) filter.admit(publisher, 'info', 1 + 4 * index, 0)
    expect(filter.admit(publisher, 'info', 3 + 4 * 10, 0)).toBe('new')
    expect([filter.lost, filter.missing]).toEqual([3, 3 * MAX_RANGES - 1 - 3])
  })

  it('takes what lies below the first seq seen, once, and never counts it as lost', () => {
    const filter = new ReplayFilter()
    const publisher = publisherOf(1)
    filter.admit(publisher, 'info', 100, 0)
    expect([filter.admit(publisher, 'info', 40, 0), filter.admit(publisher, 'info', 40, 0)]).toEqual(['new', 'replay'])
    filter.admit(publisher, 'info', 103, 0)
    expect(filter.missing).toBe(2)
    filter.forget(REMEMBERED_MS + 1)
    expect([filter.lost, filter.size]).toEqual([2, 0])
    expect(filter.admit(publisher, 'info', 40, 0)).toBe('new')
  })

  it('remembers for 10 minutes of receive time since the last frame, replays included', () => {
    const filter = new ReplayFilter()
    filter.admit(publisherOf(1), 'info', 1, 1000)
    filter.admit(publisherOf(2), 'info', 1, 1000)
    filter.admit(publisherOf(2), 'info', 1, 2000)
    filter.forget(1000 + REMEMBERED_MS)
    expect(filter.size).toBe(2)
    filter.forget(1001 + REMEMBERED_MS)
    expect(filter.size).toBe(1)
    expect(filter.admit(publisherOf(2), 'info', 1, 3000)).toBe('replay')
    expect(filter.admit(publisherOf(1), 'info', 1, 3000)).toBe('new')
  })

  it('lets others run while it forgets some of very many, and remembers the rest', () => {
    const filter = new ReplayFilter()
    for (let id = 0; id < 100_000; id++) filter.admit(publisherOf(id), 'info', id % 2 === 0 ? 7 : 1, id % 3)
    let slices = 0
    // those heard of at 0 are forgotten
    for (const _ of filter.forgetting(REMEMBERED_MS + 1)) slices++
    expect(slices).toBeGreaterThan(20)
    expect(filter.size).toBe(100_000 - 33_334)
    for (let id = 0; id < 12; id++) {
      const isKnown = id % 3 !== 0
      expect(filter.admit(publisherOf(id), 'info', id % 2 === 0 ? 7 : 1, 9)).toBe(isKnown ? 'replay' : 'new')
      // what lies below the first, once
      const verdicts = [6, 6].map((seq) => filter.admit(publisherOf(id), 'info', seq, 9))
      expect(verdicts).toEqual(['new', 'replay'])
    }
    expect(filter.lost).toBe(0)
  })

  it('refuses new publishers at its bound, serves those it knows, and takes new ones once some are forgotten', () => {
    const filter = new ReplayFilter({ maxPublishers: 2 })
    filter.admit(publisherOf(1), 'info', 1, 0)
    filter.admit(publisherOf(1), 'crit', 1, 1)
    expect(filter.admit(publisherOf(2), 'info', 1, 2)).toBe('refused')
    expect(filter.admit(publisherOf(2), 'info', 1, 2)).toBe('refused')
    expect(filter.admit(publisherOf(1), 'info', 2, 3)).toBe('new')
    filter.forget(REMEMBERED_MS + 2)
    expect(filter.admit(publisherOf(2), 'info', 1, 4)).toBe('new')
    expect(filter.size).toBe(2)
  })

  it('refuses the 1,001st level, and takes new levels once old ones are forgotten', () => {
    const filter = new ReplayFilter({ maxPublishers: 1500 })
    for (let level = 0; level < 1000; level++) expect(filter.admit(publisherOf(1), `l${level}`, 1, level)).toBe('new')
    expect(filter.admit(publisherOf(1), 'one more', 1, 0)).toBe('refused')
    expect(filter.admit(publisherOf(2), 'l7', 1, 999)).toBe('new')
    filter.forget(REMEMBERED_MS + 500)
    expect(filter.admit(publisherOf(1), 'one more', 1, 999)).toBe('new')
    expect(filter.admit(publisherOf(1), 'l999', 1, 999)).toBe('replay')
    expect(filter.admit(publisherOf(2), 'l7', 1, 999)).toBe('replay')
    const full = new ReplayFilter({ maxPublishers: 1 })
    full.admit(publisherOf(1), 'info', 1, 0)
    for (let level = 0; level < 2000; level++) full.admit(publisherOf(1), `l${level}`, 1, 0)
    full.forget(REMEMBERED_MS + 1)
    // levels of those refused took no room
    expect(full.admit(publisherOf(1), 'l1999', 1, 0)).toBe('new')
  })

  it('works with seqs up to 2^53 - 1', () => {
    const filter = new ReplayFilter()
    const last = Number.MAX_SAFE_INTEGER
    const publisher = publisherOf(1)
    expect(filter.admit(publisher, 'info', last - 3, 0)).toBe('new')
    expect(filter.admit(publisher, 'info', last, 0)).toBe('new')
    expect(filter.missing).toBe(2)
    const copy = restored([encoded(filter, 'all')], 9)
    for (const each of [filter, copy]) {
      expect(each.admit(publisher, 'info', last, 0)).toBe('replay')
      expect(each.admit(publisher, 'info', last - 1, 0)).toBe('new')
      expect(each.admit(publisher, 'info', last - 2, 0)).toBe('new')
      expect(each.admit(publisher, 'info', 1, 0)).toBe('new')
      expect(each.missing).toBe(0)
    }
  })

  it('tells publishers apart whatever their bytes', () => {
    const words = fc.nat(0xffffffff)
    const publishers = fc.uniqueArray(fc.tuple(fc.oneof(words, fc.nat(3)), fc.oneof(words, fc.nat(3))), {
      selector: String,
      maxLength: 100,
      size: 'max',
    })
    fc.assert(
      fc.property(publishers, (list) => {
        const filter = new ReplayFilter()
        for (const answer of ['new', 'replay']) {
          for (const [high, low] of list) expect(filter.admit({ high, low }, 'info', 5, 0)).toBe(answer)
        }
        expect(filter.size).toBe(list.length)
      }),
    )
  })

  it('writes of 20,000 publishers only those that changed', () => {
    const filter = new ReplayFilter()
    for (let id = 0; id < 20_000; id++) filter.admit(publisherOf(id), 'info', 1, 0)
    const base = encoded(filter, 'all')
    expect(base.length / 20_000).toBeLessThan(20)
    expect(encoded(filter, 'changed').length).toBeLessThan(20)
    filter.admit(publisherOf(7), 'info', 2, 1)
    const change = encoded(filter, 'changed')
    expect(change.length).toBeLessThan(40)
    const copy = restored([base, change], 1e6)
    expect(copy.size).toBe(20_000)
    expect(copy.admit(publisherOf(7), 'info', 2, 1)).toBe('replay')
    expect(copy.admit(publisherOf(8), 'info', 2, 1)).toBe('new')
  })

  it('does not count twice what a forgotten publisher of an older snapshot owed', () => {
    const filter = new ReplayFilter()
    filter.admit(publisherOf(1), 'info', 1, 0)
    filter.admit(publisherOf(1), 'info', 5, 0)
    const base = encoded(filter, 'all')
    filter.forget(REMEMBERED_MS + 1)
    const copy = restored([base, encoded(filter, 'changed')], 9)
    copy.forget(REMEMBERED_MS + 2)
    expect([copy.lost, copy.size]).toEqual([3, 0])
  })

  it('refuses a snapshot cut off anywhere', () => {
    const filter = new ReplayFilter()
    for (const seq of [1, 5, 9]) filter.admit(publisherOf(1), 'info', seq, 5)
    const bytes = encoded(filter, 'all')
    for (let end = 0; end < bytes.length; end++) {
      expect(() => new ReplayFilter().restore(new Reader(bytes, 0, end))).toThrow(InvalidFrameError)
    }
  })
})
