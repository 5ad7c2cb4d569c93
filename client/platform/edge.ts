import { Client } from '../client.ts'
import type { Platform, ZibratoOptions } from '../options.ts'
import { BaseRecorder } from '../registry/base-recorder.ts'
import { givenDefaults } from '../registry/given.ts'
import { LISTS } from '../sketch/lists.ts'
import { ListEncoder } from '../wire/list-encoder.ts'
import { FetchTransport } from '../transport/fetch.ts'
import type { WarningSink } from '../warning.ts'
import { Zibrato as AnyZibrato } from '../zibrato.ts'

/** Workers that are compatible with Node, Deno and Bun have it; the rest pass options. */
const env = (name: string): string | undefined =>
  (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name]

// of each kind the first, where the program does not listen
const said = new Set<string>()
const say: WarningSink = ({ code, message }) => {
  if (!said.has(code)) console.warn(`zibrato: ${message}`)
  said.add(code)
}

const platform: Platform = {
  defaults: (options) => givenDefaults('Zibrato', options, env),
  sink:
    (onWarning = say) =>
    (warning) => {
      try {
        onWarning(warning)
      } catch {
        // recording must not suffer from a listener's error
      }
    },
  open(options, _, warn) {
    if (options.transport !== undefined) return options.transport
    const isTcp = (options.host ?? options.port) !== undefined
    const url = options.url ?? (isTcp ? 'tcp://host:port' : env('ZIBRATO_URL'))
    const transport = new FetchTransport({ waitingBytes: options.waitingBytes ?? 1 << 20, warn })
    if (url) transport.connect({ url, token: options.token ?? env('ZIBRATO_TOKEN') })
    return transport
  },
  recorder: (outlet) => new BaseRecorder(outlet, LISTS, new ListEncoder()),
  lingerMs: 50,
  closeTimeoutMs: 20_000,
}

/**
 * {@link AnyZibrato} where there are no sockets and no timers between requests: `flush` is what sends, so `instrument` the
 * Worker, or call it in `ctx.waitUntil` at the end of each request.
 */
export class Zibrato<Level extends string = string> extends AnyZibrato<Level> {
  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ZibratoOptions<Level> = {}) {
    super(new Client(options, platform))
  }
}
