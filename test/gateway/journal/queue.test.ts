import { afterEach, expect, test } from 'vitest'
import { Journal } from '../../../gateway/journal/journal.ts'
import { JournalQueue } from '../../../gateway/journal/queue.ts'
import { until } from '../../until.ts'
import { FakeServer } from './fake-server.ts'

const journals: Journal[] = []

afterEach(async () => {
  await Promise.all(journals.splice(0).map((journal) => journal.close()))
})

async function start(server: FakeServer): Promise<Journal> {
  const journal = new Journal({ connect: () => Promise.resolve(server) })
  journals.push(journal)
  await journal.start()
  return journal
}

test('entries are written in order, however often that takes', async () => {
  const server = new FakeServer()
  const journal = await start(server)
  const queue = new JournalQueue(journal)
  server.fates.push('full', 'done', 'refused', 'unanswered')
  const written: number[] = []
  for (let number = 0; number < 20; number++) {
    queue.put([{ shard: 0, bundle: Buffer.from(`<${number}>`) }], () => written.push(number))
    if (number % 5 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  expect(queue.waitedMs).toBeGreaterThan(0)
  await until(() => written.length === 20)
  expect(written).toEqual(Array.from({ length: 20 }, (_, number) => number))
  const found = Array.from(String(server.bytes(journal.keys.stream(0))).matchAll(/<(\d+)>/g), ([, text]) =>
    Number(text),
  )
  // those of a write that was not answered stand twice
  expect([...new Set(found)]).toEqual(written)
  expect([queue.bytes, queue.waitedMs]).toEqual([0, 0])
})

test('closing gives up in time, and says how much', async () => {
  const server = new FakeServer()
  const journal = await start(server)
  const queue = new JournalQueue(journal)
  server.info_['role'] = 'slave'
  server.fates.push('full')
  queue.put([{ shard: 0, bundle: Buffer.alloc(7) }])
  await until(() => journal.obstacle !== undefined)
  queue.put([{ shard: 0, bundle: Buffer.alloc(5) }])
  expect(await queue.close(100)).toBe(12)
})
