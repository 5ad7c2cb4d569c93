import { Counter, Registry } from 'prom-client'
import { checkCount, client, counted } from '../tools/client.js'
import { HANDLES, MASK, METHODS, ROUTES, STATUSES, order } from '../tools/data.js'
import { nsPerCall } from '../tools/measure.js'
import { usePromClient, useZibrato } from '../tools/warm.js'

const next = order()
const routeOf = (/** @type {number} */ id) => ROUTES[id & 7]
const statusOf = (/** @type {number} */ id) => STATUSES[(id >> 3) & 3]
const methodOf = (/** @type {number} */ id) => METHODS[id >> 5]
const labelsOf = (/** @type {number} */ id) => ({ route: routeOf(id), status: statusOf(id), method: methodOf(id) })

/** @param {(labels: object) => { inc(): void }} childOf @param {number} seconds */
function measureKept(childOf, seconds) {
  const handles = Array.from({ length: HANDLES }, (_, id) => childOf(labelsOf(id)))
  let total = 0
  const ns = nsPerCall((calls) => {
    for (let index = 0; index < calls; index++) handles[next[index & MASK]].inc()
    total += calls
  }, seconds)
  return { ns, total }
}

/** @param {(route: string, status: number, method: string) => void} count @param {number} seconds */
function measureFresh(count, seconds) {
  let total = 0
  const ns = nsPerCall((calls) => {
    for (let index = 0; index < calls; index++) {
      const id = next[index & MASK]
      count(routeOf(id), statusOf(id), methodOf(id))
    }
    total += calls
  }, seconds)
  return { ns, total }
}

/** @param {(counter: import('zibrato').Counter) => { ns: number, total: number }} measure */
async function ofZibrato(measure) {
  useZibrato()
  const own = client()
  const { ns, total } = measure(own.z.counter('http.requests'))
  checkCount('zibrato', await counted(own), total)
  return { ns }
}

/** @param {(counter: Counter) => { ns: number, total: number }} measure */
async function ofProm(measure) {
  usePromClient()
  const labelNames = ['route', 'status', 'method']
  const counter = new Counter({ name: 'http_requests', help: 'requests', labelNames, registers: [new Registry()] })
  const { ns, total } = measure(counter)
  const { values } = await counter.get()
  checkCount(
    'prom-client',
    values.reduce((sum, { value }) => sum + value, 0),
    total,
  )
  return { ns }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'labels',
  title: 'A counter with three labels',
  method: `${HANDLES} combinations of route, status and method in pseudo-random rotation. A kept child was obtained once per combination;
otherwise an object of labels is made for every call, as a program does that keeps nothing. prom-client's \`labels()\` gives
a child that still hashes its labels on every call.`,
  contenders: {
    'zibrato kept child': ({ seconds }) =>
      ofZibrato((counter) => measureKept((labels) => counter.with(labels), seconds)),
    'zibrato with({...}).inc()': ({ seconds }) =>
      ofZibrato((counter) =>
        measureFresh((route, status, method) => counter.with({ route, status, method }).inc(), seconds),
      ),
    'prom-client kept child': ({ seconds }) =>
      ofProm((counter) => measureKept((labels) => counter.labels(labels), seconds)),
    'prom-client inc({...})': ({ seconds }) =>
      ofProm((counter) => measureFresh((route, status, method) => counter.inc({ route, status, method }), seconds)),
  },
  rows: [
    {
      measured: ['zibrato kept child', 'ns'],
      peer: ['prom-client inc({...})', 'ns'],
      unit: 'ns',
      target: { atMost: 1 / 20 },
    },
    { measured: ['zibrato kept child', 'ns'], peer: ['prom-client kept child', 'ns'], unit: 'ns' },
    { measured: ['zibrato with({...}).inc()', 'ns'], peer: ['prom-client inc({...})', 'ns'], unit: 'ns' },
  ],
}
