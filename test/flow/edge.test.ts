import { describe, expect, it } from 'vitest'
import { FAULTS, LAW_MS, checkKills, checkReports } from './edge-laws.ts'
import { FaultyGateway } from './faulty-gateway.ts'
import { Playground } from './processes.ts'

const SERVER_ORDERS = 1_000
const SERVER = `
  import { Zibrato } from 'DIST/client/index.js'
  const z = new Zibrato({ url: process.env.URL, source: 'shop', flushInterval: '100ms' })
  for (let times = 0; times < ${SERVER_ORDERS}; times++) {
    z.counter('orders').inc()
    if (times % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await z.close()
`

describe('Workers behind a gateway that fails', () => {
  it(
    'lose nothing that they do not report and double nothing, and share their series with servers',
    async () => {
      await using ground = new Playground()
      const { program: up, http, broker } = await ground.up()
      await using door = await FaultyGateway.before(() => http, FAULTS)
      await checkReports({
        ground,
        door,
        others: SERVER_ORDERS,
        disturb: async () => {
          const server = ground.node(SERVER, { URL: broker })
          expect(await server.ended, server.stderr).toBe(0)
        },
        settle: async () => expect(await up.stop(), up.stderr).toBe(0),
      })
      const orders = ground.rollups().filter(({ name, source }) => name === 'orders' && source === 'shop')
      expect(new Set(orders.map(({ tags }) => JSON.stringify(tags)))).toEqual(new Set(['{}']))
      expect(new Set(orders.map(({ time }) => time)).size).toBe(orders.length)
    },
    LAW_MS,
  )

  it(
    'that are killed lose what was not acknowledged at the most',
    async () => {
      await using ground = new Playground()
      const { program: up, http } = await ground.up()
      await using door = await FaultyGateway.before(() => http, FAULTS)
      await checkKills({ ground, door, settle: async () => expect(await up.stop(), up.stderr).toBe(0) })
    },
    LAW_MS,
  )
})
