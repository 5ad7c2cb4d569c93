import { beforeAll, describe, expect, test } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { observed } from '../observed.ts'
import { makeCart } from './decorated.ts'
import { importLegacy } from './legacy.ts'

let legacy: typeof makeCart

beforeAll(async () => {
  legacy = (await importLegacy<{ makeCart: typeof makeCart }>('decorated.ts')).makeCart
})

describe.each([
  ['TC39', () => makeCart],
  ['legacy', () => legacy],
])('%s decorators', (_, make) => {
  test('time and count methods, and keep this, name, length and result', async () => {
    const { z, metrics } = observed()
    const Cart = make()(z)
    const cart = Cart.open('ann')
    expect(cart).toBeInstanceOf(Cart)
    expect(cart.pay(5, 'EUR')).toBe('ann pays 5 EUR')
    expect(cart.pay(6, 'EUR')).toBe('ann pays 6 EUR')
    expect(cart.add().add()).toBe(cart)
    expect(cart.both()).toBe(1)
    const item: 'pen' = cart.kept('pen')
    expect(item).toBe('pen')
    expect(cart.pay.name).toBe('pay')
    expect(cart.pay.length).toBe(2)
    expect(Cart.open.name).toBe('open')
    await z.flush()
    expect(metrics.count('cart.pay', { type: 'timer', level: 'debug' })).toBe(2)
    expect(metrics.sum('cart.add', { level: 'info' })).toBe(10)
    expect(metrics.sum('default_counter')).toBe(1)
    expect(metrics.count('cart.both')).toBe(1)
    expect(metrics.sum('cart.both', { type: 'counter' })).toBe(1)
  })

  test('keep errors, and measure the call all the same', async () => {
    const { z, metrics } = observed()
    const cart = make()(z).open('ann')
    expect(() => cart.pay(-1, 'EUR')).toThrow(new RangeError('amount is negative'))
    await z.flush()
    expect(metrics.count('cart.pay')).toBe(1)
  })

  test('measure an async method once it is settled, by outcome', async () => {
    const { z, metrics } = observed()
    const cart = make()(z).open('ann')
    const loading = cart.load(false)
    await z.flush()
    expect(metrics.count('cart.load')).toBe(0)
    await expect(loading).resolves.toBe('ann')
    await expect(cart.load(true)).rejects.toThrow('no cart')
    await expect(cart.load(true)).rejects.toThrow('no cart')
    await z.flush()
    expect(metrics.count('cart.load', { tags: { outcome: 'ok' } })).toBe(1)
    expect(metrics.count('cart.load', { tags: { outcome: 'error' } })).toBe(2)
  })

  test('leave generators as they are', async () => {
    const { z, metrics } = observed()
    expect([...make()(z).open('ann').items()]).toEqual(['ann', 'item'])
    await z.flush()
    expect(metrics.sum('cart.items', { tags: { outcome: 'ok' } })).toBe(1)
  })

  test('leave the property as the language makes it', () => {
    const { z } = observed()
    const { prototype } = make()(z)
    expect(Object.getOwnPropertyDescriptor(prototype, 'pay')).toMatchObject({
      writable: true,
      configurable: true,
      enumerable: false,
    })
  })
})

describe('a decorator where there is no method', () => {
  const { z } = observed()
  const decorate = z.timeMe({ name: 't' }) as unknown as (...args: unknown[]) => unknown

  test.each(['field', 'getter', 'setter', 'accessor', 'class'])('is refused on a TC39 %s', (kind) => {
    expect(() => decorate(() => 1, { kind, name: 'x' })).toThrow(UsageError)
    expect(() => decorate(() => 1, { kind, name: 'x' })).toThrow(/@timeMe decorates methods/)
  })

  test('is refused on a legacy field, accessor and class', () => {
    expect(() => decorate({}, 'field')).toThrow(UsageError)
    expect(() => decorate({}, 'field', undefined)).toThrow(UsageError)
    expect(() => decorate({}, 'getter', { get: () => 1, configurable: true })).toThrow(UsageError)
    expect(() => decorate(class {})).toThrow(UsageError)
    expect(() => (z.countMe() as unknown as typeof decorate)(class {})).toThrow(/@countMe .* wrap functions/)
  })
})
