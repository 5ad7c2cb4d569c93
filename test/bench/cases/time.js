import { checkCount, client, counted } from '../tools/client.js'
import { HANDLES, MASK, order } from '../tools/data.js'
import { nsPerCall } from '../tools/measure.js'

const next = order()
const body = () => 1

/** @param {(calls: number) => number} batch @param {number} seconds */
function measure(batch, seconds) {
  let total = 0
  let sum = 0
  const ns = nsPerCall((calls) => {
    sum += batch(calls)
    total += calls
  }, seconds)
  if (!(sum >= 0)) throw new Error('bench: time went back')
  return { ns, total }
}

/** @param {(timer: import('zibrato').Timer, calls: number) => number} batch @param {number} seconds */
async function ofZibrato(use, seconds) {
  const own = client()
  const timers = Array.from({ length: HANDLES }, (_, id) => own.z.timer(`db.${id}`))
  const { ns, total } = measure((calls) => {
    let sum = 0
    for (let index = 0; index < calls; index++) sum += use(timers[next[index & MASK]])
    return sum
  }, seconds)
  checkCount('zibrato', await counted(own), total)
  return { ns }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'time',
  title: 'Timing a function',
  method: `A function that only returns, called by \`timer.time(body)\`, or within \`start()\` and \`stop()\`, against the same call between two
bare reads of \`performance.now()\` whose difference is summed up. ${HANDLES} timers in rotation.`,
  contenders: {
    'zibrato timer.time(body)': ({ seconds }) => ofZibrato((timer) => timer.time(body), seconds),
    'zibrato start(), stop()': ({ seconds }) =>
      ofZibrato((timer) => {
        const running = timer.start()
        body()
        return running.stop()
      }, seconds),
    'two performance.now()': async ({ seconds }) => {
      const { ns } = measure((calls) => {
        let sum = 0
        for (let index = 0; index < calls; index++) {
          const start = performance.now()
          sum += body()
          sum += performance.now() - start
        }
        return sum
      }, seconds)
      return { ns }
    },
  },
  rows: [
    { measured: ['zibrato timer.time(body)', 'ns'], peer: ['two performance.now()', 'ns'], unit: 'ns' },
    { measured: ['zibrato start(), stop()', 'ns'], peer: ['two performance.now()', 'ns'], unit: 'ns' },
  ],
}
