import { afterEach, describe, expect, test } from 'vitest'
import { PermanentError } from '../../backends/backend.ts'
import { type HttpAnswer, HttpTarget, originOf, retryAfterMs } from '../../backends/http.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import { type Answer, Service, reset, status } from './service.ts'

const never = new AbortController().signal
const services: Service[] = []

afterEach(async () => {
  for (const service of services.splice(0)) await service.stop()
})

async function start(answer: Answer = status(200)): Promise<{ service: Service; target: HttpTarget }> {
  const service = await Service.start()
  service.answer = answer
  services.push(service)
  const base = `http://127.0.0.1:${service.port}/base/`
  return { service, target: new HttpTarget(parseBackendUrl('test://user:s3cr3tword@host'), 'test', base, { a: 'b' }) }
}

async function failure(answer: Answer, signal = never): Promise<Error & { retryAfterMs?: number }> {
  const { target } = await start(answer)
  return target.send({ path: '/x', body: 'hello', signal }).then(
    () => Promise.reject(new Error('it was taken')),
    (error: Error) => error,
  )
}

describe('a request', () => {
  test('goes to the base and the path, with the headers of both and its body', async () => {
    const { service, target } = await start(status(202, 'taken'))
    const answer = await target.send({ path: '/x?y=z', headers: { c: 'd' }, body: 'hello', signal: never })
    expect(answer).toMatchObject({ status: 202, text: 'taken', bytes: Buffer.from('taken') })
    expect(service.requests).toMatchObject([
      { method: 'POST', path: '/base/x?y=z', headers: { a: 'b', c: 'd' }, body: 'hello' },
    ])
  })

  test('is compressed when asked to be', async () => {
    const { service, target } = await start()
    await target.send({ path: '/x', body: 'hello '.repeat(1000), gzip: true, signal: never })
    expect(service.requests[0]?.headers['content-encoding']).toBe('gzip')
    expect(Number(service.requests[0]?.headers['content-length'])).toBeLessThan(200)
    expect(service.requests[0]?.body).toBe('hello '.repeat(1000))
  })

  test('without a body has none', async () => {
    const { service, target } = await start()
    await target.send({ method: 'HEAD', path: '/', signal: never })
    expect(service.requests).toMatchObject([{ method: 'HEAD', path: '/base/', body: '' }])
  })
})

describe('an answer', () => {
  test.each([400, 413, 415, 422])('%i is a refusal for good', async (code) => {
    const error = await failure(status(code, 'bad\n metric'))
    expect([error.name, error.message]).toEqual(['PermanentError', `test: answered ${code}: bad metric`])
  })

  test.each([
    [401, /answered 401; check the user and token/],
    [404, /answered 404; check host and path/],
    [500, /answered 500$/],
    [503, /answered 503$/],
    [302, /answered 302; name in its URL where it leads to/],
  ])('%i is tried again, and says what can be done', async (code, message) => {
    const error = await failure(status(code))
    expect(error.name).toBe('Error')
    expect(error.message).toMatch(message)
  })

  test.each([429, 503])('%i with Retry-After says how long to wait', async (code) => {
    expect(await failure(status(code, '', { 'retry-after': '7' }))).toMatchObject({
      name: 'RetryLaterError',
      retryAfterMs: 7000,
    })
  })

  test('shows no secret, nor more than its beginning', async () => {
    const { message } = await failure(status(500, `no s3cr3tword ${'x'.repeat(100_000)}`))
    expect(message).toMatch(/^test: answered 500: no \*\*\* x{100,200}$/)
  })

  test('that does not come is neither a refusal nor a success', async () => {
    expect(await failure(reset)).toMatchObject({ name: 'NoAnswerError' })
    const giveUp = new AbortController()
    const hangs: Answer = () => giveUp.abort()
    expect(await failure(hangs, giveUp.signal)).toMatchObject({ name: 'NoAnswerError' })
  })

  test('nobody is there to give is told from one that got lost', async () => {
    const { service, target } = await start()
    await service.stop()
    await expect(target.send({ path: '/', signal: never })).rejects.toMatchObject({
      name: 'Error',
      message: expect.stringMatching(/^test: cannot reach test:\/\/host: .*ECONNREFUSED/) as string,
    })
  })
})

test('Retry-After is seconds or a date, and never more than an hour', () => {
  const now = Date.parse('2024-01-01T00:00:00Z')
  expect(retryAfterMs('5', now)).toBe(5_000)
  expect(retryAfterMs('Mon, 01 Jan 2024 00:00:30 GMT', now)).toBe(30_000)
  expect(retryAfterMs('Sun, 31 Dec 2023 00:00:30 GMT', now)).toBe(0)
  expect(retryAfterMs('999999', now)).toBe(3_600_000)
  for (const odd of ['', 'soon', '-1', undefined]) expect(retryAfterMs(odd, now)).toBe(0)
})

test('the rules of the service come first, and leave the rest to the common ones', async () => {
  const { service } = await start()
  const judge = ({ text }: HttpAnswer, message: string): Error | undefined =>
    text === 'odd' ? new PermanentError(message, { refused: 3 }) : undefined
  const url = parseBackendUrl('test://host')
  const target = new HttpTarget(url, 'test', `http://127.0.0.1:${service.port}`, {}, judge)
  service.next.push(status(503, 'odd'), status(503, 'other'))
  await expect(target.send({ path: '/', signal: never })).rejects.toMatchObject({
    name: 'PermanentError',
    message: 'test: answered 503: odd',
    refused: 3,
  })
  await expect(target.send({ path: '/', signal: never })).rejects.toMatchObject({ name: 'Error' })
})

test.each([
  ['influx+http://host', 'http://host:8086'],
  ['influx+https://host', 'https://host:443'],
  ['influx+https://[::1]:1234/path', 'https://[::1]:1234'],
])('%s is found at %s', (url, origin) => {
  expect(originOf(parseBackendUrl(url), 8086)).toBe(origin)
})

test.each([
  ['influx://host', 'influx://host: does not say how to connect; write influx+http://host or influx+https://host'],
  ['influx+http:', 'influx+http: names no host; write influx+http://host'],
])('%s is no place', (url, message) => {
  expect(() => originOf(parseBackendUrl(url), 8086)).toThrow(message)
})
