import { join } from 'node:path'
import { build } from 'esbuild'
import fc from 'fast-check'
import { Miniflare } from 'miniflare'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RETRY_MS } from '../../../client/transport/ring.ts'
import { counterFrame } from '../fake-sink.ts'
import type { Command, Id, Outcome } from './store-worker.ts'

let miniflare: Miniflare
let cases = 0

beforeAll(async () => {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'store-worker.ts')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  })
  miniflare = new Miniflare({
    modules: true,
    script: outputFiles[0]?.text ?? '',
    compatibilityDate: '2025-09-01',
    durableObjects: { STORE: { className: 'StoreObject', useSQLite: true } },
  })
})

afterAll(() => miniflare.dispose())

async function run(commands: readonly Command[]): Promise<Outcome[]> {
  const response = await miniflare.dispatchFetch(`http://store/${cases++}`, {
    method: 'POST',
    body: JSON.stringify(commands),
  })
  return (await response.json()) as Outcome[]
}

/** What a store does, with lists and a set. */
class PlainStore {
  waiting: Id[] = []
  doubted = 0
  doubtedMs = 0
  nowMs = 0
  forwarded = 0
  unknown = 0
  readonly #known = new Set<string>()

  apply(command: Command): Outcome {
    let came: Pick<Outcome, 'stored' | 'sent' | 'gaveUp'> = {}
    if (command.do === 'wait') this.nowMs += command.ms
    else if (command.do === 'take') came = { stored: command.bundles.map((ids) => this.#take(ids)) }
    else if (command.do === 'send') came = { gaveUp: this.#giveUp(), sent: this.#send(command) }
    return { ...came, waiting: this.waiting.length, forwarded: this.forwarded, unknown: this.unknown }
  }

  #take(ids: readonly Id[]): number {
    const fresh = ids.filter(([publisher, seq]) => {
      const id = `${publisher} ${seq}`
      return !this.#known.has(id) && this.#known.add(id)
    })
    this.waiting.push(...fresh)
    return fresh.length
  }

  #giveUp(): number {
    if (this.doubted === 0 || this.nowMs - this.doubtedMs < RETRY_MS) return 0
    const count = this.doubted
    this.waiting.splice(0, count)
    this.unknown += count
    this.doubted = 0
    return count
  }

  #send({ bytes, frames, end }: Extract<Command, { do: 'send' }>): string[] {
    const most = this.doubted === 0 ? frames : Math.min(frames, this.doubted)
    let size = 0
    const sent: Id[] = []
    for (const id of this.waiting) {
      const length = sizeOf(id)
      if (sent.length > 0 && (sent.length >= most || size + length > bytes)) break
      size += length
      sent.push(id)
    }
    const isFirst = this.doubted === 0
    if (isFirst && sent.length > 0) {
      this.doubted = sent.length
      this.doubtedMs = this.nowMs
    }
    if (end === 'untouched' && isFirst) this.doubted = 0
    if (end === 'taken') {
      this.waiting.splice(0, sent.length)
      this.forwarded += sent.length
      this.doubted -= sent.length
    }
    return sent.map(([publisher, seq]) => `${publisher} ${seq}`)
  }
}

/** Of a frame and the length before it. */
function sizeOf([publisher, seq, many]: Id): number {
  const { length } = counterFrame({ publisher, seq, many })
  return length + (length < 128 ? 1 : length < 16_384 ? 2 : 3)
}

const id = fc.tuple(
  fc.integer({ min: 1, max: 3 }),
  fc.integer({ min: 1, max: 20 }),
  fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 20 }) }, { weight: 1, arbitrary: fc.constant(9_000) }),
)
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      bundles: fc.array(fc.array(id, { maxLength: 8, size: 'max' }), { maxLength: 3, size: 'max' }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      bytes: fc.integer({ min: 1, max: 3_000 }),
      frames: fc.integer({ min: 1, max: 30 }),
      end: fc.constantFrom('taken' as const, 'silence' as const, 'untouched' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 60_000 }) }) },
  { weight: 2, arbitrary: fc.constant({ do: 'reopen' as const }) },
)

/** Within five minutes of each other, but for one longer pause: as long as everything is known that ever came. */
const commands = fc
  .tuple(
    fc.array(command, { minLength: 20, maxLength: 50, size: 'max' }),
    fc.array(command, { minLength: 5, maxLength: 20, size: 'max' }),
  )
  .map(([before, after]): Command[] => {
    let leftMs = 50_000
    const bounded = [...before, { do: 'wait', ms: RETRY_MS } as const, ...after].map((each, index) => {
      if (each.do !== 'wait' || index === before.length) return each
      const ms = Math.min(each.ms, leftMs)
      leftMs -= ms
      return { ...each, ms }
    })
    return bounded
  })

test('stores, sends, settles and gives up frames as plain lists do, through any number of restarts', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (script) => {
      const plain = new PlainStore()
      expect(await run(script)).toEqual(script.map((each) => plain.apply(each)))
    }),
    { numRuns: 15 },
  )
})

test('sends what is more than a post in several, oldest first', async () => {
  const bundles = Array.from({ length: 200 }, (_, post): Id[] => [[1, post + 1, 9_000]])
  const send = { do: 'send', bytes: 1 << 20, frames: 10_000, end: 'taken' } as const
  const outcomes = await run([{ do: 'take', bundles }, ...Array.from({ length: 60 }, () => send)])
  // frames of 225 kB: four of them to a post
  expect(outcomes[1]?.sent).toEqual(['1 1', '1 2', '1 3', '1 4'])
  expect(outcomes.at(-1)).toMatchObject({ waiting: 0, forwarded: 200 })
})

test('lets go of what it has read, though it read no further', async () => {
  const bundles = Array.from({ length: 8 }, (_, post): Id[] => [[1, post + 1, 9_000]])
  // each reads a row of 0.7 MB: together more than twice what SQLite may have in one workerd
  const send = { do: 'send', bytes: 1, frames: 1, end: 'silence' } as const
  for (let stores = 0; stores < 60; stores++) {
    const outcomes = await run([{ do: 'take', bundles }, ...Array.from({ length: 30 }, () => send)])
    expect(outcomes.at(-1)).toMatchObject({ sent: ['1 1'], waiting: 8 })
  }
})
