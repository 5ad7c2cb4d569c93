// A program that records, and keeps a ledger of it; publishers.ts starts it. Lines on stdin: pause, resume, ledger, sure,
// close. It answers each but resume with a line of JSON on stdout.
import { createInterface } from 'node:readline'

const { dist, source, kind, url, seed, tickMs, flushMs, sentBytes, single } = JSON.parse(process.env.PUBLISHER)
const { Zibrato } = await import(`${dist}/client/index.js`)

let state = seed >>> 0
/** mulberry32, as in random.ts */
function random() {
  state = (state + 0x6d2b79f5) >>> 0
  let mixed = state
  mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
const between = (from, to) => from + Math.floor(random() * (to - from + 1))

// what was recorded, or is about to be; and what was acknowledged
const attempted = new Map()
const acknowledged = new Map()

function enter(ledger, { type, name, value, tags }) {
  const suffix =
    tags === undefined
      ? ''
      : Object.entries(tags)
          .map(([key, text]) => ` ${key}=${text}`)
          .join('')
  const key = `${type} ${name} of ${source}${suffix}`
  const entry = ledger.get(key) ?? { count: 0, sum: 0, max: 0 }
  entry.count++
  entry.sum += typeof value === 'number' ? value : 1
  entry.max = Math.max(entry.max, typeof value === 'number' ? value : 0)
  ledger.set(key, entry)
}

let serial = 0
/** Values differ, so that a loss does not make up for a doubling; sums of them are exact in binary. */
function* measurements() {
  serial++
  if (single) {
    yield { type: 'histogram', name: `h${serial % 32}`, value: serial }
    return
  }
  yield { type: 'counter', name: `c${between(0, 19)}`, value: between(1, 1000) }
  yield { type: 'counter', name: 'slice', value: 1, tags: { second: String(Math.floor(Date.now() / 1000)) } }
  yield { type: 'histogram', name: `h${between(0, 4)}`, value: serial }
  const other = between(0, 3)
  if (other === 0) yield { type: 'timer', name: `t${between(0, 1)}`, value: between(1, 4096) / 1024 }
  if (other === 1) yield { type: 'meter', name: `m${between(0, 1)}`, value: between(1, 5) }
  if (other === 2) yield { type: 'gauge', name: 'g', value: serial }
  if (other === 3) yield { type: 'set', name: 's', value: `member ${between(0, 99)}` }
}

class Client {
  #client = new Zibrato({
    url,
    source,
    flushInterval: flushMs,
    closeTimeout: '30s',
    maxSeries: 100_000,
    exitHooks: false,
    ...(sentBytes === undefined ? {} : { sentBytes }),
  })

  record() {
    for (const measurement of measurements()) {
      enter(attempted, measurement)
      this.#client.record(measurement)
    }
  }

  async idle() {
    for (;;) {
      await this.#client.flush()
      if (this.#client.stats().waiting === 0) return
    }
  }

  async close() {
    await this.#client.close()
  }

  stats() {
    return this.#client.stats()
  }

  acknowledged() {
    const { waiting, unknown, dropped } = this.#client.stats()
    return waiting + unknown === 0 && Object.keys(dropped).length === 0 ? attempted : acknowledged
  }
}

/** Posts JSON under a key until it is acknowledged, but now and then gives up. */
class Posts {
  #underWay = new Set()
  #abandoned = 0
  #retried = 0
  #busy = 0

  record() {
    // as a program would that waits for its answers
    if (this.#busy > 20) return
    const batch = [...measurements()].map((each) => ({ ...each, source }))
    for (const measurement of batch) enter(attempted, measurement)
    const givesUp = random() < 0.03 ? between(0, 60) : undefined
    this.#busy++
    const post = this.#post(batch, `${source}-${serial}`, givesUp).finally(() => {
      this.#busy--
      this.#underWay.delete(post)
    })
    this.#underWay.add(post)
  }

  async #post(batch, key, givesUp) {
    const headers = { 'content-type': 'application/json', 'idempotency-key': key }
    const body = JSON.stringify({ measurements: batch })
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1000)) {
      const signal = AbortSignal.timeout(givesUp ?? 5000)
      const answer = await fetch(`${url}/v1/metrics`, { method: 'POST', headers, body, signal }).catch(() => undefined)
      const text = await answer?.text().catch(() => undefined)
      if (answer?.status === 202) {
        const { rejected } = text === undefined ? { rejected: [] } : JSON.parse(text)
        if (rejected.length > 0) throw new Error(`rejected: ${text}`)
        for (const measurement of batch) enter(acknowledged, measurement)
        return
      }
      if (answer !== undefined && answer.status < 500 && answer.status !== 429) {
        throw new Error(`the gateway answered ${answer.status}: ${text}`)
      }
      if (givesUp !== undefined) {
        this.#abandoned++
        return
      }
      this.#retried++
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  async idle() {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay)
  }

  close() {
    return this.idle()
  }

  stats() {
    return { abandoned: this.#abandoned, retried: this.#retried }
  }

  acknowledged() {
    return acknowledged
  }
}

const publisher = kind === 'json' ? new Posts() : new Client()
let ticking
const resume = () => (ticking ??= setInterval(() => publisher.record(), tickMs))
function pause() {
  clearInterval(ticking)
  ticking = undefined
}
function say(event, ledger = { attempted: [...attempted], acknowledged: [...publisher.acknowledged()] }) {
  console.log(JSON.stringify({ event, source, stats: publisher.stats(), ...ledger }))
}
const copyOf = (ledger) => [...ledger].map(([key, entry]) => [key, { ...entry }])

const commands = {
  resume,
  ledger: () => say('ledger'),
  // what is acknowledged by now, and of a client what was recorded before, once it is
  async sure() {
    const [before, acknowledgedBefore] = [copyOf(attempted), copyOf(acknowledged)]
    if (kind === 'json') return say('sure', { attempted: before, acknowledged: acknowledgedBefore })
    await publisher.idle()
    say('sure', { attempted: before, acknowledged: Object.keys(publisher.stats().dropped).length === 0 ? before : [] })
  },
  async pause() {
    pause()
    await publisher.idle()
    say('paused')
  },
  async close() {
    pause()
    await publisher.close()
    say('closed')
    process.exit(0)
  },
}
createInterface({ input: process.stdin }).on('line', (line) => void commands[line]())
console.log(JSON.stringify({ event: 'ready' }))
