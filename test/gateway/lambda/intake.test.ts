import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Sum } from '../../../client/sketch/aggregate.ts'
import { BUNDLE_TYPE, encodeBundle } from '../../../client/wire/bundle.ts'
import { Forwarder } from '../../../gateway/lambda/forwarder.ts'
import { Intake } from '../../../gateway/lambda/intake.ts'
import { randomFrame, seeded } from '../../client/random.ts'
import { type Answer, GatewayDouble, accept, respond } from '../../client/transport/gateway-double.ts'
import { freePort } from '../../free-port.ts'

const HELD_BYTES = 40_000
let gateway: GatewayDouble
let forwarder: Forwarder
let intake: Intake
let url = ''
let warnings: string[] = []

beforeEach(async () => {
  gateway = await GatewayDouble.start()
  warnings = []
  const log = (_: string, message: string): unknown => warnings.push(message)
  forwarder = new Forwarder({ log, source: 'shop', level: 'crit', heldBytes: HELD_BYTES })
  intake = new Intake(forwarder)
  const port = await freePort()
  await intake.start(port)
  url = `http://127.0.0.1:${port}/v1/metrics`
})

afterEach(async () => {
  await forwarder.close(0)
  await intake.close()
  await gateway.stop()
})

async function post(
  bundle: Uint8Array | undefined,
  headers: Record<string, string> = { 'content-type': BUNDLE_TYPE, 'zibrato-gateway': gateway.url },
): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(url, { method: 'POST', headers, body: (bundle as Uint8Array<ArrayBuffer>) ?? null })
  const text = await answer.text()
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) }
}

/** What the gateway was told of losses: level, seq, source, tags and count. */
function reports(): string[] {
  return gateway.posts
    .flatMap(({ frames }) => frames)
    .flatMap(({ level, seq, entries }) =>
      entries
        .filter(({ series }) => series.name === 'zibrato.dropped')
        .map(({ series, aggregate }) =>
          [level, seq, series.source, JSON.stringify(series.tags), (aggregate as Sum).value].join(' '),
        ),
    )
}

describe('what the extension takes', () => {
  test('goes on to the gateway byte by byte, whatever the frames', async () => {
    const seeds = new Set<number>()
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 6 }), async (seed, posts) => {
        // the same frames once more would be a repeat
        fc.pre(!seeds.has(seed))
        seeds.add(seed)
        gateway.posts.length = 0
        const random = seeded(seed)
        const bundles = Array.from({ length: posts }, () =>
          encodeBundle(Array.from({ length: 1 + (seed & 1) }, () => randomFrame(random, 3, 20).bytes)),
        )
        for (const bundle of bundles) expect((await post(bundle)).status).toBe(202)
        await forwarder.send(30_000)
        expect(Buffer.concat(gateway.posts.map(({ bundle }) => bundle)).equals(Buffer.concat(bundles))).toBe(true)
        expect(forwarder.stats().waiting).toBe(0)
      }),
      { numRuns: 20 },
    )
  })

  test('is what there is room for; the rest is refused and stays with the function', async () => {
    gateway.answer = (_, response) => respond(response, 503, {})
    let [taken, bytes] = [0, 0]
    const nextFrame = (): Uint8Array => randomFrame(seeded(taken + 1)).bytes
    for (let size = nextFrame().length; bytes + size <= HELD_BYTES; size = nextFrame().length) {
      expect(await post(encodeBundle([nextFrame()]))).toMatchObject({ status: 202 })
      bytes += size
      taken++
    }
    const refused = await post(encodeBundle([nextFrame()]))
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'overloaded' } } })
    expect(taken).toBeGreaterThan(1)
    gateway.answer = accept
    await forwarder.close(30_000)
    expect(gateway.posts.flatMap(({ frames }) => frames)).toHaveLength(taken)
    expect(forwarder.stats()).toMatchObject({ waiting: 0, unknown: 0, dropped: {} })
  })

  test('is sent once, though a function that got no answer hands it over again', async () => {
    const frame = randomFrame(seeded(1)).bytes
    expect((await post(encodeBundle([frame]))).status).toBe(202)
    await forwarder.send(30_000)
    expect((await post(encodeBundle([frame, randomFrame(seeded(2)).bytes]))).status).toBe(202)
    await forwarder.send(30_000)
    expect(gateway.posts.map(({ frames }) => frames.length)).toEqual([1, 1])
    expect(forwarder.stats()).toMatchObject({ sent: 2, waiting: 0, dropped: {} })
  })

  test('is nothing once it shuts down: what it could not send stays with the function', async () => {
    await forwarder.close(30_000)
    expect(await post(encodeBundle([randomFrame(seeded(1)).bytes]))).toMatchObject({ status: 503 })
  })

  test('is kept apart by gateway and token', async () => {
    const other = await GatewayDouble.start()
    const frame = (seed: number): Uint8Array => encodeBundle([randomFrame(seeded(seed)).bytes])
    const headers = { 'content-type': BUNDLE_TYPE, 'zibrato-gateway': gateway.url }
    await post(frame(1), headers)
    await post(frame(2), { ...headers, authorization: 'Bearer one' })
    await post(frame(3), { ...headers, 'zibrato-gateway': other.url, authorization: 'Bearer two' })
    await forwarder.send(30_000)
    const tokens = (double: GatewayDouble): unknown => new Set(double.posts.map(({ headers: h }) => h['authorization']))
    expect(tokens(gateway)).toEqual(new Set([undefined, 'Bearer one']))
    expect(tokens(other)).toEqual(new Set(['Bearer two']))
    await other.stop()
  })

  test('is nothing that makes no sense', async () => {
    const bundle = encodeBundle([randomFrame(seeded(1)).bytes])
    const type = { 'content-type': BUNDLE_TYPE }
    expect(await post(bundle, type)).toMatchObject({ status: 415 })
    expect(await post(bundle, { 'content-type': 'text/plain', 'zibrato-gateway': gateway.url })).toMatchObject({
      status: 415,
    })
    expect(await post(bundle, { ...type, 'zibrato-gateway': 'nowhere' })).toMatchObject({ status: 400 })
    expect(await post(bundle, { ...type, 'zibrato-gateway': 'https://me:secret@host' })).toMatchObject({ status: 400 })
    expect(await post(new Uint8Array(5 << 20))).toMatchObject({ status: 413 })
    const broken = Uint8Array.of(...bundle, 3, 1, 2, 3)
    expect(await post(broken)).toMatchObject({ status: 202, body: { accepted: 1, rejected: [{ index: 1 }] } })
    expect((await fetch(new URL('/elsewhere', url))).status).toBe(404)
  })

  test('is told of with the next success, by reason, when it had to be given up', async () => {
    const refuse: Answer = (_, response) => respond(response, 401, { error: { code: 'unauthorized' } })
    const send = async (seed: number): Promise<void> => {
      await post(encodeBundle([randomFrame(seeded(seed)).bytes]))
      await forwarder.send(30_000)
    }
    gateway.next.push(refuse, refuse)
    await send(1)
    await send(2)
    expect(forwarder.stats().dropped).toEqual({ refused: 2 })
    gateway.next.push((_, response) => respond(response, 202, { accepted: 0, rejected: [{ index: 0, reason: 'no' }] }))
    for (let seed = 3; seed < 6; seed++) await send(seed)
    expect(reports()).toEqual(['crit 1 shop {"reason":"refused"} 2', 'crit 1 shop {"reason":"rejected"} 1'])
    // and with the last post, where nothing was taken in between
    gateway.next.push(refuse)
    await send(6)
    await forwarder.close(30_000)
    expect(reports()).toHaveLength(3)
    expect(reports()).toContain('crit 2 shop {"reason":"refused"} 1')
    expect(forwarder.stats()).toMatchObject({ waiting: 0, unknown: 0 })
  })

  test('is told of although source and level make no sense', async () => {
    forwarder = new Forwarder({ log: () => {}, source: 'a\nb', level: '|' })
    gateway.next.push((_, response) => respond(response, 400, {}))
    for (let times = 0; times < 2; times++) {
      forwarder.take({ gateway: gateway.url, token: undefined }, [
        { bytes: randomFrame(seeded(times)).bytes, level: '', shard: 0, seq: 1, closedMs: Date.now() },
      ])
      await forwarder.send(30_000)
    }
    expect(reports()).toEqual(['info 1 not_specified {"reason":"refused"} 1'])
  })

  test('is shown with its figures', async () => {
    await post(encodeBundle([randomFrame(seeded(1)).bytes]))
    const shown = (await (await fetch(new URL('/extension', url))).json()) as object
    expect(shown).toMatchObject({ extension: 'zibrato-lambda-extension', stats: { waiting: 1, dropped: {} } })
  })

  test('tells by its headers when an invocation begins and ends', async () => {
    const tells = { 'zibrato-tells': '1' }
    // nobody has promised anything
    await intake.end('r0', 60_000)
    await post(undefined, { ...tells, 'zibrato-began': 'r1' })
    let isOver = false
    const over = intake.end('r1', 60_000).then(() => (isOver = true))
    await post(undefined, { ...tells, 'zibrato-ended': 'another' })
    await post(undefined, { ...tells, 'zibrato-began': 'r2' })
    expect(isOver).toBe(false)
    await post(encodeBundle([randomFrame(seeded(1)).bytes]), {
      ...tells,
      'zibrato-ended': 'r1',
      'content-type': BUNDLE_TYPE,
      'zibrato-gateway': gateway.url,
    })
    await over
    // told before Lambda told of it
    await intake.end('another', 60_000)
    // begins too late, if ever
    await intake.end('r3', 60_000)
  })
})
