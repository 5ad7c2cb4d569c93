import { Counter, Registry } from 'prom-client'
import { checkCount, client, counted } from '../tools/client.js'
import { HANDLES, MASK, order } from '../tools/data.js'
import { nsPerCall } from '../tools/measure.js'
import { usePromClient, useZibrato } from '../tools/warm.js'

const next = order()

/** The loop of all contenders. @param {{ inc(): void }[]} handles @param {number} calls */
function increment(handles, calls) {
  for (let index = 0; index < calls; index++) handles[next[index & MASK]].inc()
}

/** @param {{ inc(): void }[]} handles @param {number} seconds */
function measure(handles, seconds) {
  let total = 0
  const ns = nsPerCall((calls) => {
    increment(handles, calls)
    total += calls
  }, seconds)
  return { ns, total }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'counter',
  title: 'A kept counter handle',
  method: `\`inc()\` on ${HANDLES} counters in rotation, the next one read from an array of pseudo-random indexes: a loop over one
object measures nothing, as the compiler moves most of it out of the loop. Before, each library is used with labels and with
other types too, as programs do: the compiler's best case is nobody's. Sums are checked afterwards. The loop alone finds the
same handle and reads a field of it, which the others' figures contain.`,
  contenders: {
    'the loop alone': async ({ seconds }) => {
      const handles = Array.from({ length: HANDLES }, (_, id) => ({ id }))
      let last = 0
      const ns = nsPerCall((calls) => {
        let sum = 0
        for (let index = 0; index < calls; index++) sum += handles[next[index & MASK]].id
        last = sum
      }, seconds)
      if (last === 0) throw new Error('bench: the loop did not run')
      return { ns }
    },
    'zibrato inc()': async ({ seconds }) => {
      useZibrato()
      const own = client()
      const handles = Array.from({ length: HANDLES }, (_, id) => own.z.counter(`orders.${id}`))
      const { ns, total } = measure(handles, seconds)
      checkCount('zibrato', await counted(own), total)
      return { ns }
    },
    'prom-client inc()': async ({ seconds }) => {
      usePromClient()
      const registers = [new Registry()]
      const handles = Array.from(
        { length: HANDLES },
        (_, id) => new Counter({ name: `orders_${id}`, help: 'orders', registers }),
      )
      const { ns, total } = measure(handles, seconds)
      const metrics = await registers[0].getMetricsAsJSON()
      checkCount(
        'prom-client',
        metrics.reduce((sum, { values }) => sum + values[0].value, 0),
        total,
      )
      return { ns }
    },
  },
  rows: [
    { measured: ['the loop alone', 'ns'], unit: 'ns' },
    {
      measured: ['zibrato inc()', 'ns'],
      peer: ['prom-client inc()', 'ns'],
      unit: 'ns',
      target: { atMost: 0.5 },
    },
  ],
}
