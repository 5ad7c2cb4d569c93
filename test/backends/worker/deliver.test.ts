import { afterEach, describe, expect, it } from 'vitest'
import { PermanentError, RetryLaterError } from '../../../backends/backend.ts'
import { FileState } from '../../../backends/state/file.ts'
import { MemoryState } from '../../../backends/state/memory.ts'
import type { OutboxEntry, State } from '../../../backends/state/state.ts'
import { Delivery, type Target, WindowCache } from '../../../backends/worker/deliver.ts'
import { WindowEncoder } from '../../../backends/worker/rollup.ts'
import { windowOf } from '../../contract/state.ts'
import { until } from '../../until.ts'
import { tempDirectories } from '../temp.ts'
import { Collecting, KeptLog, hang, target } from './collecting.ts'
import { keyIn } from './frames.ts'

const T0 = 1_700_000_000_000
const temp = tempDirectories()
const log = new KeptLog()
const running: Delivery[] = []
const states: State[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((delivery) => delivery.stop(0)))
  for (const state of states.splice(0)) await state.close()
  log.lines.length = 0
})

/** A state that notes how windows are marked, and can be made to fail. */
class Marked extends MemoryState {
  readonly marks: string[] = []
  readonly failing = new Set<string>()
  /** Called with what was listed, before it is answered. */
  listed: ((entries: OutboxEntry[]) => Promise<OutboxEntry[]>) | undefined

  #mark(mark: string): void {
    if (this.failing.has(mark)) throw new Error(`${mark} failed`)
    this.marks.push(mark)
  }

  override async attempt(backend: string, ids: readonly string[]): Promise<void> {
    this.#mark('attempt')
    await super.attempt(backend, ids)
  }

  override async release(backend: string, ids: readonly string[]): Promise<void> {
    this.#mark('release')
    await super.release(backend, ids)
  }

  override async settle(backend: string, ids: readonly string[]): Promise<void> {
    this.#mark('settle')
    await super.settle(backend, ids)
  }

  override async outbox(): Promise<OutboxEntry[]> {
    if (this.failing.has('outbox')) throw new Error('outbox failed')
    const entries = await super.outbox()
    return this.listed === undefined ? entries : this.listed(entries)
  }
}

async function opened<S extends State>(state: S, backends: readonly string[] = ['a']): Promise<S> {
  await state.open({ group: 'g', backends })
  states.push(state)
  return state
}

/** Commits a window of one counter, its end given in seconds after T0. */
async function commit(state: State, shard: number, end: number): Promise<void> {
  const encoder = new WindowEncoder()
  encoder.begin(T0 / 1000 + end - 10, T0 / 1000 + end)
  encoder.counter(keyIn(shard, 'c').bytes, shard, end)
  await state.commit([windowOf(shard, T0 + end * 1000, { outbox: encoder.bytes() })])
}

function deliver(state: State, to: Target, windows = new WindowCache([0.5])): Delivery {
  const delivery = new Delivery(to, state, windows, log)
  running.push(delivery)
  delivery.start()
  return delivery
}

const pendingOf = async (state: State): Promise<number> => (await state.outbox()).length

describe('delivery', () => {
  it('hands windows over oldest first, those of one end together', async () => {
    const state = await opened(new Marked())
    for (const [shard, end] of [
      [1, 20],
      [2, 10],
      [3, 20],
      [1, 30],
    ] as const)
      await commit(state, shard, end)
    const backend = new Collecting()
    const delivery = deliver(state, target(backend))
    await until(() => backend.taken.length === 3)
    expect(backend.taken.map(({ start, end, rollups }) => [start, end, rollups.length].map((n) => n % 1_000))).toEqual([
      [0, 10, 1],
      [10, 20, 2],
      [20, 30, 1],
    ])
    expect(backend.taken[1]?.rollups).toMatchObject([{ value: 1 }, { value: 3 }])
    await until(async () => (await pendingOf(state)) === 0)
    expect(delivery.figures).toMatchObject({ delivered: 3, rollups: 4, failures: 0, refused: 0, error: undefined })
  })

  it('takes what is committed later, while it waits and while it delivers', async () => {
    const state = await opened(new Marked())
    const backend = new Collecting()
    const delivery = deliver(state, target(backend))
    backend.script.push(async () => {
      await commit(state, 1, 20)
      delivery.notify()
    })
    await commit(state, 1, 10)
    delivery.notify()
    await until(() => backend.taken.length === 2)
    await until(() => delivery.figures.pending === 0)
    await commit(state, 1, 30)
    delivery.notify()
    await until(() => backend.taken.length === 3)
    expect(backend.attempts).toBe(3)
  })

  it('releases a window that failed, and hands the same one over again, with a pause', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await commit(state, 1, 20)
    const backend = new Collecting()
    const seen: number[] = []
    const fail = (window: { end: number }): void => {
      seen.push(window.end)
      throw new Error('out of order')
    }
    backend.script.push(fail, fail, async (window) => void seen.push(window.end))
    const delivery = deliver(state, target(backend))
    await until(() => delivery.figures.failures === 2)
    expect(delivery.figures.error).toBe('out of order')
    await until(() => delivery.figures.delivered === 2)
    expect(new Set(seen).size).toBe(1)
    expect(backend.ends).toEqual([T0 / 1000 + 10, T0 / 1000 + 20])
    expect(state.marks).toEqual(['attempt', 'release', 'attempt', 'release', 'attempt', 'settle', 'attempt', 'settle'])
    expect(delivery.figures.error).toBeUndefined()
    expect(log.lines.filter((line) => line === 'warn flush failed, will retry')).toHaveLength(2)
  })

  it('hands what failed over again as it was, though more of the same window was committed since', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    const seen: number[][] = []
    backend.always = (window) => void seen.push(window.rollups.map((rollup) => (rollup as { value: number }).value))
    backend.script.push(async (window, signal) => {
      await backend.always?.(window, signal)
      await commit(state, 2, 10)
      throw new Error('down')
    })
    deliver(state, target(backend))
    await until(() => seen.length === 3)
    expect(seen).toEqual([[1], [1], [2]])
  })

  it('counts what was refused of a window apart from what was taken of it', async () => {
    const state = await opened(new Marked())
    for (const shard of [1, 2, 3]) await commit(state, shard, 10)
    const backend = new Collecting()
    backend.script.push(() => {
      throw new PermanentError('one is bad', { refused: 1 })
    })
    const delivery = deliver(state, target(backend))
    await until(() => delivery.figures.refused === 1)
    expect(delivery.figures).toMatchObject({ rollupsRefused: 1, rollups: 2 })
    await until(async () => (await pendingOf(state)) === 0)
    expect(backend.attempts).toBe(1)
  })

  it('pauses longer with every failure', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    const times: number[] = []
    backend.always = () => {
      times.push(performance.now())
      throw new Error('down')
    }
    deliver(state, target(backend, { backoffMs: 10 }))
    await until(() => times.length === 6)
    const pauses = times.slice(1).map((time, index) => time - (times[index] as number))
    // at least three quarters of what was doubled; a timer may come a millisecond early
    pauses.forEach((pause, index) => expect(pause).toBeGreaterThan(10 * 2 ** index * 0.75 ** (index + 1) - 2))
  })

  it.each([
    ['of its own', (): Error => new PermanentError('bad token')],
    ['of another copy of the package', (): Error => Object.assign(new Error('bad token'), { name: 'PermanentError' })],
  ])('drops what is refused for good, and counts it: by an error %s', async (_whose, error) => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await commit(state, 1, 20)
    const backend = new Collecting()
    backend.script.push(() => {
      throw error()
    })
    const delivery = deliver(state, target(backend, { backoffMs: 60_000 }))
    await until(() => delivery.figures.delivered === 1)
    expect(backend.ends).toEqual([T0 / 1000 + 20])
    expect(delivery.figures).toMatchObject({ refused: 1, failures: 1 })
    expect(await pendingOf(state)).toBe(0)
    expect(log.lines).toContain('warn refused for good, dropped')
  })

  it.each([
    ['of its own', (): Error => new RetryLaterError('wait', 10)],
    [
      'of another copy of the package',
      (): Error => Object.assign(new Error('wait'), { name: 'RetryLaterError', retryAfterMs: 10 }),
    ],
  ])('waits for as long as it is told to: by an error %s', async (_whose, error) => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    backend.script.push(() => {
      throw error()
    })
    const delivery = deliver(state, target(backend, { backoffMs: 60_000 }))
    await until(() => delivery.figures.delivered === 1)
    expect(delivery.figures).toMatchObject({ failures: 1, refused: 0 })
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e12])(
    'does not run hot when told to wait %s ms',
    async (ms) => {
      const state = await opened(new Marked())
      await commit(state, 1, 10)
      const backend = new Collecting()
      backend.always = () => {
        throw new RetryLaterError('wait', ms)
      }
      const delivery = deliver(state, target(backend, { backoffMs: 60_000 }))
      await until(() => delivery.figures.failures === 1)
      await delivery.stop(20)
      // stopping gives it one last chance
      expect(backend.attempts).toBe(2)
    },
  )

  it('takes a flush that answers with no promise', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    let flushed = 0
    Object.assign(backend, { flush: () => void flushed++ })
    const delivery = deliver(state, target(backend))
    await until(() => delivery.figures.delivered === 1)
    expect(flushed).toBe(1)
  })

  it('to one backend does not wait for another that is down or hangs', async () => {
    const state = await opened(new Marked(), ['a', 'b', 'c'])
    const [down, hanging, well] = [new Collecting(), new Collecting(), new Collecting()]
    down.always = () => {
      throw new Error('down')
    }
    hanging.always = hang
    const windows = new WindowCache([0.5])
    const all = [target(down), target(hanging, { key: 'b' }), target(well, { key: 'c' })].map((to) =>
      deliver(state, to, windows),
    )
    for (let end = 10; end <= 50; end += 10) {
      await commit(state, 1, end)
      for (const delivery of all) delivery.notify()
    }
    await until(() => well.taken.length === 5)
    expect([down.taken.length, hanging.taken.length]).toEqual([0, 0])
    await until(() => all[0]?.figures.pending === 5)
    expect(await pendingOf(state)).toBe(5)
  })

  it('gives a flush up that hangs, tells it so, and hands the window over again', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    let signalled: AbortSignal | undefined
    backend.script.push((_window, signal) => {
      signalled = signal
      return hang()
    })
    const delivery = deliver(state, target(backend, { timeoutMs: 20 }))
    await until(() => delivery.figures.delivered === 1)
    expect(signalled?.aborted).toBe(true)
    expect(state.marks).toEqual(['attempt', 'release', 'attempt', 'settle'])
    expect(delivery.figures.failures).toBe(1)
  })

  it('does not hand over again what was accepted, however long that cannot be noted', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    state.failing.add('settle')
    const backend = new Collecting()
    const delivery = deliver(state, target(backend))
    await until(() => log.lines.length >= 3)
    expect(delivery.figures.delivered).toBe(0)
    state.failing.clear()
    await until(() => delivery.figures.delivered === 1)
    expect(backend.attempts).toBe(1)
    expect(state.marks).toEqual(['attempt', 'settle'])
  })

  it('goes on when the outbox could not be read for a while', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    state.failing.add('outbox')
    const backend = new Collecting()
    deliver(state, target(backend))
    await until(() => log.lines.length >= 2)
    expect(log.lines[0]).toBe('warn cannot use the outbox')
    state.failing.clear()
    await until(() => backend.taken.length === 1)
  })

  it('passes over a window that was dropped from the outbox after it was listed', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await commit(state, 1, 20)
    state.listed = async (entries) => {
      state.listed = undefined
      await state.settle('a', [(entries[0] as OutboxEntry).id])
      return entries
    }
    const backend = new Collecting()
    const delivery = deliver(state, target(backend))
    await until(() => delivery.figures.delivered === 1)
    expect(backend.ends).toEqual([T0 / 1000 + 20])
    expect(delivery.figures.failures).toBe(0)
  })

  it('hands a large window over in parts of one end', async () => {
    const state = await opened(new Marked())
    for (const shard of [1, 2, 3]) await commit(state, shard, 10)
    await commit(state, 1, 20)
    state.listed = async (entries) => entries.map((entry) => ({ ...entry, bytes: 6 << 20 }))
    const backend = new Collecting()
    deliver(state, target(backend))
    await until(() => backend.taken.length === 3)
    expect(backend.ends.map((end) => end - T0 / 1000)).toEqual([10, 10, 20])
    expect(backend.taken.map(({ rollups }) => rollups.length)).toEqual([2, 1, 1])
  })

  it('hands a large window over in one piece to a backend that wants it whole', async () => {
    const state = await opened(new Marked())
    for (let shard = 0; shard < 5; shard++) await commit(state, shard, 10)
    state.listed = async (entries) => entries.map((entry) => ({ ...entry, bytes: 6 << 20 }))
    const backend = Object.assign(new Collecting(), { wholeWindows: true })
    deliver(state, target(backend))
    await until(() => backend.taken.length > 0)
    expect(backend.taken.map(({ rollups }) => rollups.length)).toEqual([5])
  })

  it('hands over a window that is larger than any part alone', async () => {
    const state = await opened(new Marked())
    for (const shard of [1, 2]) await commit(state, shard, 10)
    state.listed = async (entries) => entries.map((entry) => ({ ...entry, bytes: 60 << 20 }))
    const backend = new Collecting()
    deliver(state, target(backend))
    await until(() => backend.taken.length === 2)
    expect(backend.taken.map(({ rollups }) => rollups.length)).toEqual([1, 1])
  })

  it('decodes a window once for backends that take it at the same time', async () => {
    const state = await opened(new Marked(), ['a', 'b'])
    await commit(state, 1, 10)
    const backends = [new Collecting(), new Collecting()]
    const windows = new WindowCache([0.5])
    backends.forEach((backend, index) => deliver(state, target(backend, { key: 'ab'[index] as string }), windows))
    await until(() => backends.every(({ taken }) => taken.length === 1))
    expect(backends[0]?.taken[0]).toBe(backends[1]?.taken[0])
  })
})

describe('delivery that is stopped', () => {
  it('hands over what is there first', async () => {
    const state = await opened(new Marked())
    for (let end = 10; end <= 50; end += 10) await commit(state, 1, end)
    const backend = new Collecting()
    const delivery = deliver(state, target(backend))
    await delivery.stop(10_000)
    expect(backend.taken).toHaveLength(5)
    expect(await pendingOf(state)).toBe(0)
  })

  it('tries once more at once, whatever pause it was in', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    backend.script.push(() => {
      throw new Error('down')
    })
    const delivery = deliver(state, target(backend, { backoffMs: 60_000 }))
    await until(() => delivery.figures.failures === 1)
    await delivery.stop(10_000)
    expect(backend.taken).toHaveLength(1)
  })

  it('gives up at its time limit, in a flush and in a pause, and leaves the window released', async () => {
    for (const always of [hang, () => Promise.reject(new Error('down'))]) {
      const state = await opened(new Marked())
      await commit(state, 1, 10)
      const backend = new Collecting()
      backend.always = always
      const delivery = deliver(state, target(backend, { timeoutMs: 60_000, backoffMs: 30_000 }))
      await until(() => backend.attempts === 1)
      await delivery.stop(30)
      expect(delivery.figures).toMatchObject({ delivered: 0, pending: 1 })
      expect(state.marks.at(-1)).toBe('release')
      expect(await pendingOf(state)).toBe(1)
    }
  })

  it('leaves what it could not note as accepted in doubt', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    state.failing.add('settle')
    const delivery = deliver(state, target(new Collecting(), { backoffMs: 60_000 }))
    await until(() => log.lines.length === 1)
    await delivery.stop(20)
    await state.close()
    await state.open({ group: 'g', backends: ['a'] })
    expect((await state.outbox())[0]?.attempted).toEqual(['a'])
  })
})

describe('a window in doubt after a crash', () => {
  it('that cannot be decided about, as its shard is another’s by now, is left alone', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await commit(state, 2, 10)
    state.listed = async (entries) =>
      entries.map((entry) => (entry.shard === 1 ? { ...entry, attempted: ['a'] } : entry))
    const backend = new Collecting()
    deliver(state, target(backend, { inDoubt: 'resend' }))
    // were it asked about again and again, nothing else would happen
    await until(() => backend.taken.length === 1)
    expect(backend.taken[0]?.rollups).toMatchObject([{ value: 2 }])
  })

  /** Two windows, of which the first was being handed over when the process died. */
  async function crashed(): Promise<FileState> {
    const directory = await temp()
    const before = await opened(new FileState({ directory }))
    await commit(before, 1, 10)
    await commit(before, 2, 20)
    await before.attempt('a', [((await before.outbox())[0] as OutboxEntry).id])
    await before.close()
    return opened(new FileState({ directory }))
  }

  it('is dropped and counted where it must not come twice', async () => {
    const state = await crashed()
    const backend = new Collecting()
    const delivery = deliver(state, target(backend, { inDoubt: 'drop' }))
    await until(() => delivery.figures.delivered === 1)
    expect(backend.ends).toEqual([T0 / 1000 + 20])
    expect(delivery.figures.doubted).toBe(1)
    expect(log.lines).toEqual(['warn in doubt after a crash, dropped (in-doubt=drop)'])
    expect(await pendingOf(state)).toBe(0)
  })

  it('is sent again where that does no harm', async () => {
    const state = await crashed()
    const backend = new Collecting()
    const delivery = deliver(state, target(backend, { inDoubt: 'resend' }))
    await until(() => delivery.figures.delivered === 2)
    expect(backend.ends).toEqual([T0 / 1000 + 10, T0 / 1000 + 20])
    expect(delivery.figures.doubted).toBe(0)
    expect(log.lines).toEqual(['info in doubt after a crash, sent again'])
  })

  it('is decided about before anything is sent, also when the outbox cannot be read at first', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await state.attempt('a', [((await state.outbox())[0] as OutboxEntry).id])
    await state.close()
    await state.open({ group: 'g', backends: ['a'] })
    state.failing.add('outbox')
    const backend = new Collecting()
    const delivery = deliver(state, target(backend))
    await until(() => log.lines.length >= 2)
    state.failing.clear()
    await until(() => delivery.figures.doubted === 1)
    await delivery.stop(1_000)
    expect(backend.attempts).toBe(0)
  })
})

describe('where shards come and go', () => {
  /** Delivers for a worker that holds what is in `held`. */
  function deliverHeld(state: State, to: Target, held: ReadonlySet<number>): Delivery {
    const delivery = new Delivery(to, state, new WindowCache([0.5]), log, (shard) => held.has(shard))
    running.push(delivery)
    delivery.start()
    return delivery
  }

  it('an attempt that was begun for a shard lost meanwhile is not made, and leaves nobody’s window in doubt', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await commit(state, 2, 10)
    // as one that stood still finds out: after the attempt was marked, before the backend is called
    const held = new Set([1])
    const backend = new Collecting()
    const delivery = deliverHeld(state, target(backend), held)
    await until(() => state.marks.filter((mark) => mark === 'release').length > 2)
    expect(backend.attempts).toBe(0)
    await delivery.withhold(2)
    await until(() => backend.taken.length === 1)
    expect(backend.taken[0]?.rollups).toMatchObject([{ value: 1 }])
    await delivery.stop(1_000)
    await state.close()
    await state.open({ group: 'g', backends: ['a'] })
    expect(await state.outbox()).toMatchObject([{ shard: 2, attempted: [] }])
  })

  it('a shard is withheld once its window in hand is answered for, and delivered when it is there again', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const backend = new Collecting()
    let answer = (): void => {}
    backend.script.push(() => new Promise<void>((resolve) => (answer = resolve)))
    const delivery = deliver(state, target(backend))
    await until(() => backend.attempts === 1)
    let isWithheld = false
    const withheld = delivery.withhold(1).then(() => (isWithheld = true))
    await delivery.withhold(2)
    await commit(state, 1, 20)
    await commit(state, 3, 20)
    delivery.notify()
    expect(isWithheld).toBe(false)
    answer()
    await withheld
    await until(() => backend.taken.length === 2)
    expect(backend.taken[1]?.rollups).toMatchObject([{ value: 3 }])
    expect((await state.outbox()).map(({ shard, end }) => [shard, end - T0])).toEqual([[1, 20_000]])
    delivery.add(1)
    await until(() => backend.taken.length === 3)
    expect(backend.taken[2]?.rollups).toMatchObject([{ value: 1 }])
  })

  it('stopping waits for what is in hand and leaves what is withheld', async () => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    await commit(state, 1, 20)
    const backend = new Collecting()
    backend.script.push(hang)
    const delivery = deliver(state, target(backend))
    await until(() => backend.attempts === 1)
    const withheld = delivery.withhold(1)
    await delivery.stop(20)
    await withheld
    expect(backend.attempts).toBe(1)
    // aborted and released: the next owner need not doubt it
    expect(state.marks).toEqual(['attempt', 'release'])
  })

  it('doubts that a shard brings are decided about when it comes, while others are delivered', async () => {
    const state = await opened(new Marked())
    // windows that are listed as another process left them
    const doubted = new Set<number>()
    state.listed = async (entries) =>
      entries.map((entry) => (doubted.has(entry.shard) ? { ...entry, attempted: ['a'] } : entry))
    const backend = new Collecting()
    const delivery = deliver(state, target(backend, { inDoubt: 'drop' }))
    await commit(state, 1, 10)
    delivery.notify()
    await until(() => backend.taken.length === 1)
    doubted.add(2)
    await commit(state, 2, 20)
    await commit(state, 1, 20)
    delivery.notify()
    await until(() => backend.taken.length === 2)
    expect(backend.taken[1]?.rollups).toMatchObject([{ value: 1 }])
    expect(delivery.figures.doubted).toBe(1)
    expect(await pendingOf(state)).toBe(0)
  })

  it.each([
    ['given up where the new owner sends it again', 'resend', true],
    ['gone on with where the new owner does not', 'drop', false],
  ] as const)('an attempt under way for shards that were all lost is %s', async (_what, inDoubt, isGivenUp) => {
    const state = await opened(new Marked())
    await commit(state, 1, 10)
    const held = new Set([1])
    const backend = new Collecting()
    let aborted = false
    let answer = (): void => {}
    backend.script.push((_window, signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return new Promise<void>((resolve) => (answer = resolve))
    })
    const delivery = deliverHeld(state, target(backend, { inDoubt }), held)
    await until(() => backend.attempts === 1)
    held.clear()
    delivery.lost()
    expect(aborted).toBe(isGivenUp)
    answer()
    await until(() => state.marks.includes(isGivenUp ? 'release' : 'settle'))
  })
})
