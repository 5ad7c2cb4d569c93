import { afterEach, describe, expect, test } from 'vitest'
import type { SealedFrame } from '../../../client/transport/transport.ts'
import { eachFrame } from '../../../client/wire/bundle.ts'
import { type Frame, decodeFrame } from '../../../client/wire/frame.ts'
import { Refusal } from '../../../gateway/answers.ts'
import { Broker } from '../../../gateway/broker/index.ts'
import { Journal } from '../../../gateway/journal/journal.ts'
import { JournalSink } from '../../../gateway/journal/sink.ts'
import { startGateway } from '../../../gateway/node.ts'
import { until } from '../../until.ts'
import { counterFrame } from '../fake-sink.ts'
import { FakeServer } from './fake-server.ts'

const open: { close(): unknown }[] = []

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close()
})

async function startJournal(server: FakeServer): Promise<Journal> {
  const journal = new Journal({ connect: () => Promise.resolve(server) })
  open.push(journal)
  await journal.start()
  return journal
}

async function startBroker(journal: Journal | undefined): Promise<Broker> {
  const broker = new Broker({ port: 0, ...(journal === undefined ? {} : { journal }) })
  open.push(broker)
  await broker.start()
  return broker
}

function sinkTo(journal: Journal, broker = 'tcp://127.0.0.1:1'): JournalSink {
  const sink = new JournalSink({ journal, broker, warn: () => {} })
  open.push({ close: () => sink.close(100) })
  return sink
}

/** Frames in all streams. */
function framesIn(server: FakeServer): Frame[] {
  const frames: Frame[] = []
  for (const entries of server.streams.values()) {
    for (const bundle of entries) eachFrame(bundle, (start, end) => frames.push(decodeFrame(bundle, start, end)))
  }
  return frames
}

const identities = (frames: readonly Frame[]): string[] =>
  frames.map(({ publisher, level, shard, seq }) => `${JSON.stringify(publisher)} ${level} ${shard} ${seq}`).sort()

const count = (name: string) => ({ type: 'counter', name, value: 1 }) as const

describe('the gateway in front of a journal', () => {
  test('has written what it takes before it says so, also without a broker', async () => {
    const server = new FakeServer()
    const sink = sinkTo(await startJournal(server))
    const bytes = counterFrame()
    const { level, shard, seq } = decodeFrame(bytes)
    expect(await sink.offer([{ bytes, level, shard, seq, closedMs: 0 }])).toBe(true)
    expect(identities(framesIn(server))).toEqual(identities([decodeFrame(bytes)]))
    expect(sink.record(count('orders'))).toBeUndefined()
    expect(await sink.sealed()).toBe(true)
    expect(framesIn(server)).toHaveLength(2)
    expect([sink.full, sink.connected()]).toEqual([false, true])
  })

  test('has a repeated post be the same frames, whichever gateway takes it', async () => {
    const server = new FakeServer()
    for (const sink of [sinkTo(await startJournal(server)), sinkTo(await startJournal(server))]) {
      const post = sink.keyed('me\0key')
      for (const name of ['a', 'b', 'c', 'd']) post.record(count(name))
      post.record({ ...count('e'), level: 'crit' })
      expect(await post.sealed()).toBe(true)
    }
    const all = identities(framesIn(server))
    expect(all.length).toBeGreaterThan(4)
    expect(all.filter((_, index) => index % 2 === 0)).toEqual(all.filter((_, index) => index % 2 === 1))
  })

  test('has other posts be other frames, by key, by token and by journal', async () => {
    const publishers = new Set<string>()
    for (const server of [new FakeServer(), new FakeServer()]) {
      const sink = sinkTo(await startJournal(server))
      for (const identity of ['\0k1', '\0k2', 'me\0k1', 'me\0k2']) {
        const post = sink.keyed(identity)
        post.record(count('a'))
        await post.sealed()
      }
      for (const { publisher } of framesIn(server)) publishers.add(publisher)
    }
    expect(publishers.size).toBe(8)
  })

  test('refuses with the reason while the journal takes nothing, and misses no frame after', async () => {
    const server = new FakeServer()
    const journal = await startJournal(server)
    const sink = sinkTo(journal)
    sink.record(count('a'))
    await sink.sealed()
    sink.record(count('a'))
    server.fates.push('full')
    const refused = sink.sealed()
    await expect(refused).rejects.toBeInstanceOf(Refusal)
    await expect(refused).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/full/) as unknown,
    })
    expect(sink.obstacle()).toMatch(/full/)
    await until(() => !sink.full)
    for (let round = 0; round < 2; round++) {
      sink.record(count('a'))
      await sink.sealed()
    }
    const seqs = new Map<string, number[]>()
    for (const { publisher, seq } of framesIn(server)) seqs.set(publisher, [...(seqs.get(publisher) ?? []), seq])
    // the frame that was refused is missing to nobody
    expect([...seqs.values()]).toEqual([[1], [1, 2]])
  })

  test('tries again for a while when it is not known what became of frames that nobody would send again', async () => {
    const server = new FakeServer()
    const sink = sinkTo(await startJournal(server))
    server.fates.push('unanswered', 'refused')
    sink.record(count('a'))
    expect(await sink.sealed()).toBe(true)
    const [first, second, ...others] = identities(framesIn(server))
    expect(second).toBe(first)
    expect(others).toEqual([])
  })

  test('keeps what StatsD lines said until it is written, and takes no more meanwhile', async () => {
    const server = new FakeServer()
    const journal = await startJournal(server)
    const sink = sinkTo(journal)
    server.info_['role'] = 'slave'
    server.fates.push('full')
    const bytes = counterFrame()
    const { level, shard, seq } = decodeFrame(bytes)
    const frame: SealedFrame = { bytes, level, shard, seq, closedMs: 0 }
    expect(sink.lines.full).toBe(false)
    expect(sink.lines.offer([frame])).toBe(true)
    await until(() => journal.obstacle?.fault === 'refused')
    expect([sink.lines.full, framesIn(server).length]).toEqual([true, 0])
    server.info_['role'] = 'master'
    await until(() => !sink.lines.full)
    expect(framesIn(server)).toHaveLength(1)
  })

  test('answers posts 503 with Retry-After and the reason', async () => {
    const server = new FakeServer()
    server.info_ = { ...server.info_, maxmemory: '100', used_memory: '95' }
    const gateway = await startGateway({ port: 0, sink: sinkTo(await startJournal(server)) })
    open.push(gateway)
    const response = await fetch(`${gateway.url}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([count('a')]),
    })
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await response.json()).toEqual({
      error: { code: 'unavailable', message: 'the journal is full (95 % of its Redis); retry later' },
    })
    const ready = await fetch(`${gateway.url}/readyz`)
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringMatching(/the journal is full/) as unknown])
  })

  test('works with a broker that writes the same journal', async () => {
    const journal = await startJournal(new FakeServer())
    const broker = await startBroker(journal)
    const sink = sinkTo(journal, `tcp://127.0.0.1:${broker.port}`)
    const post = sink.keyed('k')
    post.record(count('a'))
    await post.sealed()
    await until(() => broker.stats().journal?.marked === 1, 'it is published with its mark')
    expect(sink.obstacle()).toBeUndefined()
  })

  test('takes nothing when its broker writes none, or another', async () => {
    const journal = await startJournal(new FakeServer())
    const strangers = [
      [undefined, /the broker has no journal/],
      [await startJournal(new FakeServer()), /the broker's journal is another one/],
    ] as const
    for (const [own, words] of strangers) {
      const broker = await startBroker(own)
      const sink = sinkTo(journal, `tcp://127.0.0.1:${broker.port}`)
      await until(() => words.test(sink.obstacle() ?? ''), 'the obstacle')
      expect([sink.full, sink.lines.full]).toEqual([true, true])
    }
  })
})
