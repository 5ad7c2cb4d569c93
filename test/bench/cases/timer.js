import { DDSketch } from '@datadog/sketches-js'
import { checkCount, client, counted } from '../tools/client.js'
import { HANDLES, MASK, durations, order } from '../tools/data.js'
import { nsPerCall } from '../tools/measure.js'
import { useZibrato } from '../tools/warm.js'

const next = order()
const values = durations()

/** @type {import('../case.js').Case} */
export default {
  name: 'timer',
  title: 'Recording a duration',
  method: `Lognormal values around 20 ms from an array, into ${HANDLES} timers or sketches in pseudo-random rotation; both keep
quantiles within 1 % (\`@datadog/sketches-js\` with its default mapping and store). A timer also keeps the sum of squares.`,
  contenders: {
    'zibrato timer.record()': async ({ seconds }) => {
      useZibrato()
      const own = client()
      const timers = Array.from({ length: HANDLES }, (_, id) => own.z.timer(`db.${id}`))
      let total = 0
      const ns = nsPerCall((calls) => {
        for (let index = 0; index < calls; index++) timers[next[index & MASK]].record(values[index & MASK])
        total += calls
      }, seconds)
      checkCount('zibrato', await counted(own), total)
      return { ns }
    },
    'sketches-js accept()': async ({ seconds }) => {
      const sketches = Array.from({ length: HANDLES }, () => new DDSketch({ relativeAccuracy: 0.01 }))
      let total = 0
      const ns = nsPerCall((calls) => {
        for (let index = 0; index < calls; index++) sketches[next[index & MASK]].accept(values[index & MASK])
        total += calls
      }, seconds)
      checkCount(
        'sketches-js',
        sketches.reduce((sum, { count }) => sum + count, 0),
        total,
      )
      return { ns }
    },
  },
  rows: [
    {
      measured: ['zibrato timer.record()', 'ns'],
      peer: ['sketches-js accept()', 'ns'],
      unit: 'ns',
      target: { atMost: 1 },
    },
  ],
}
