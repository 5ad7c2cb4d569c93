// A UDP listener for tests that stop its process:
//   receiver.ts HOST BUFFER_BYTES
// says its port, and then a line for each line that it is sent on its standard input: what it knows.
import { UdpListener } from '../../../gateway/listen/udp.ts'

let lines = 0
const warnings: string[] = []
const listener = new UdpListener({
  reader: { packet: () => lines++ },
  host: process.argv[2] as string,
  port: 0,
  bufferBytes: Number(process.argv[3]),
  insecure: true,
  dropsEveryMs: 20,
  onWarning: (message) => warnings.push(message),
})
await listener.start()
const say = (): void => console.log(JSON.stringify({ port: listener.port, lines, warnings, ...listener.stats() }))
say()
process.stdin.on('data', say)
process.on('SIGTERM', () => {
  process.stdin.destroy()
  void listener.close().then(say)
})
