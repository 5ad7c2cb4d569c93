import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PermanentError, type Rollup, type Window } from '../../backends/backend.ts'
import { type Batch, type BatchOptions, Batches } from '../../backends/batches.ts'
import { NoAnswerError } from '../../backends/http.ts'
import { sampleRollup, sampleWindow } from '../../backends/samples.ts'

const never = new AbortController().signal

class Names implements Batch {
  readonly names: string[] = []
  add({ name }: Rollup): void {
    // some become nothing
    if (!name.startsWith('-')) this.names.push(name)
  }
  get size(): number {
    return this.names.length
  }
}

function windowOf(names: readonly string[], index = 0): Window {
  return sampleWindow(
    names.map((name) => sampleRollup({ type: 'counter', name, source: 'web', tags: {} }, [1])),
    index,
  )
}

/** A service that takes names, and what it has been sent. */
class Target {
  readonly taken: string[] = []
  readonly posts: string[][] = []
  readonly next: Error[] = []
  readonly bad = new Set<string>()

  batches(options: Partial<BatchOptions<Names>> = {}): Batches<Names> {
    const post = async ({ names }: Names): Promise<void> => {
      this.posts.push(names)
      await Promise.resolve()
      const error = this.next.shift()
      if (error !== undefined) throw error
      const refused = names.find((name) => this.bad.has(name))
      if (refused !== undefined) throw new PermanentError(`test: ${refused} is bad`)
      this.taken.push(...names)
    }
    return new Batches({ name: 'test', begin: () => new Names(), limit: 3, post, ...options })
  }
}

const many = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}`)

describe('a window', () => {
  test('goes in batches up to the limit, in order, and what becomes nothing is no batch', async () => {
    const target = new Target()
    await target.batches().flush(windowOf(['-', 'a', 'b', '-', 'c', 'd']), never)
    await target.batches().flush(windowOf(['-', '-']), never)
    expect(target.posts).toEqual([['a', 'b', 'c'], ['d']])
  })

  test('that failed goes on where it stopped', async () => {
    const target = new Target()
    const batches = target.batches()
    target.next.push(undefined as never, new Error('down'))
    await expect(batches.flush(windowOf(many(8)), never)).rejects.toThrow('down')
    await batches.flush(windowOf(many(8)), never)
    expect(target.taken).toEqual(many(8))
    expect(target.posts).toHaveLength(4)
  })

  test('after one that failed and was given up begins at its beginning', async () => {
    const target = new Target()
    const batches = target.batches()
    target.next.push(undefined as never, new Error('down'))
    await expect(batches.flush(windowOf(many(8)), never)).rejects.toThrow('down')
    await batches.flush(windowOf(many(8), 1), never)
    expect(target.taken).toEqual([...many(3), ...many(8)])
  })

  test('does not begin a batch once it is to stop', async () => {
    const target = new Target()
    const giveUp = new AbortController()
    const batches = target.batches({
      post: async ({ names }: Names) => {
        target.posts.push(names)
        giveUp.abort(new Error('stop'))
        await Promise.resolve()
      },
    })
    await expect(batches.flush(windowOf(many(8)), giveUp.signal)).rejects.toThrow('stop')
    expect(target.posts).toHaveLength(1)
  })
})

describe('what is refused', () => {
  test('takes nothing else along, however the bad ones lie', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(39), { maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        async (bad, limit) => {
          const target = new Target()
          for (const index of bad) target.bad.add(`n${index}`)
          const names = many(40)
          const outcome = await target
            .batches({ limit })
            .flush(windowOf(names), never)
            .catch((error: unknown) => error)
          expect(target.taken).toEqual(names.filter((name) => !target.bad.has(name)))
          if (bad.length === 0) return outcome === undefined
          return outcome instanceof PermanentError && outcome.refused === bad.length && /is bad/.test(outcome.message)
        },
      ),
    )
  })

  test('is remembered when something else fails in between', async () => {
    const target = new Target()
    const batches = target.batches()
    target.bad.add('n0')
    // the whole, its first half, its second half
    target.next.push(new PermanentError('bad'), new PermanentError('bad'), new Error('down'))
    await expect(batches.flush(windowOf(many(4)), never)).rejects.toThrow('down')
    await expect(batches.flush(windowOf(many(4)), never)).rejects.toMatchObject({ refused: 1 })
    expect(target.taken).toEqual(['n1', 'n2', 'n3'])
  })

  test('is dropped with its batch where a service takes the good ones itself', async () => {
    const target = new Target()
    target.next.push(new PermanentError('two were bad', { refused: 2 }))
    await expect(target.batches({ splits: false }).flush(windowOf(many(6)), never)).rejects.toMatchObject({
      refused: 2,
    })
    expect(target.posts).toEqual([many(3), many(6).slice(3)])
  })

  test('is not sent again in halves once the service says that it took the others', async () => {
    const target = new Target()
    target.next.push(new PermanentError('two were bad', { refused: 2 }))
    await expect(target.batches().flush(windowOf(many(6)), never)).rejects.toMatchObject({ refused: 2 })
    expect(target.posts).toEqual([many(3), many(6).slice(3)])
  })

  test('is not halved without end when all is bad', async () => {
    const target = new Target()
    for (const name of many(2_000)) target.bad.add(name)
    await expect(target.batches({ limit: 100 }).flush(windowOf(many(2_000)), never)).rejects.toMatchObject({
      refused: 2_000,
    })
    expect(target.posts.length).toBeLessThan(500)
  })
})

test('each post has a time of its own, and what is there by then stays', async () => {
  const target = new Target()
  let slow = true
  const batches = target.batches({
    timeoutMs: 20,
    post: async ({ names }: Names, signal) => {
      if (slow && names.includes('n3')) await new Promise((resolve) => signal.addEventListener('abort', resolve))
      signal.throwIfAborted()
      target.taken.push(...names)
    },
  })
  await expect(batches.flush(windowOf(many(6)), never)).rejects.toThrow(/timeout/)
  expect(target.taken).toEqual(many(3))
  slow = false
  await batches.flush(windowOf(many(6)), never)
  expect(target.taken).toEqual(many(6))
})

describe('what nobody answered', () => {
  test('is sent again', async () => {
    const target = new Target()
    const batches = target.batches()
    target.next.push(new NoAnswerError('silence'))
    await expect(batches.flush(windowOf(many(4)), never)).rejects.toThrow('silence')
    await batches.flush(windowOf(many(4)), never)
    expect(target.taken).toEqual(many(4))
  })

  test('is given up alone where it must not be sent twice', async () => {
    const target = new Target()
    target.next.push(new NoAnswerError('silence'))
    const flush = target.batches({ dropUnanswered: true }).flush(windowOf(many(4)), never)
    await expect(flush).rejects.toMatchObject({ name: 'PermanentError', refused: 3 })
    expect(target.taken).toEqual(['n3'])
  })
})
