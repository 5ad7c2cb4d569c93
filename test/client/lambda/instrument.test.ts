import { describe, expect, onTestFinished, test } from 'vitest'
import type { LambdaEmulator } from '../../../examples/lambda/emulator.ts'
import { Zibrato, instrument } from '../../../client/lambda.ts'
import { MemoryMetrics } from '../../../client/transport/metrics.ts'
import { gateway } from '../../lambda/gateway.ts'
import { answered, sandbox } from '../../lambda/sandbox.ts'
import { until } from '../../until.ts'
import { GatewayDouble, respond } from '../transport/gateway-double.ts'

/** A function in the emulator that sends by itself. */
async function start(
  handler: string,
  url: string,
  env: Readonly<Record<string, string>> = {},
  timeoutMs = 120_000,
): Promise<LambdaEmulator> {
  const lambda = await sandbox('direct', handler, { ZIBRATO_URL: url, BUDGET: '60s', ...env }, { timeoutMs })
  onTestFinished(() => lambda[Symbol.asyncDispose]())
  return lambda
}

describe('an instrumented Lambda handler', () => {
  test('has sent what it measured before it is frozen, with what is measured of every invocation', async () => {
    const double = await gateway()
    const lambda = await start('plain', double.url, { ZIBRATO_TOKEN: 'secret' })
    for (let n = 1; n <= 3; n++) {
      expect(answered(await lambda.invoke({ n })).n).toBe(n)
      await lambda.idle()
      expect(double.sum('attempts')).toBe(n)
    }
    expect(double.posts[0]?.headers['authorization']).toBe('Bearer secret')
    expect(double.sum('lambda.invocations')).toBe(3)
    expect(double.sum('lambda.cold_starts')).toBe(1)
    expect(double.sum('lambda.errors')).toBe(0)
    const entries = double.posts.flatMap(({ frames }) => frames).flatMap((frame) => frame.entries)
    expect(entries.filter(({ series }) => series.name === 'lambda.duration')).toHaveLength(3)
    // the function's name
    expect(new Set(entries.map(({ series }) => series.source))).toEqual(new Set(['lambda']))
    // one connection, kept over the freeze, and one post for each
    expect(double.posts).toHaveLength(3)
  })

  test('adds nothing of its own when told not to', async () => {
    const double = await gateway()
    const lambda = await start('quiet', double.url)
    answered(await lambda.invoke({ n: 1 }))
    await until(async () => answered(await lambda.invoke({ report: true })).stats.waiting === 0)
    const names = double.posts.flatMap(({ frames }) =>
      frames.flatMap(({ entries }) => entries.map((e) => e.series.name)),
    )
    expect(new Set(names)).toEqual(new Set(['attempts']))
  })

  test.each([
    ['async', 'plain'],
    ['with a callback', 'callback'],
    ['async with a callback', 'both'],
    ['that ends by its context', 'legacy'],
  ])('%s fails as it would, and its errors are counted', async (_, handler) => {
    const double = await gateway()
    const lambda = await start(handler, double.url)
    const { error } = await lambda.invoke({ n: 1, fail: 'no stock' })
    expect(error).toEqual({ errorType: 'TypeError', errorMessage: 'no stock' })
    expect(answered(await lambda.invoke({ n: 2 })).n).toBe(2)
    await lambda.idle()
    expect([double.sum('lambda.errors'), double.sum('lambda.invocations'), double.sum('attempts')]).toEqual([1, 2, 2])
  })

  test('with a callback waits for an empty event loop only if it is to', async () => {
    const double = await gateway()
    const lambda = await start('callback', double.url)
    expect(answered(await lambda.invoke({ n: 1 }))).toMatchObject({ n: 1, waits: true })
    // what was measured while it waited goes out with the next
    expect(answered(await lambda.invoke({ n: 2, lateMs: 50 }))).toMatchObject({ n: 2, waits: true })
    expect(answered(await lambda.invoke({ n: 3 })).n).toBe(3)
    await lambda.idle()
    expect(double.sum('attempts')).toBe(4)
    // never over while this is waited for
    expect(answered(await lambda.invoke({ n: 4, lateMs: 1_000_000, waits: false }))).toMatchObject({
      n: 4,
      waits: false,
    })
    await lambda.idle()
    expect(double.sum('attempts')).toBe(5)
  })

  test('that neither returns a promise nor calls back answers null, and is sent then or with the next', async () => {
    const double = await gateway()
    const lambda = await start('silent', double.url)
    for (let n = 1; n <= 2; n++) expect((await lambda.invoke({ n })).body).toBe('null')
    await until(async () => {
      await lambda.invoke({ count: 0 })
      return double.sum('attempts') === 2
    })
  })

  test.each([['before it is instrumented'], ['after']])(
    'that streams, by streamifyResponse %s, has answered before it sends',
    async (when) => {
      const double = await gateway()
      let release = (): void => {}
      double.next.push((_, response) => (release = () => respond(response, 202, { accepted: 1, rejected: [] })))
      const lambda = await start(when === 'after' ? 'streaming' : 'streamed', double.url)
      const { body, error, piecesMs } = await lambda.invoke({ pieces: ['one ', 'two ', 'three'] })
      expect([body, error]).toEqual(['one two three', undefined])
      expect(piecesMs.length).toBeGreaterThan(1)
      await until(() => double.posts.length === 1)
      release()
      await lambda.idle()
      expect(double.sum('attempts')).toBe(1)
      expect((await lambda.invoke({ pieces: ['half'], fail: 'torn' })).error?.errorType).toBe('TypeError')
      await lambda.idle()
      expect(double.sum('lambda.errors')).toBe(1)
    },
  )

  test('keeps what a gateway did not take, and sends the same bytes with the next invocation', async () => {
    const double = await gateway()
    double.answer = (_, response) => respond(response, 503, {})
    const lambda = await start('plain', double.url, { BUDGET: '250ms' })
    answered(await lambda.invoke({ n: 1 }))
    await lambda.idle()
    const [first] = double.posts
    double.answer = (post, response) => respond(response, 202, { accepted: post.frames.length, rejected: [] })
    await until(async () => answered(await lambda.invoke({ report: true })).stats.waiting === 0)
    const again = double.posts.slice(1).find(({ bundle }) => bundle.indexOf(first?.bundle ?? 'none') >= 0)
    expect(first?.bundle.length).toBeGreaterThan(0)
    expect(again).toBeDefined()
    expect(double.sum('attempts')).toBe(1)
  })

  test('sends on a new connection when the one it kept has died while it was frozen', async () => {
    const double = await gateway()
    const lambda = await start('plain', double.url)
    for (let n = 1; n <= 5; n++) {
      expect(answered(await lambda.invoke({ n })).stats).toMatchObject({ replayed: 0, waiting: 0 })
      await lambda.idle()
      double.cut()
    }
    expect(double.sum('attempts')).toBe(5)
  })

  test('counts an invocation that is about to time out, and has sent it before it is killed', async () => {
    const double = await gateway()
    const lambda = await start('plain', double.url, {}, 1_500)
    // a machine that is busy may be too late now and then
    await until(async () => {
      expect((await lambda.invoke({ hang: true })).error?.errorType).toBe('Sandbox.timeout')
      return double.sum('lambda.timeouts') > 0
    }, 'a timeout is counted')
    expect(double.sum('lambda.invocations')).toBeGreaterThan(0)
  })

  test.each<[string, (double: GatewayDouble) => void]>([
    ['refuses the token', (double) => (double.answer = (_, response) => respond(response, 401, { error: {} }))],
    ['takes no body, however small', (double) => (double.answer = (_, response) => respond(response, 413, {}))],
    ['never answers', (double) => (double.answer = () => {})],
    ['answers nonsense', (double) => (double.answer = (_, response) => response.end('x'.repeat(500_000)))],
    ['breaks off', (double) => (double.answer = (_, response) => response.destroy())],
    ['is not there', () => {}],
  ])('answers as if nothing had happened when the gateway %s', async (what, make) => {
    const double = await GatewayDouble.start()
    make(double)
    const { url } = double
    if (what === 'is not there') await double.stop()
    else onTestFinished(() => double.stop())
    const lambda = await start('plain', url, { BUDGET: '100ms' })
    for (let n = 1; n <= 3; n++) {
      expect(answered(await lambda.invoke({ n, body: 200 })).n).toBe(n)
      await lambda.idle()
    }
    expect((await lambda.invoke({ n: 4, fail: 'as ever' })).error).toEqual({
      errorType: 'TypeError',
      errorMessage: 'as ever',
    })
  })

  test('answers when there is no url at all', async () => {
    const lambda = await start('plain', '')
    expect(answered(await lambda.invoke({ n: 1 })).n).toBe(1)
    expect(answered(await lambda.invoke({ n: 2 })).stats.dropped['nowhere']).toBeGreaterThan(0)
  })

  test('is, to whoever looks, the function that it was', async () => {
    const z = new Zibrato({ transport: new MemoryMetrics() })
    const mark = Symbol('mark')
    async function handler(this: unknown, event: number, context: unknown): Promise<unknown[]> {
      return [this, event, context]
    }
    const marked = Object.assign(handler, { [mark]: 'kept' })
    const wrapped = instrument(z, marked)
    expect([wrapped.name, wrapped.length, wrapped.constructor.name]).toEqual(['handler', 2, 'AsyncFunction'])
    expect(wrapped[mark]).toBe('kept')
    const context = {}
    expect(await wrapped.call('self', 7, context)).toEqual(['self', 7, context])
    const plain = instrument(z, (_event: number, _context: unknown, _callback: unknown) => 8)
    expect([plain.length, plain.constructor.name]).toEqual([3, 'Function'])
    expect(plain(1, undefined, undefined)).toBe(8)
    // nothing is left to be done by then, which it would find out itself
    process.emit('beforeExit', 0)
  })

  test('refuses a budget that is no duration', () => {
    const z = new Zibrato({ transport: new MemoryMetrics() })
    expect(() => instrument(z, async () => {}, { budget: 'soon' })).toThrow(/duration "soon" is none/)
  })
})
