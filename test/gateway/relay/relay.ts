import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'
import type { ObjectFigures } from '../../../gateway/relay/figures.ts'

type Service = (request: Request) => Response | Promise<Response>

export interface RelayOptions {
  /** Variables and secrets, beside the defaults. */
  readonly env?: Readonly<Record<string, string>>
  /** What a service binding UPSTREAM is. */
  readonly service?: Service
}

let script: Promise<string> | undefined

/** `gateway/edge.ts` and what tests need, as one module. */
function bundled(): Promise<string> {
  script ??= build({
    entryPoints: [join(import.meta.dirname, 'relay-worker.ts')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  }).then(({ outputFiles }) => outputFiles[0]?.text ?? '')
  return script
}

/** A relay in workerd, with storage of its own that survives {@link restart}. */
export class TestRelay implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'zibrato-relay-'))
  #options: RelayOptions
  #miniflare: Miniflare | undefined
  #aheadMs = 0
  #name = ''
  url = ''
  /** What it said on its console. */
  log = ''

  private constructor(options: RelayOptions) {
    this.#options = options
  }

  static async start(options: RelayOptions): Promise<TestRelay> {
    const relay = new TestRelay(options)
    await relay.#start()
    return relay
  }

  /** Ends workerd as it is, and starts it again on what it had stored. */
  async restart(options: RelayOptions = this.#options): Promise<void> {
    this.#options = options
    await this.#miniflare?.dispose()
    await this.#start()
    await this.get(`/test/ahead/${this.#aheadMs}`)
    await this.get(`/test/fresh/${this.#name}`)
  }

  post(body: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.url}/v1/metrics`, { method: 'POST', headers, body })
  }

  get(path: string): Promise<Response> {
    return fetch(this.url + path)
  }

  /** Has every object's alarm go off, so many times at once; answers how they are then. */
  async alarm(times = 1): Promise<Figures> {
    return total((await (await this.get(`/test/alarm/${times}`)).json()) as ObjectFigures[])
  }

  figures(): Promise<Figures> {
    return this.alarm(0)
  }

  /** Turns the objects' clock, for good. */
  async ahead(ms: number): Promise<void> {
    this.#aheadMs += ms
    await this.get(`/test/ahead/${ms}`)
  }

  /** Goes on with objects that have nothing. */
  async fresh(name: string): Promise<void> {
    this.#name = name
    await this.get(`/test/fresh/${name}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#miniflare?.dispose()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #start(): Promise<void> {
    const { env = {}, service } = this.#options
    this.#miniflare = new Miniflare({
      modules: true,
      handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
        for (const stream of [stdout, stderr]) stream.on('data', (text: Buffer) => (this.log += text.toString()))
      },
      script: await bundled(),
      compatibilityDate: '2025-09-01',
      durableObjects: { RELAY: { className: 'TestRelay', useSQLite: true } },
      durableObjectsPersist: this.#folder,
      bindings: { RELAY_GROUPS: '2', RELAY_LINGER: '1m', ZIBRATO_INSECURE: 'true', ...env },
      ...(service === undefined ? {} : { serviceBindings: { UPSTREAM: service as never } }),
    })
    this.url = (await this.#miniflare.ready).href.replace(/\/$/, '')
  }
}

export type Figures = Pick<ObjectFigures, 'frames' | 'bytes' | 'forwarded' | 'unknown' | 'repeats' | 'refused'> & {
  readonly dropped: Readonly<Record<string, number>>
  readonly troubles: readonly string[]
}

function total(objects: readonly ObjectFigures[]): Figures {
  const sum = (name: 'frames' | 'bytes' | 'forwarded' | 'unknown' | 'repeats' | 'refused'): number =>
    objects.reduce((all, each) => all + each[name], 0)
  const dropped: Record<string, number> = {}
  for (const each of objects) {
    for (const [reason, frames] of Object.entries(each.dropped)) {
      if (frames > 0) dropped[reason] = (dropped[reason] ?? 0) + frames
    }
  }
  return {
    frames: sum('frames'),
    bytes: sum('bytes'),
    forwarded: sum('forwarded'),
    unknown: sum('unknown'),
    repeats: sum('repeats'),
    refused: sum('refused'),
    dropped,
    troubles: objects.flatMap(({ trouble }) => trouble ?? []),
  }
}
