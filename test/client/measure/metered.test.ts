import { beforeAll, describe, expect, test } from 'vitest'
import { metered } from '../../../client/measure/metered.ts'
import { Registry, type TimerStats } from '../../../client/registry/index.ts'
import { makeHandlers } from './handlers.ts'
import { importLegacy } from './legacy.ts'

interface Http {
  my: { http: Record<string, { latency: TimerStats; errors: { value: number } }> }
}

let legacy: typeof makeHandlers

beforeAll(async () => {
  legacy = (await importLegacy<{ makeHandlers: typeof makeHandlers }>('handlers.ts')).makeHandlers
})

describe.each([
  ['TC39', () => makeHandlers],
  ['legacy', () => legacy],
])('a class that a %s decorator meters', (_, make) => {
  test('has instruments named after it, and each subclass its own', () => {
    const registry = new Registry()
    const { Handler, Pay } = make()(registry)
    expect(new Handler().get(false)).toBe('Handler')
    new Pay().get(true)
    new Pay().get(false)
    const { http } = registry.getStats<Http>().my
    expect([http['Handler']?.latency.count, http['Pay']?.latency.count, http['Pay']?.errors.value]).toEqual([1, 2, 1])
    expect(http['Handler']?.errors).toBeUndefined()
  })
})

describe('a class that extends metered()', () => {
  const registry = new Registry()

  class Base {
    static kind = 'base'
    readonly path: string
    constructor(path: string) {
      this.path = path
    }
  }

  class Handler extends metered(
    {
      latency: (name) => registry.timer(`my.http.${name}.latency`),
      errors: (name) => registry.counter(`my.http.${name}.errors`),
    },
    Base,
  ) {
    get(): string {
      this.errors.inc()
      return this.latency.time(() => this.path)
    }
  }

  class Pay extends Handler {}

  test('keeps its base, and gives typed instruments to instances and to the class', () => {
    const pay = new Pay('/pay')
    expect(pay).toBeInstanceOf(Base)
    expect(pay.get()).toBe('/pay')
    expect(Pay.kind).toBe('base')
    expect(pay.latency).toBe(Pay.latency)
    expect(pay.latency).toBe(registry.timer('my.http.Pay.latency'))
    expect(new Handler('/').latency.name).toBe('my.http.Handler.latency')
    expect(Handler.latency).not.toBe(Pay.latency)
  })

  test('serves classes made while the program runs, in any order', () => {
    const names = ['Later', 'Much', 'Deeper']
    let Parent: typeof Handler = Pay
    for (const name of names) {
      Parent = { [name]: class extends Parent {} }[name] as typeof Handler
      expect(new Parent('/').latency.name).toBe(`my.http.${name}.latency`)
    }
    expect(new Pay('/').latency.name).toBe('my.http.Pay.latency')
  })

  test('is called by its meteredName, which subclasses do not inherit', () => {
    class Minified extends Handler {
      static meteredName = 'orders'
    }
    class Sub extends Minified {}
    expect(new Minified('/').latency.name).toBe('my.http.orders.latency')
    expect(Sub.errors.name).toBe('my.http.Sub.errors')
  })

  test('counts with its nearest ancestor that has a name when it has none', () => {
    const nameless = (): typeof Handler => class extends Pay {}
    expect(new (nameless())('/').latency).toBe(Pay.latency)
    const rootless = (() => class extends metered({ hits: (name) => registry.meter(name) }) {})()
    expect(new rootless().hits.name).toBe('anonymous')
  })
})
