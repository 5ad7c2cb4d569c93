import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { LambdaEmulator } from '../../examples/lambda/emulator.ts'
import { FaultyProxy, NO_FAULTS } from '../lambda/faulty-proxy.ts'
import { type Answered, MODES, type Mode, answered, lastWords, sandbox } from '../lambda/sandbox.ts'
import { until } from '../until.ts'
import { seeded } from '../client/random.ts'
import { Playground, type Program } from './processes.ts'

/** `ZIBRATO_LAMBDA=long`: as many, and as long, as the promise is made for; else a small part of it. */
const LONG = process.env['ZIBRATO_LAMBDA'] === 'long'
const INVOCATIONS = LONG ? 300 : 30
const FREEZE_MS = LONG ? 1_000 : 40
/** Invocations before which the function was frozen past every keep-alive. */
const VERY_LONG = LONG ? [100, 200] : []
const FAULTS = { refused: 0.1, reset: 0.05 }

interface Counted {
  readonly ground: Playground
  readonly up: Program
  readonly proxy: FaultyProxy
  readonly lambda: LambdaEmulator
}

/** A function that counts through a gateway that fails, into a file. */
async function start(
  ground: Playground,
  mode: Mode,
  random: () => number,
  handler = 'plain',
  env: Readonly<Record<string, string>> = {},
): Promise<Counted> {
  const { program: up, http } = await ground.up('--token', 'lambda=secret')
  const proxy = await FaultyProxy.start(http, random)
  const lambda = await sandbox(mode, handler, { ZIBRATO_URL: proxy.url, ZIBRATO_TOKEN: 'secret', ...env })
  return { ground, up, proxy, lambda }
}

/** Invokes, freezes, and does to the frozen function what `meanwhile` says. */
async function invokeAndFreeze(
  { lambda }: Counted,
  n: number,
  random: () => number,
  meanwhile: () => void | Promise<void>,
): Promise<void> {
  const outcome = await lambda.invoke({ n })
  expect(outcome.error, lambda.output).toBeUndefined()
  expect(answered(outcome).n).toBe(n)
  await lambda.idle()
  await meanwhile()
  const freezeMs = VERY_LONG.includes(n) ? 60_000 : random() * FREEZE_MS
  await new Promise((resolve) => setTimeout(resolve, freezeMs))
}

/** What of `attempts` came out at the other end. */
async function arrived({ ground, up }: Counted): Promise<number> {
  expect(await up.stop(), up.stderr).toBe(0)
  return ground.sum('attempts')
}

describe.concurrent.each(MODES)('a Lambda function that sends in mode %s', (mode) => {
  test(
    `counts each of ${INVOCATIONS} invocations once through a gateway that fails, frozen in between`,
    async () => {
      const random = seeded(20)
      await using ground = new Playground()
      const counted = await start(ground, mode, random)
      await using proxy = counted.proxy
      await using lambda = counted.lambda
      proxy.faults = FAULTS
      for (let n = 1; n <= INVOCATIONS; n++) {
        await invokeAndFreeze(counted, n, random, () => {
          if (random() < 0.2) proxy.cut()
        })
      }
      expect(proxy.refused + proxy.reset).toBeGreaterThan(0)
      proxy.faults = NO_FAULTS

      // what the function still has goes out with the next invocations, what the extension has when it is shut down
      await until(async () => {
        const { stats } = answered(await lambda.invoke({ report: true }))
        expect(stats).toMatchObject({ unknown: 0, dropped: {} })
        return stats.waiting === 0
      })
      await lambda.shutdown()
      const { sent, unknown, dropped } = mode === 'extension' ? lastWords(lambda) : { sent: 1, unknown: 0, dropped: {} }
      expect([sent > 0, unknown, dropped]).toEqual([true, 0, {}])
      expect(await arrived(counted)).toBe(INVOCATIONS)
      expect(lambda.coldStarts).toBe(1)
    },
    LONG ? 1_200_000 : 60_000,
  )

  test(
    'loses nothing that a gateway answered for, and counts nothing twice, when its environment is killed',
    async () => {
      const random = seeded(7)
      await using ground = new Playground()
      const counted = await start(ground, mode, random)
      await using proxy = counted.proxy
      await using lambda = counted.lambda
      proxy.faults = FAULTS
      const invocations = LONG ? 100 : 12
      for (let n = 1; n <= invocations; n++) {
        await invokeAndFreeze(counted, n, random, async () => {
          if (n % 5 === 0) await lambda.kill()
        })
      }
      await lambda.kill()
      expect(lambda.coldStarts).toBeGreaterThan(2)
      const sum = await arrived(counted)
      expect(sum).toBeGreaterThanOrEqual(proxy.acknowledged)
      expect(proxy.acknowledged).toBeGreaterThan(0)
      expect(sum).toBeLessThanOrEqual(invocations)
    },
    LONG ? 1_200_000 : 60_000,
  )
})

test.concurrent('what a Lambda function says that it gave up is what is missing', async () => {
  const random = seeded(3)
  await using ground = new Playground()
  // room for a frame or two
  const counted = await start(ground, 'direct', random, 'quiet', { WAITING_BYTES: '150' })
  await using proxy = counted.proxy
  await using lambda = counted.lambda
  const givenUp = ({ unknown, dropped }: Answered['stats']): number =>
    unknown + Object.values(dropped).reduce((sum, count) => sum + count, 0)
  proxy.faults = { refused: 1, reset: 0 }
  let invocations = 0
  await until(async () => {
    const { stats } = answered(await lambda.invoke({ n: ++invocations }))
    return givenUp(stats) >= 2
  })
  proxy.faults = NO_FAULTS
  let given = 0
  await until(async () => {
    const { stats } = answered(await lambda.invoke({ report: true }))
    given = givenUp(stats)
    return stats.waiting === 0 && stats.sent > given
  })
  // told with what comes after something was taken
  answered(await lambda.invoke({ report: true }))
  await lambda.idle()
  const sum = await arrived(counted)
  expect(proxy.missing).toEqual({ frames: given, attempts: invocations - sum })
  expect(sum).toBeGreaterThan(0)
  expect(ground.sum('zibrato.dropped')).toBe(given)
})

test.concurrent('the example counts its orders into a running zibrato', async () => {
  await using ground = new Playground()
  const { program: up, http } = await ground.up()
  const example = ground.start(process.execPath, [
    '--import',
    import.meta.resolve('tsx'),
    join(import.meta.dirname, '../../examples/lambda/run.ts'),
    http,
  ])
  expect(await example.ended, example.stderr).toBe(0)
  expect(await up.stop()).toBe(0)
  expect(ground.sum('orders')).toBe(10)
})
