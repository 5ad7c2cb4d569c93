// Runs the Worker until Ctrl-C.
//
//   npm start
//   npm run example:worker
//   curl http://127.0.0.1:8787
import { startWorker } from './workerd.ts'

const { ZIBRATO_URL = 'http://127.0.0.1:8080', ZIBRATO_TOKEN, PORT = '8787' } = process.env
const env = { ZIBRATO_URL, ...(ZIBRATO_TOKEN === undefined ? {} : { ZIBRATO_TOKEN }) }
const worker = await startWorker({ port: Number(PORT), env })
console.log(`${worker.url} counts orders, and sends them to ${ZIBRATO_URL}`)
