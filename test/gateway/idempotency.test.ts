import { describe, expect, test } from 'vitest'
import { createApp } from '../../gateway/index.ts'
import type { Answer } from '../../gateway/answers.ts'
import { Tokens } from '../../gateway/auth.ts'
import { IdempotencyKeys } from '../../gateway/idempotency.ts'
import { until } from '../until.ts'
import { FakeSink } from './fake-sink.ts'

const done: Answer = { status: 202, body: '{"accepted":1,"rejected":[]}' }

function poster(sink: FakeSink, tokens?: Tokens) {
  const app = createApp({ sink, tokens, idempotency: { maxKeys: 10 } })
  return async (
    key: string,
    body = '[{"type":"counter","name":"orders","value":1}]',
    secret = 'a',
  ): Promise<Response> =>
    app.request('/v1/metrics', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': key, authorization: `Bearer ${secret}` },
      body,
    })
}

describe('a post with an Idempotency-Key', () => {
  test('counts once, however often it is repeated, and always gets the first answer', async () => {
    const sink = new FakeSink()
    const post = poster(sink)
    const body = '[{"type":"counter","name":"orders","value":1}, 5]'
    const first = await (await post('k', body)).text()
    for (let turn = 0; turn < 3; turn++) {
      const repeat = await post('k', '[]')
      expect([repeat.status, await repeat.text()]).toEqual([202, first])
    }
    expect(sink.measurements).toHaveLength(1)
  })

  test('counts once when repeats come while it is in flight', async () => {
    const sink = new FakeSink()
    let settle!: (taken: boolean) => void
    sink.ready = new Promise((resolve) => (settle = resolve))
    const post = poster(sink)
    const answers = Array.from({ length: 20 }, () => post('k'))
    await until(() => sink.measurements.length === 1)
    settle(true)
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(202)
    expect(sink.measurements).toHaveLength(1)
  })

  test('that failed is tried again by the next, and by those that waited for it', async () => {
    const sink = new FakeSink()
    let settle!: (taken: boolean) => void
    sink.ready = new Promise((resolve) => (settle = resolve))
    const post = poster(sink)
    const answers = [post('k'), post('k'), post('k')]
    await until(() => sink.measurements.length === 1)
    sink.ready = Promise.resolve(true)
    settle(false)
    expect((await Promise.all(answers)).map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 202, 503])
    expect(sink.measurements).toHaveLength(2)
    sink.full = true
    expect((await post('k2')).status).toBe(503)
    sink.full = false
    expect((await post('k2')).status).toBe(202)
    expect((await post('k2')).status).toBe(202)
    expect(sink.measurements).toHaveLength(3)
  })

  test('that took nothing may be repeated in better words', async () => {
    const sink = new FakeSink()
    const post = poster(sink)
    expect((await post('k', '[5]')).status).toBe(400)
    expect((await post('k')).status).toBe(202)
    expect(sink.measurements).toHaveLength(1)
  })

  test('does not stand in the way of another token with the same key', async () => {
    const sink = new FakeSink()
    const post = poster(
      sink,
      new Tokens([
        { name: 'one', secret: 'a' },
        { name: 'two', secret: 'b' },
      ]),
    )
    expect((await post('k', undefined, 'a')).status).toBe(202)
    expect((await post('k', undefined, 'b')).status).toBe(202)
    expect(sink.measurements).toHaveLength(2)
    expect((await post('k', undefined, 'c')).status).toBe(401)
  })

  test('gets its answer when the sink has become full since', async () => {
    const sink = new FakeSink()
    const post = poster(sink)
    await post('k')
    sink.full = true
    expect((await post('k')).status).toBe(202)
    expect((await post('other')).status).toBe(503)
  })

  test('is refused when the key is too long', async () => {
    const response = await poster(new FakeSink())('k'.repeat(256))
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_key' } })
  })
})

describe('idempotency keys', () => {
  test('are held for five minutes and not for much longer', async () => {
    let nowMs = 0
    const keys = new IdempotencyKeys({ now: () => nowMs })
    let works = 0
    const work = async (): Promise<Answer> => (works++, done)
    for (let second = 0; second < 60; second++) {
      nowMs = second * 1000
      await keys.answer('', `k${second}`, work)
    }
    for (let second = 0; second < 60; second++) {
      nowMs = second * 1000 + 299_999
      await keys.answer('', `k${second}`, work)
    }
    expect(works).toBe(60)
    nowMs = 59_000 + 361_000
    expect(keys.size).toBe(0)
    await keys.answer('', 'k59', work)
    expect(works).toBe(61)
  })

  test('are bounded: at the bound a new key is refused until old ones are forgotten', async () => {
    let nowMs = 0
    const keys = new IdempotencyKeys({ now: () => nowMs, maxKeys: 3 })
    for (const key of ['a', 'b', 'c']) await keys.answer('', key, async () => done)
    await expect(keys.answer('', 'd', async () => done)).rejects.toMatchObject({
      code: 'overloaded',
      headers: { 'retry-after': '360' },
    })
    expect(await keys.answer('', 'a', async () => done)).toBe(done)
    nowMs = 360_000
    expect(await keys.answer('', 'd', async () => done)).toBe(done)
  })

  test('are bounded by the bytes of their answers too', async () => {
    const keys = new IdempotencyKeys({ maxBytes: 1_000 })
    await keys.answer('', 'a', async () => ({ status: 202, body: 'x'.repeat(1_000) }))
    await expect(keys.answer('', 'b', async () => done)).rejects.toMatchObject({ code: 'overloaded' })
  })

  test('are not held by work that throws', async () => {
    const keys = new IdempotencyKeys()
    await expect(keys.answer('', 'a', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(keys.size).toBe(0)
    expect(await keys.answer('', 'a', async () => done)).toBe(done)
  })
})
