import { describe, expect, it } from 'vitest'
import { TestRelay } from '../gateway/relay/relay.ts'
import { until } from '../until.ts'
import { FAULTS, LAW_MS, type Load, OUTAGE_MS, type Way, checkKills, checkReports } from './edge-laws.ts'
import { FaultyGateway } from './faulty-gateway.ts'
import { Playground } from './processes.ts'

/** Isolates, a door that fails, the relay, another such door, and a gateway; answers how many frames the relay took for repeats. */
async function checkThrough(check: (way: Way) => Promise<void>): Promise<number> {
  await using ground = new Playground()
  const { program: up, http } = await ground.up()
  await using upstream = await FaultyGateway.before(() => http, FAULTS)
  await using relay = await TestRelay.start({
    env: { UPSTREAM_URL: upstream.url, RELAY_GROUPS: '4', RELAY_LINGER: '50ms' },
  })
  await using door = await FaultyGateway.before(() => relay.url, FAULTS)

  const disturb = async (load: Load, outage: Promise<void>): Promise<void> => {
    await load.reached(0.1)
    await upstream.outage(OUTAGE_MS)
    await Promise.all([relay.alarm(3), relay.alarm(2)])
    // what it had taken when it ended, the door could not know of: kiosks give nothing up any more
    await outage
    await relay.restart()
    await upstream.outage(OUTAGE_MS, async () => {
      await relay.restart()
      await relay.alarm(2)
    })
  }
  const settle = async (): Promise<void> => {
    await until(async () => (await relay.alarm(2)).frames === 0, 'the relay has forwarded everything', LAW_MS)
    expect(await up.stop(), up.stderr).toBe(0)
  }
  await check({ ground, door, disturb, settle })
  const { answered, unavailable, reset } = upstream.posts
  expect(Math.min(answered, unavailable, reset)).toBeGreaterThan(0)
  const { repeats, unknown, dropped } = await relay.figures()
  expect({ unknown, dropped }).toEqual({ unknown: 0, dropped: {} })
  return repeats
}

describe('Workers behind a relay, with faults, outages, doubled alarms and restarts on the way', () => {
  it(
    'lose nothing that they do not report and double nothing',
    async () => expect(await checkThrough(checkReports)).toBeGreaterThan(0),
    LAW_MS,
  )

  it(
    'that are killed lose what was not acknowledged at the most',
    async () => expect(await checkThrough(checkKills)).toBeGreaterThan(0),
    LAW_MS,
  )
})
