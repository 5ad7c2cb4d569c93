import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../client/clock.ts'
import { observed } from '../observed.ts'

describe('timer.time', () => {
  test('times a function and returns its result', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    const result = z.timer('db').time(() => {
      clock.advance(120)
      return 'rows'
    })
    expect(result).toBe('rows')
    await z.flush()
    expect(metrics.sum('db')).toBe(0.12)
  })

  test('times a function that throws, and throws its error', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    const error = new Error('no rows')
    const call = (): never =>
      z.timer('db').time(() => {
        clock.advance(50)
        throw error
      })
    expect(call).toThrow(error)
    await z.flush()
    expect(metrics.sum('db')).toBe(0.05)
  })

  test('times a promise until it is settled', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    const { promise, resolve } = withResolvers<string>()
    const timed = z.timer('db').time(() => promise)
    clock.advance(300)
    await z.flush()
    expect(metrics.frames).toEqual([])
    resolve('rows')
    expect(await timed).toBe('rows')
    await z.flush()
    expect(metrics.sum('db')).toBe(0.3)
  })

  test('times a promise that rejects, and rejects with its error', async () => {
    const { z, metrics } = observed()
    const error = new Error('no rows')
    await expect(z.timer('db').time(() => Promise.reject(error))).rejects.toBe(error)
    await z.flush()
    expect(metrics.count('db')).toBe(1)
  })

  test('has the time by when the caller sees the result', async () => {
    const { z, metrics } = observed({ flushInterval: 0 })
    await z.timer('db').time(async () => 1)
    expect(metrics.count('db')).toBe(1)
  })

  test('takes a thenable whose `then` answers nothing', async () => {
    const { z, metrics } = observed()
    // oxlint-disable-next-line no-thenable
    const thenable = { then: (done: (value: string) => void): void => done('rows') }
    expect(await z.timer('db').time(() => thenable as unknown as Promise<string>)).toBe('rows')
    await z.flush()
    expect(metrics.count('db')).toBe(1)
  })

  test('leaves a rejection that nobody handles to be seen', async () => {
    const { z } = observed()
    const error = new Error('nobody looks')
    const seen: unknown[] = []
    const others = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', (reason) => seen.push(reason))
    try {
      void z.timer('db').time(() => Promise.reject(error))
      await expect.poll(() => seen).toEqual([error])
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const listener of others) process.on('unhandledRejection', listener)
    }
  })
})

describe('wrap', () => {
  test('keeps this, arguments, name, length and result', async () => {
    const { z, metrics } = observed()
    const cart = {
      owner: 'ann',
      pay(amount: number, currency: string): string {
        return `${this.owner} ${amount} ${currency}`
      },
    }
    // oxlint-disable-next-line unbound-method
    cart.pay = z.timer('pay').wrap(cart.pay)
    expect(cart.pay(5, 'EUR')).toBe('ann 5 EUR')
    expect(cart.pay.name).toBe('pay')
    expect(cart.pay.length).toBe(2)
    await z.flush()
    expect(metrics.count('pay')).toBe(1)
  })

  test('adds the outcome when asked', async () => {
    const { z, metrics } = observed()
    const query = z
      .timer('db')
      .wrap((fails: boolean) => (fails ? Promise.reject(new Error('no')) : Promise.resolve(1)), {
        outcome: true,
      })
    const parse = z.timer('json').wrap((text: string) => JSON.parse(text) as unknown, { outcome: true })
    await query(false)
    await expect(query(true)).rejects.toThrow('no')
    parse('{}')
    expect(() => parse('{')).toThrow(SyntaxError)
    await z.flush()
    for (const outcome of ['ok', 'error']) {
      expect(metrics.count('db', { tags: { outcome } })).toBe(1)
      expect(metrics.count('json', { tags: { outcome } })).toBe(1)
    }
  })

  test('times calls that overlap', async () => {
    const clock = new ManualClock()
    const { z, metrics } = observed({ clock })
    const waits: (() => void)[] = []
    const query = z.timer('db').wrap(() => new Promise<void>((resolve) => waits.push(resolve)))
    const calls = [query(), query()]
    clock.advance(100)
    waits[0]?.()
    await calls[0]
    clock.advance(100)
    waits[1]?.()
    await calls[1]
    await z.flush()
    expect(metrics.sum('db')).toBeCloseTo(0.3)
  })
})

describe('wrapCounted', () => {
  test('counts calls once they have ended', async () => {
    const { z, metrics } = observed()
    const add = z.wrapCounted((left: number, right: number) => left + right, { name: 'add', value: 3, level: 'debug' })
    expect(add(1, 2)).toBe(3)
    expect(add).toHaveLength(2)
    const fails = z.wrapCounted(() => Promise.reject(new Error('no')), { name: 'fails', outcome: true })
    await expect(fails()).rejects.toThrow('no')
    await z.flush()
    expect(metrics.sum('add', { level: 'debug' })).toBe(3)
    expect(metrics.sum('fails', { tags: { outcome: 'error' } })).toBe(1)
  })
})

function withResolvers<Value>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((done) => (resolve = done))
  return { promise, resolve }
}
