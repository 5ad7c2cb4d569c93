import { describe, expect, test } from 'vitest'
import { Zibrato, instrument } from '../../../client/edge.ts'
import * as module from './worker-module.ts'

const z = (): Zibrato => new Zibrato({ linger: 0, onWarning: () => {} })

/** One whose handlers know only their own instances, as classes with private fields do. */
class Postman {
  readonly #name = 'postman'
  fetch(): string {
    return this.#name
  }
  email(message: string): string {
    return `${this.#name} got ${message}`
  }
}

describe('instrument takes a worker', () => {
  test.each([
    ['that is frozen', Object.freeze({ fetch: () => 'ok', other: 1 })],
    ['that is a module', module],
  ])('%s', (_, worker) => {
    const wrapped = instrument(z(), worker)
    expect(Object.keys(wrapped)).toEqual(['fetch'])
    expect(Reflect.set(wrapped, 'fetch', wrapped.fetch)).toBe(true)
    expect((wrapped as { fetch: (...args: unknown[]) => unknown }).fetch({}, {}, {})).toBe('ok')
  })

  test('that is an instance of a class, whose other handlers go on as they are', () => {
    const wrapped = instrument(z(), new Postman())
    expect([wrapped.fetch(), wrapped.email('a letter')]).toEqual(['postman', 'postman got a letter'])
  })
})
