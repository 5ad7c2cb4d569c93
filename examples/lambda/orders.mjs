// A Lambda function that takes orders. Where it sends to is in ZIBRATO_URL, and who it is in ZIBRATO_TOKEN.
import { Zibrato, instrument } from 'zibrato/lambda'

const z = new Zibrato({ level: 'info' })
const orders = z.counter('orders')
const totals = z.histogram('orders.total')

export const handler = instrument(z, async (event) => {
  orders.inc()
  totals.record(event.total)
  return { ordered: event.item }
})
