import { describe, expect, test } from 'vitest'
import type { JournalLog, JournalRead } from '../../../backends/state/journal.ts'
import type { LogEntry, Position } from '../../../backends/state/state.ts'
import { JournalFeed } from '../../../backends/worker/journal-feed.ts'
import { KeptLog } from './collecting.ts'

/** A journal that answers what it is told to. */
class Scripted implements JournalLog {
  readonly asked: (readonly number[])[] = []
  readonly released: ReadonlyMap<number, Position>[] = []
  answers: (readonly JournalRead[] | Error)[] = []
  failsToRelease = false

  read(shards: readonly number[]): Promise<readonly JournalRead[]> {
    this.asked.push(shards)
    const answer = this.answers.shift() ?? []
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
  }

  release(positions: ReadonlyMap<number, Position>): Promise<void> {
    if (this.failsToRelease) return Promise.reject(new Error('away'))
    this.released.push(new Map(positions))
    return Promise.resolve()
  }
}

const entry = (timeMs: number): LogEntry => ({ position: `${timeMs}-0`, timeMs, bundle: new Uint8Array([timeMs]) })

function feedOf(journal: JournalLog, givesUp = false): { feed: JournalFeed; log: KeptLog } {
  const log = new KeptLog()
  return { feed: new JournalFeed({ journal, log, givesUp: () => givesUp }), log }
}

describe('a feed from the journal', () => {
  test('hands on what it reads, and knows until when', async () => {
    const journal = new Scripted()
    const { feed } = feedOf(journal)
    await feed.start([1, 2])
    journal.answers = [
      [
        { shard: 1, entries: [entry(5), entry(6)], readUntilMs: 10 },
        { shard: 2, entries: [entry(7)], readUntilMs: undefined },
      ],
      [{ shard: 2, entries: [], readUntilMs: 12 }],
    ]
    expect((await feed.clock())(1)).toBe(0)
    expect((await feed.next(1_000)).map(({ shard, position }) => [shard, position])).toEqual([
      [1, '5-0'],
      [1, '6-0'],
      [2, '7-0'],
    ])
    const clock = await feed.clock()
    // there is more of the second to be read, whatever the clock says
    expect([clock(1), clock(2), clock(3)]).toEqual([10, 0, 0])
    expect(await feed.next(1_000)).toEqual([])
    expect((await feed.clock())(2)).toBe(12)
    // read to the end once, and then not: what it knew holds on, and it is read again at once
    journal.answers = [
      [{ shard: 2, entries: [entry(13)], readUntilMs: undefined }],
      [{ shard: 2, entries: [entry(14)], readUntilMs: 15 }],
    ]
    expect(await feed.next(0)).toHaveLength(1)
    expect((await feed.clock())(2)).toBe(12)
    expect(await feed.next(0)).toHaveLength(1)
    expect((await feed.clock())(2)).toBe(15)
    expect([feed.connections, feed.bytes]).toEqual([1, 0])
  })

  test('waits once no shard is left, also where there was more to be read', async () => {
    const journal = new Scripted()
    const { feed } = feedOf(journal)
    await feed.start([1])
    journal.answers = [[{ shard: 1, entries: [entry(5)], readUntilMs: undefined }]]
    await feed.next(0)
    feed.remove(1)
    await feed.next(0)
    let isOver = false
    const next = feed.next(60_000).then(() => (isOver = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isOver).toBe(false)
    feed.wake()
    await next
    expect(journal.asked).toEqual([[1]])
  })

  test('does not hand on what came of a shard that was taken away while it was read', async () => {
    const journal = new Scripted()
    const { feed } = feedOf(journal)
    await feed.start([1])
    journal.answers = [[{ shard: 1, entries: [entry(5)], readUntilMs: 10 }]]
    const next = feed.next(0)
    feed.remove(1)
    expect(await next).toEqual([])
    expect(await feed.rest()).toEqual([])
    expect((await feed.clock())(1)).toBe(0)
    feed.add(1)
    expect((await feed.clock())(1)).toBe(0)
  })

  test('tells a position once, and again when that failed', async () => {
    const journal = new Scripted()
    const { feed, log } = feedOf(journal)
    await feed.start([1, 2])
    await feed.passed(
      new Map([
        [1, '5-0'],
        [2, '6-0'],
      ]),
    )
    await feed.passed(new Map([[1, '5-0']]))
    expect(journal.released).toEqual([
      new Map([
        [1, '5-0'],
        [2, '6-0'],
      ]),
    ])
    journal.failsToRelease = true
    await feed.passed(new Map([[1, '7-0']]))
    expect(log.lines).toEqual(['warn cannot say what of the journal is committed, will retry'])
    journal.failsToRelease = false
    await feed.passed(new Map([[2, '8-0']]))
    expect(journal.released.at(-1)).toEqual(
      new Map([
        [1, '7-0'],
        [2, '8-0'],
      ]),
    )
  })

  test('goes on after the journal was away, and reports it', async () => {
    const journal = new Scripted()
    const { feed, log } = feedOf(journal)
    await feed.start([1])
    journal.answers = [new Error('away'), [{ shard: 1, entries: [entry(5)], readUntilMs: 9 }]]
    expect(await feed.next(10)).toEqual([])
    expect([feed.connections, log.lines]).toEqual([0, ['warn cannot read the journal, will retry']])
    let fed: readonly unknown[] = []
    while (fed.length === 0) fed = await feed.next(1_000)
    expect(feed.connections).toBe(1)
  })

  test('reads less and less often while nothing comes, and at once where a window ends', async () => {
    const journal = new Scripted()
    const { feed } = feedOf(journal)
    await feed.start([1])
    const pauses: number[] = []
    const readsOf = async (timeoutMs: number): Promise<void> => {
      const before = performance.now()
      await feed.next(timeoutMs)
      pauses.push(performance.now() - before)
    }
    for (let read = 0; read < 5; read++) await readsOf(60_000)
    // each waits for at least as long as it is said to; how much longer is the machine's affair
    for (const [read, atLeast] of [0, 90, 190, 390, 490].entries()) expect(pauses[read]).toBeGreaterThanOrEqual(atLeast)
    expect(journal.asked).toHaveLength(5)
    // no window is to be read later because little came before it
    await feed.next(0)
    expect(journal.asked).toHaveLength(6)
    journal.answers = [[{ shard: 1, entries: [entry(5)], readUntilMs: 9 }]]
    await feed.next(0)
    await readsOf(60_000)
    expect(pauses.at(-1)).toBeGreaterThanOrEqual(40)
    expect(journal.asked).toHaveLength(8)
  })

  test('throws when it is not to be tried any longer, and is quiet once stopped', async () => {
    const journal = new Scripted()
    const { feed } = feedOf(journal, true)
    await feed.start([1])
    journal.answers = [new Error('away')]
    await expect(feed.next(0)).rejects.toThrow('away')
    await feed.stop()
    const asked = journal.asked.length
    expect(await feed.next(60_000)).toEqual([])
    expect(journal.asked).toHaveLength(asked)
  })
})
