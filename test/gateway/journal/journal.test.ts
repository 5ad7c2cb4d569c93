import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { JournalError } from '../../../gateway/journal/error.ts'
import { judge } from '../../../gateway/journal/health.ts'
import { Journal, type JournalOptions } from '../../../gateway/journal/journal.ts'
import { until } from '../../until.ts'
import { type Fate, FakeServer } from './fake-server.ts'

const journals: Journal[] = []

afterEach(async () => {
  await Promise.all(journals.splice(0).map((journal) => journal.close()))
})

async function start(server: FakeServer, options: Partial<JournalOptions> = {}): Promise<Journal> {
  const journal = new Journal({ connect: () => Promise.resolve(server), ...options })
  journals.push(journal)
  await journal.start()
  return journal
}

function outcome(appended: Promise<void>): Promise<'written' | JournalError> {
  return appended.then(
    () => 'written' as const,
    (error: unknown) => error as JournalError,
  )
}

interface Post {
  readonly shards: readonly number[]
  /** Whether it comes while others are being written. */
  readonly waits: boolean
}

const posts: fc.Arbitrary<readonly Post[]> = fc.array(
  fc.record({ shards: fc.array(fc.constantFrom(0, 1, 31), { minLength: 1, maxLength: 3 }), waits: fc.boolean() }),
  { maxLength: 30 },
)
const fates: fc.Arbitrary<readonly Fate[]> = fc.array(
  fc.constantFrom<Fate>('done', 'done', 'done', 'unanswered', 'refused', 'full'),
  { maxLength: 30 },
)

test('what is acknowledged is in its stream, in the order in which it came, however the connection fails', async () => {
  await fc.assert(
    fc.asyncProperty(posts, fates, async (all, becomes) => {
      const server = new FakeServer()
      const journal = await start(server)
      server.fates.push(...becomes)
      const pending: Promise<void>[] = []
      // per shard, numbers of the posts acknowledged at once, in order
      const acknowledged = new Set<number>()
      const send = async (number: number, post: Post): Promise<void> => {
        const entries = post.shards.map((shard, index) => ({ shard, bundle: Buffer.from(`<${number}.${index}>`) }))
        for (let isRepeat = false; ; isRepeat = true) {
          await until(() => journal.obstacle === undefined)
          const result = await outcome(journal.append(entries))
          if (result === 'written') {
            if (!isRepeat) acknowledged.add(number)
            return
          }
          expect(result).toBeInstanceOf(JournalError)
        }
      }
      for (const [number, post] of all.entries()) {
        const sent = send(number, post)
        if (post.waits) pending.push(sent)
        else await sent
      }
      await Promise.all(pending)
      for (const shard of [0, 1, 31]) {
        const written = String(server.bytes(journal.keys.stream(shard)))
        const found = Array.from(
          written.matchAll(/<(\d+)\.(\d+)>/g),
          ([text, number]) => [text, Number(number)] as const,
        )
        expect(found.map(([text]) => text).join('')).toBe(written)
        for (const [number, post] of all.entries()) {
          const own = [...post.shards.keys()].filter((index) => post.shards[index] === shard)
          for (const index of own) expect(written).toContain(`<${number}.${index}>`)
        }
        // those that went through the first time stand as they came
        const first = found.flatMap(([, number]) => (acknowledged.has(number) ? [number] : []))
        expect(first).toEqual(first.toSorted((left, right) => left - right))
      }
      await journal.close()
    }),
    { numRuns: 60 },
  )
})

test('what comes during a write goes with the next, one entry a shard', async () => {
  const server = new FakeServer()
  const journal = await start(server)
  let open = (): void => {}
  server.gate = new Promise((resolve) => (open = resolve))
  const first = journal.append([{ shard: 3, bundle: Buffer.from('a') }])
  await until(() => server.writes === 1)
  const others = ['b', 'c', 'd'].map((text) => journal.append([{ shard: 3, bundle: Buffer.from(text) }]))
  open()
  await Promise.all([first, ...others])
  expect(server.streams.get(journal.keys.stream(3))?.map(String)).toEqual(['a', 'bcd'])
  expect(journal.stats()).toMatchObject({ appended: 4, failed: 0, entries: 2, bytes: 4, waitingBytes: 0 })
})

test('a rejection says why, and whether it may have been written all the same', async () => {
  const server = new FakeServer()
  const warnings: string[] = []
  const journal = await start(server, { onWarning: (message) => warnings.push(message) })
  const append = async (fate: Fate): Promise<unknown> => {
    await until(() => journal.obstacle === undefined)
    server.fates.push(fate)
    return outcome(journal.append([{ shard: 0, bundle: Buffer.from('x') }]))
  }
  expect(await append('full')).toMatchObject({ fault: 'full', mayBeWritten: false })
  // nothing is tried before the server says that it is well
  expect(await outcome(journal.append([{ shard: 0, bundle: Buffer.from('y') }]))).toMatchObject({ fault: 'full' })
  expect(server.writes).toBe(1)
  expect(await append('refused')).toMatchObject({ fault: 'unreachable', mayBeWritten: true })
  expect(await append('unanswered')).toMatchObject({ fault: 'unreachable', mayBeWritten: true })
  expect(warnings.some((text) => /the journal is full/.test(text))).toBe(true)
  await until(() => warnings.includes('journal: is written again'))
})

test('a bound on what waits turns new things away', async () => {
  const server = new FakeServer()
  const journal = await start(server, { maxBytes: 10 })
  let open = (): void => {}
  server.gate = new Promise((resolve) => (open = resolve))
  const first = journal.append([{ shard: 0, bundle: Buffer.alloc(11) }])
  expect(await outcome(journal.append([{ shard: 0, bundle: Buffer.alloc(1) }]))).toMatchObject({ fault: 'busy' })
  open()
  await first
  await journal.append([{ shard: 0, bundle: Buffer.alloc(1) }])
})

test('what waits is written before it is closed, and nothing after', async () => {
  const server = new FakeServer()
  const journal = await start(server)
  const appended = journal.append([{ shard: 0, bundle: Buffer.from('last') }])
  const closed = journal.close()
  expect(await outcome(journal.append([{ shard: 0, bundle: Buffer.from('late') }]))).toMatchObject({ fault: 'closed' })
  await Promise.all([appended, closed])
  expect(String(server.bytes(journal.keys.stream(0)))).toBe('last')
  expect(server.closed).toBe(true)
})

test('all who write one journal share its token, which the fingerprint does not tell', async () => {
  const server = new FakeServer()
  const [one, two] = [await start(server), await start(server)]
  expect(one.token).toMatch(/^[0-9a-f]{32}$/)
  expect(two.token).toBe(one.token)
  expect(two.fingerprint).toBe(one.fingerprint)
  expect(one.token).not.toContain(one.fingerprint)
  const other = await start(new FakeServer())
  expect(other.fingerprint).not.toBe(one.fingerprint)
})

test.each([
  [{}, 'nothing'],
  [{ maxmemory: '1000', used_memory: '900' }, 'nothing'],
  [{ maxmemory: '1000', used_memory: '901' }, /full \(90 %/],
  [{ maxmemory: '1000', maxmemory_policy: 'allkeys-lru' }, /may evict keys \(allkeys-lru\)/],
  [{ maxmemory: '0', maxmemory_policy: 'allkeys-lru' }, 'nothing'],
  [{ role: 'slave' }, /read-only replica/],
])('a server that says %o is judged', (said, words) => {
  const info = new Map(Object.entries({ role: 'master', maxmemory: '0', used_memory: '5', ...said }))
  expect(judge([info])?.message ?? 'nothing').toMatch(words)
})

test('no master is an obstacle, and the worst of several counts', () => {
  const well = new Map([['role', 'master']])
  expect(judge([])?.fault).toBe('unreachable')
  expect(judge([well, new Map([['role', 'slave']])])?.fault).toBe('refused')
})
