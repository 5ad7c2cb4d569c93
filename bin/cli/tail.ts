import type { Subscriber } from 'zeromq'
import { subscribersUrl } from '../../backends/worker/source.ts'
import { socketOptions } from '../../client/curve.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { decodeFrame, readHeader } from '../../client/wire/frame.ts'
import { ReplayFilter } from '../../client/wire/replay-filter.ts'
import { SHARDS } from '../../client/wire/series.ts'
import { ONLOOKER_TOPICS } from '../../client/wire/topic.ts'
import type { Invocation } from './command.ts'
import { connectKeys } from './curve.ts'
import { globMatcher } from './globs.ts'
import { jsonOf, lineOf } from './passing.ts'
import { Printer } from './printer.ts'

export interface TailSettings {
  readonly brokers: readonly string[]
  readonly levels: readonly string[] | undefined
  readonly json: boolean
  readonly curveServerKey: string | undefined
}

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const
/** How long a broker may be silent before that is mentioned. */
const CONNECT_MS = 2_000

/** `zibrato tail`. */
export async function run({ settings, args }: Invocation<TailSettings>): Promise<number> {
  const urls = settings.brokers.map(subscribersUrl)
  const socket = await open(settings, urls)
  const printer = new Printer(process.stdout)
  const close = (): void => socket.close()
  for (const signal of SIGNALS) process.on(signal, close)
  void printer.gone.then(close)
  let isHeard = false
  const hint = setTimeout(() => {
    // on a busy machine the answer may have come and wait behind this timer
    setImmediate(() => {
      if (isHeard || socket.closed) return
      say(`no broker answers at ${settings.brokers.join(' or ')} yet; still trying, Ctrl-C gives up`)
    })
  }, CONNECT_MS)
  // listened for before there can be one: what happens earlier is not told
  socket.events.on('handshake', () => {
    isHeard = true
    clearTimeout(hint)
  })
  for (const url of urls) socket.connect(url)
  const tail = new Tail(settings, args, (line) => printer.print(line))
  try {
    for await (const [, bundle] of socket) if (bundle !== undefined) tail.show(bundle)
  } finally {
    clearTimeout(hint)
    for (const signal of SIGNALS) process.off(signal, close)
  }
  if (printer.skipped > 0) say(`${printer.skipped} lines were left out, as they were not read as fast as they came`)
  return 0
}

/** Picks out of bundles what was asked for, and shows each frame once however often it is sent. */
class Tail {
  readonly #levels: ReadonlySet<string> | undefined
  readonly #isWanted: (name: string) => boolean
  readonly #format: typeof lineOf
  readonly #print: (line: string) => void
  readonly #filters = Array.from({ length: SHARDS }, () => new ReplayFilter({ maxPublishers: 10_000 }))
  #forgottenMs = 0

  constructor({ levels, json }: TailSettings, names: readonly string[], print: (line: string) => void) {
    this.#levels = levels === undefined ? undefined : new Set(levels)
    this.#isWanted = globMatcher(names)
    this.#format = json ? jsonOf : lineOf
    this.#print = print
  }

  show(bundle: Uint8Array): void {
    this.#forget()
    try {
      eachFrame(bundle, (start, end) => this.#showFrame(bundle, start, end))
    } catch {
      // a broken bundle is counted where it matters, by the worker
    }
  }

  #showFrame(bundle: Uint8Array, start: number, end: number): void {
    const { publisher, level, shard, seq } = readHeader(bundle, start, end)
    if (this.#levels?.has(level) === false) return
    if (this.#filters[shard]?.admit(publisher, level, seq, performance.now()) === 'replay') return
    const frame = decodeFrame(bundle, start, end)
    for (const entry of frame.entries) if (this.#isWanted(entry.series.name)) this.#print(this.#format(frame, entry))
  }

  #forget(): void {
    const now = performance.now()
    if (now - this.#forgottenMs < 60_000) return
    this.#forgottenMs = now
    for (const filter of this.#filters) filter.forget(now)
  }
}

async function open({ curveServerKey }: TailSettings, urls: readonly string[]): Promise<Subscriber> {
  const { Subscriber } = await import('zeromq')
  const curve = await connectKeys(curveServerKey)
  const socket = new Subscriber({
    // what is not read here in time is not to pile up in the broker either
    receiveHighWaterMark: 10_000,
    linger: 0,
    ...socketOptions(urls, curve),
  })
  socket.subscribe(...ONLOOKER_TOPICS)
  return socket
}

function say(message: string): void {
  process.stderr.write(`zibrato: tail: ${message}\n`)
}
