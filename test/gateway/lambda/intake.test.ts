import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BUNDLE_TYPE, encodeBundle } from '../../../client/wire/bundle.ts'
import { Forwarder } from '../../../gateway/lambda/forwarder.ts'
import { Intake } from '../../../gateway/lambda/intake.ts'
import { randomFrame, seeded } from '../../client/random.ts'
import { GatewayDouble, accept, respond } from '../../client/transport/gateway-double.ts'
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
  forwarder = new Forwarder((_, message) => warnings.push(message), HELD_BYTES)
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

describe('what the extension takes', () => {
  test('goes on to the gateway byte by byte, whatever the frames', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 6 }), async (seed, posts) => {
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
    const bundle = encodeBundle([randomFrame(seeded(1)).bytes])
    let taken = 0
    let answer = await post(bundle)
    while (answer.status === 202) {
      taken++
      answer = await post(bundle)
    }
    expect(answer).toMatchObject({ status: 503, body: { error: { code: 'overloaded' } } })
    expect(taken).toBe(Math.floor(HELD_BYTES / randomFrame(seeded(1)).bytes.length))
    gateway.answer = accept
    await forwarder.close(30_000)
    expect(gateway.posts.flatMap(({ frames }) => frames)).toHaveLength(taken)
    expect(forwarder.stats()).toMatchObject({ waiting: 0, unknown: 0, dropped: {} })
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
