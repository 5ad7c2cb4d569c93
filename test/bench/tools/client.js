import { Zibrato } from 'zibrato'
import { MemoryTransport } from 'zibrato/testing'

/** A client that flushes when told to and sends nothing anywhere. @param {object} [options] */
export function client(options = {}) {
  const transport = new MemoryTransport()
  const z = new Zibrato({ transport, flushInterval: '1h', exitHooks: false, ...options })
  return { z, transport }
}

/**
 * What was counted, which shows that nothing measured was optimised away.
 *
 * @param {ReturnType<typeof client>} client
 */
export async function counted({ z, transport }) {
  await z.flush()
  let sum = 0
  for (const { entries } of transport.frames)
    for (const { aggregate } of entries) sum += aggregate.value ?? aggregate.count
  return sum
}

/** @param {string} who @param {number} got @param {number} wanted */
export function checkCount(who, got, wanted) {
  if (got !== wanted) throw new Error(`bench: ${who} counted ${got} of ${wanted}`)
}
