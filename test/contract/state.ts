import { afterEach, describe, expect, it } from 'vitest'
import { UsageError } from '../../client/errors.ts'
import type {
  Appended,
  Commit,
  LogEntry,
  OutboxEntry,
  Restored,
  State,
  StateSettings,
} from '../../backends/state/state.ts'
import { SHARDS } from '../../client/wire/series.ts'

export interface StateOptions {
  readonly now?: () => number
  readonly maxOutboxBytes?: number
  readonly onDropped?: (entry: OutboxEntry) => void
}

/** How the suite gets at a kind of state. */
export interface StateSubject {
  /** One that holds nothing, not opened yet. */
  create(options?: StateOptions): State | Promise<State>
  /** What the next process would make of the same storage, not opened yet; the one before was closed. */
  reopen(state: State, options?: StateOptions): State | Promise<State>
  /** Whether its storage has a clock of its own and holds many groups. */
  readonly isShared?: boolean
}

const SETTINGS: StateSettings = { group: 'g', backends: ['a', 'b'] }

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (data: Uint8Array): string => new TextDecoder().decode(data)

export async function entriesOf({ entries }: Restored): Promise<LogEntry[]> {
  const all: LogEntry[] = []
  for await (const entry of entries) all.push(entry)
  return all
}

/** Takes a shard that nobody else has. */
export async function acquired(state: State, shard: number): Promise<Restored> {
  const restored = await state.acquire(shard)
  if (restored === undefined) throw new Error(`shard ${shard} is another worker's`)
  return restored
}

/** Appends to shards that are this worker's. */
export async function appended(state: State, entries: Parameters<State['append']>[0]): Promise<Appended[]> {
  const answers = await state.append(entries)
  return answers.map((answer, index) => {
    if (answer === undefined) throw new Error(`shard ${entries[index]?.shard} is another worker's`)
    return answer
  })
}

/** A commit with what a test does not care about filled in. */
export function windowOf(shard: number, end: number, parts: Partial<Commit> = {}): Commit {
  return {
    shard,
    end,
    position: undefined,
    snapshot: { kind: 'full', bytes: bytes(`s${end}`) },
    outbox: bytes(`o${shard}@${end}`),
    ...parts,
  }
}

/** What every kind of state must do; `state.ts` says what it means. */
export function stateContract(name: string, subject: StateSubject): void {
  describe(`${name} as a state`, () => {
    const opened: State[] = []

    afterEach(async () => {
      for (const state of opened.splice(0)) await state.close()
    })

    async function open(options?: StateOptions, settings = SETTINGS): Promise<State> {
      const state = await subject.create(options)
      opened.push(state)
      await state.open(settings)
      await takeAll(state)
      return state
    }

    async function restart(state: State, options?: StateOptions, settings = SETTINGS): Promise<State> {
      await state.close()
      const next = await subject.reopen(state, options)
      opened.push(next)
      await next.open(settings)
      await takeAll(next)
      return next
    }

    async function takeAll(state: State): Promise<void> {
      await Promise.all(Array.from({ length: SHARDS }, (_, shard) => acquired(state, shard)))
    }

    async function add(state: State, shard: number, ...bundles: string[]): Promise<string[]> {
      const answers = await appended(
        state,
        bundles.map((bundle) => ({ shard, bundle: bytes(bundle) })),
      )
      return answers.map(({ position }) => position)
    }

    async function held(state: State, shard: number): Promise<{ snapshots: string[]; end: number; log: string[] }> {
      const restored = await acquired(state, shard)
      const log = (await entriesOf(restored)).map(({ bundle }) => text(bundle))
      return { snapshots: restored.snapshots.map(text), end: restored.end, log }
    }

    const ids = async (state: State): Promise<string[]> => (await state.outbox()).map(({ id }) => id)

    it('holds nothing at first', async () => {
      const state = await open()
      for (const shard of [0, 31]) expect(await held(state, shard)).toEqual({ snapshots: [], end: 0, log: [] })
      expect(await state.outbox()).toEqual([])
    })

    it('keeps what is appended in order, shard by shard', async () => {
      const state = await open()
      const answers = await state.append(
        ['a0', 'b5', 'c0', 'd5', 'e31'].map((bundle) => ({ shard: Number(bundle.slice(1)), bundle: bytes(bundle) })),
      )
      await add(state, 0, 'f0')
      expect(answers).toHaveLength(5)
      expect((await held(state, 0)).log).toEqual(['a0', 'c0', 'f0'])
      expect((await held(state, 5)).log).toEqual(['b5', 'd5'])
      expect((await held(state, 31)).log).toEqual(['e31'])
    })

    it('answers with the positions and times under which the entries are found again', async () => {
      const state = await open()
      const answers = await appended(
        state,
        ['x', 'y', 'z'].map((bundle) => ({ shard: 3, bundle: bytes(bundle) })),
      )
      const found = (await entriesOf(await acquired(state, 3))).map(({ position, timeMs }) => ({ position, timeMs }))
      expect(found).toEqual(answers)
      expect(new Set(answers.map(({ position }) => position)).size).toBe(3)
    })

    it('takes calls made at once in the order in which they were made', async () => {
      const state = await open()
      await Promise.all(Array.from({ length: 50 }, (_, index) => add(state, 1, `n${index}`)))
      expect((await held(state, 1)).log).toEqual(Array.from({ length: 50 }, (_, index) => `n${index}`))
    })

    it('has taken its own copy of a bundle by the time it answers', async () => {
      const state = await open()
      const bundle = bytes('before')
      await state.append([{ shard: 0, bundle }])
      bundle.set(bytes('after!'))
      expect((await held(state, 0)).log).toEqual(['before'])
    })

    it('keeps an empty bundle and an empty call', async () => {
      const state = await open()
      expect(await state.append([])).toEqual([])
      await add(state, 0, '', 'x', '')
      expect((await held(await restart(state), 0)).log).toEqual(['', 'x', ''])
    })

    it('refuses a shard that is none, and keeps nothing of that call', async () => {
      const state = await open()
      const bundle = bytes('x')
      await expect(
        state.append([
          { shard: 0, bundle },
          { shard: 32, bundle },
        ]),
      ).rejects.toThrow(/shard 32/)
      await expect(state.acquire(-1)).rejects.toThrow(/shard -1/)
      await expect(state.commit([windowOf(0, 1), windowOf(1.5, 1)])).rejects.toThrow(/shard 1.5/)
      expect(await held(state, 0)).toEqual({ snapshots: [], end: 0, log: [] })
    })

    const itAlone = subject.isShared === true ? () => {} : it

    itAlone('never lets its clock go back, nor behind an entry', async () => {
      const clock = { ms: 5000 }
      const state = await open({ now: () => clock.ms })
      expect(await state.now()).toBe(5000)
      clock.ms = 7000
      const [first] = await state.append([{ shard: 0, bundle: bytes('x') }])
      expect(first?.timeMs).toBe(7000)
      clock.ms = 6000
      expect(await state.now()).toBe(7000)
      const [second] = await state.append([{ shard: 9, bundle: bytes('y') }])
      expect(second?.timeMs).toBe(7000)
      const next = await restart(state, { now: () => 1000 })
      expect(await next.now()).toBe(7000)
    })

    it('restores the snapshot and exactly the entries behind it', async () => {
      const state = await open()
      const positions = await add(state, 2, 'a', 'b', 'c', 'd')
      await state.commit([
        windowOf(2, 10_000, { position: positions[1], snapshot: { kind: 'full', bytes: bytes('ab') } }),
      ])
      const expected = { snapshots: ['ab'], end: 10_000, log: ['c', 'd'] }
      expect(await held(state, 2)).toEqual(expected)
      const next = await restart(state)
      expect(await held(next, 2)).toEqual(expected)
      await add(next, 2, 'e')
      expect((await held(await restart(next), 2)).log).toEqual(['c', 'd', 'e'])
    })

    it('gives an entry a position that no other entry of the shard ever had, over restarts too', async () => {
      let state = await open()
      const seen: string[] = []
      for (let round = 1; round <= 3; round++) {
        const positions = await add(state, 0, 'x', 'y')
        seen.push(...positions)
        await state.commit([windowOf(0, round, { position: positions[1] })])
        state = await restart(state)
      }
      expect(new Set(seen).size).toBe(6)
    })

    it('commits a window once, however often it is told to', async () => {
      const state = await open()
      const [position] = await add(state, 0, 'a', 'b')
      const commit = windowOf(0, 10, { position, snapshot: { kind: 'changes', bytes: bytes('x') } })
      await state.commit([commit])
      await state.commit([commit])
      const next = await restart(state)
      await next.commit([{ ...commit, snapshot: { kind: 'full', bytes: bytes('y') }, outbox: bytes('other') }])
      expect(await held(next, 0)).toEqual({ snapshots: ['x'], end: 10, log: ['b'] })
      expect(await ids(next)).toHaveLength(1)
      expect(text(await next.load((await ids(next))[0] as string))).toBe('o0@10')
    })

    it('commits those of several shards that were not committed before', async () => {
      const state = await open()
      await state.commit([windowOf(0, 10)])
      await state.commit([windowOf(0, 10), windowOf(1, 10), windowOf(2, 20)])
      expect((await state.outbox()).map(({ shard, end }) => [end, shard])).toEqual([
        [10, 0],
        [10, 1],
        [20, 2],
      ])
    })

    it('does not settle a window that is committed again after it was settled', async () => {
      const state = await open()
      await state.commit([windowOf(0, 10)])
      const before = await ids(state)
      for (const backend of SETTINGS.backends) await state.settle(backend, before)
      await state.commit([windowOf(0, 10)])
      expect(await state.outbox()).toEqual([])
    })

    it('commits all of a call or, when a part makes no sense, nothing', async () => {
      const state = await open()
      const [position] = await add(state, 0, 'a')
      await state.commit([windowOf(1, 20)])
      const good = windowOf(0, 10, { position })
      await expect(state.commit([good, windowOf(1, 15)])).rejects.toThrow(/shard 1/)
      await expect(state.commit([good, windowOf(2, 10, { position: '77' })])).rejects.toThrow(/position 77/)
      await expect(state.commit([good, windowOf(2, 10, { position: 'x' })])).rejects.toThrow(/position x/)
      expect(await held(state, 0)).toEqual({ snapshots: [], end: 0, log: ['a'] })
      expect(await ids(state)).toHaveLength(1)
    })

    it('trims nothing for a commit without a position, at first or later', async () => {
      const state = await open()
      const [position] = await add(state, 0, 'a', 'b', 'c')
      await state.commit([windowOf(0, 10)])
      expect((await held(state, 0)).log).toEqual(['a', 'b', 'c'])
      await state.commit([windowOf(0, 20, { position })])
      await state.commit([windowOf(0, 30)])
      expect((await held(await restart(state), 0)).log).toEqual(['b', 'c'])
    })

    it('adds changes to the snapshots, and replaces all of them by a full one', async () => {
      const state = await open()
      const kinds = ['full', 'changes', 'changes', 'full', 'changes'] as const
      const shown: string[][] = []
      for (const [index, kind] of kinds.entries()) {
        await state.commit([windowOf(7, index + 1, { snapshot: { kind, bytes: bytes(`${kind}${index}`) } })])
        shown.push((await held(state, 7)).snapshots)
      }
      expect(shown.slice(2)).toEqual([['full0', 'changes1', 'changes2'], ['full3'], ['full3', 'changes4']])
      expect((await held(await restart(state), 7)).snapshots).toEqual(['full3', 'changes4'])
    })

    it('keeps a window for each backend until that backend has settled it', async () => {
      const state = await open()
      await state.commit([windowOf(4, 10)])
      const [entry] = await state.outbox()
      expect(entry).toMatchObject({ shard: 4, end: 10, bytes: 5, pending: ['a', 'b'], attempted: [] })
      const id = entry?.id as string
      expect(text(await state.load(id))).toBe('o4@10')
      await state.settle('a', [id])
      await state.settle('a', [id])
      expect((await state.outbox())[0]?.pending).toEqual(['b'])
      const next = await restart(state)
      expect((await next.outbox())[0]?.pending).toEqual(['b'])
      expect(text(await next.load(id))).toBe('o4@10')
      await next.settle('b', [id])
      expect(await next.outbox()).toEqual([])
      await expect(next.load(id)).rejects.toThrow(id)
      expect(await (await restart(next)).outbox()).toEqual([])
    })

    it('lets backends settle the same windows at the same moment', async () => {
      const state = await open()
      await state.commit(Array.from({ length: 8 }, (_, shard) => windowOf(shard, 10)))
      const all = (await state.outbox()).map(({ id }) => id)
      await Promise.all([state.settle('a', all), state.settle('b', all.slice(0, 4)), state.settle('b', all.slice(4))])
      expect(await state.outbox()).toEqual([])
      expect(await (await restart(state)).outbox()).toEqual([])
    })

    it('lists windows by their end, oldest first', async () => {
      const state = await open()
      await state.commit([windowOf(5, 30), windowOf(1, 10)])
      await state.commit([windowOf(0, 20), windowOf(2, 5), windowOf(1, 20)])
      const listed = async (from: State): Promise<number[]> => (await from.outbox()).map(({ end }) => end)
      expect(await listed(state)).toEqual([5, 10, 20, 20, 30])
      expect(await listed(await restart(state))).toEqual([5, 10, 20, 20, 30])
    })

    it('has no outbox entry for a window without rollups, nor for anyone when there are no backends', async () => {
      const state = await open()
      await state.commit([windowOf(0, 10, { outbox: undefined })])
      expect(await state.outbox()).toEqual([])
      const alone = await open(undefined, { group: 'g', backends: [] })
      await alone.commit([windowOf(0, 10)])
      expect(await alone.outbox()).toEqual([])
      expect((await held(alone, 0)).end).toBe(10)
    })

    it('tells what was attempted, for the backend it was, once its process has ended without a word', async () => {
      const state = await open()
      await state.commit([windowOf(0, 10), windowOf(1, 10), windowOf(2, 10), windowOf(3, 10)])
      const [lost, released, settled, untouched] = (await ids(state)) as [string, string, string, string]
      await state.attempt('a', [lost, released, settled])
      await state.release('a', [released])
      await state.settle('a', [settled])
      expect((await state.outbox()).every(({ attempted }) => attempted.length === 0)).toBe(true)
      const next = await restart(state)
      const attempted = new Map((await next.outbox()).map((entry) => [entry.id, entry.attempted]))
      expect(attempted).toEqual(
        new Map([
          [lost, ['a']],
          [released, []],
          [settled, []],
          [untouched, []],
        ]),
      )
    })

    it('keeps an attempt in doubt until it is released, settled or both', async () => {
      let state = await open()
      await state.commit([windowOf(0, 10), windowOf(1, 10)])
      const [one, two] = (await ids(state)) as [string, string]
      await state.attempt('a', [one, two])
      await state.attempt('b', [one])
      state = await restart(await restart(state))
      const attempted = async (): Promise<(readonly string[])[]> =>
        (await state.outbox()).map((entry) => entry.attempted)
      expect(await attempted()).toEqual([['a', 'b'], ['a']])
      await state.release('a', [one])
      expect(await attempted()).toEqual([['b'], ['a']])
      await state.attempt('b', [one])
      expect(await attempted()).toEqual([['b'], ['a']])
      await state.settle('a', [one, two])
      state = await restart(state)
      expect(await attempted()).toEqual([['b'], []])
    })

    it('passes over marks for windows, or by backends, that it does not have', async () => {
      const state = await open()
      await state.commit([windowOf(0, 10)])
      for (const mark of ['attempt', 'release', 'settle'] as const) {
        await state[mark]('a', ['none'])
        await state[mark]('stranger', await ids(state))
        await state[mark]('a', [])
      }
      expect((await state.outbox())[0]).toMatchObject({ pending: ['a', 'b'], attempted: [] })
    })

    it('drops the oldest windows past its bound, and says which', async () => {
      const dropped: OutboxEntry[] = []
      const options = { maxOutboxBytes: 10_000, onDropped: (entry: OutboxEntry) => dropped.push(entry) }
      const state = await open(options)
      const outbox = new Uint8Array(3000)
      for (let end = 1; end <= 4; end++) await state.commit([windowOf(end, end, { outbox })])
      expect(dropped.map(({ end, pending }) => [end, pending])).toEqual([[1, ['a', 'b']]])
      await state.commit([windowOf(5, 5, { outbox }), windowOf(6, 6, { outbox })])
      expect(dropped.map(({ end }) => end)).toEqual([1, 2, 3])
      await state.commit([windowOf(7, 7, { outbox: new Uint8Array(10_001) })])
      expect(dropped.map(({ end }) => end)).toEqual([1, 2, 3, 4, 5, 6, 7])
      expect(await state.outbox()).toEqual([])
      // what was dropped does not come back with more room
      expect(await (await restart(state)).outbox()).toEqual([])
    })

    it('counts windows without bytes against the bound too', async () => {
      const state = await open({ maxOutboxBytes: 10_000 })
      for (let end = 1; end <= 200; end++) await state.commit([windowOf(0, end, { outbox: new Uint8Array(0) })])
      const kept = await state.outbox()
      expect(kept.length).toBeGreaterThan(0)
      expect(kept.length).toBeLessThan(100)
      expect(kept.at(-1)?.end).toBe(200)
    })

    it('gives up what waits for a backend that is no longer there, and gives a new one nothing old', async () => {
      const state = await open()
      await state.commit([windowOf(0, 10), windowOf(1, 10)])
      await state.settle('b', (await ids(state)).slice(0, 1))
      const next = await restart(state, undefined, { group: 'g', backends: ['c', 'b'] })
      expect((await next.outbox()).map(({ shard, pending }) => [shard, pending])).toEqual([[1, ['b']]])
      await next.commit([windowOf(0, 20)])
      expect((await next.outbox())[1]?.pending.toSorted()).toEqual(['b', 'c'])
      const back = await restart(next)
      expect((await back.outbox()).map(({ end, pending }) => [end, pending])).toEqual([
        [10, ['b']],
        [20, ['b']],
      ])
    })

    itAlone('refuses another group, naming both', async () => {
      const state = await open()
      await state.close()
      const next = await subject.reopen(state)
      opened.push(next)
      const failure = await next.open({ group: 'other', backends: [] }).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(UsageError)
      expect((failure as Error).message).toMatch(/group g\b.*other/)
    })

    it('goes on giving entries while they are committed and others are appended', async () => {
      const state = await open()
      const count = 1000
      const positions = await add(state, 0, ...Array.from({ length: count }, (_, index) => `n${index}`))
      const seen: string[] = []
      for await (const { bundle } of (await acquired(state, 0)).entries) {
        const index = seen.push(text(bundle))
        if (index === 300) await state.commit([windowOf(0, 1, { position: positions[200] })])
        if (index === 600) await add(state, 0, 'later')
      }
      expect(seen).toEqual(Array.from({ length: count }, (_, index) => `n${index}`))
    })

    it('can be closed again and again, and refuses to be used then', async () => {
      const state = await open()
      await add(state, 0, 'x')
      await Promise.all([state.close(), state.close()])
      await state.close()
      await expect(state.append([])).rejects.toThrow(/not open/)
      await expect(state.outbox()).rejects.toThrow(/not open/)
      const next = await restart(state)
      expect((await held(next, 0)).log).toEqual(['x'])
    })

    it('finishes what was asked before it was closed', async () => {
      const state = await open()
      const asked = add(state, 0, 'x')
      await state.close()
      await asked
      expect((await held(await restart(state), 0)).log).toEqual(['x'])
    })

    it('refuses to be opened twice', async () => {
      const state = await open()
      await expect(state.open(SETTINGS)).rejects.toThrow(UsageError)
    })
  })
}
