import { Zibrato } from '../../../client/index.ts'

/** A program that records something and then ends in one of several ways; it is run as a process of its own. */
const [, , url, way] = process.argv as [string, string, string, string]

const z = new Zibrato({ url, flushInterval: '1h', closeTimeout: way === 'stubborn' ? '30s' : '5s' })
z.counter('orders').inc(7)

if (way === 'two') {
  const other = new Zibrato({ url, flushInterval: '1h' })
  other.counter('orders').inc(30)
}

if (way === 'late') {
  // as a server does that has one more request to answer
  process.once('SIGTERM', () => {
    setTimeout(() => {
      z.counter('orders').inc(100)
      clearInterval(alive)
    }, 50)
  })
}

if (way === 'own') {
  process.on('SIGTERM', () => {
    z.counter('orders').inc(100)
    void z.close().then(() => process.exit(3))
  })
}

// what would keep the program alive, if it were not told to end
const alive = setInterval(() => {}, way === 'ends' ? 1 : 3_600_000)
if (way === 'ends') clearInterval(alive)
process.stdout.write('ready\n')
