// A Worker that takes orders. Where it sends to is in its variable ZIBRATO_URL, and who it is in its secret ZIBRATO_TOKEN.
import { Zibrato, instrument } from 'zibrato/edge'

const z = new Zibrato({ source: 'shop' })
const orders = z.counter('orders')

const worker = {
  fetch() {
    orders.inc()
    return new Response('ordered by a Worker\n')
  },
}

// sends after each response, which waits for nothing, and counts and times requests besides
export default instrument(z, worker)
