import { Forwarder } from './forwarder.ts'
import { FrameStore, type Taken } from './frame-store.ts'
import type { ObjectFigures } from './figures.ts'
import type { ObjectState } from './runtime.ts'
import { type RelayEnv, type RelaySettings, parseSettings } from './settings.ts'
import { Upstream } from './upstream.ts'

/** When it is tried again to do something with settings that make no sense. */
const LATER_MS = 30_000

export interface RelayOptions {
  /** ms since the epoch. */
  readonly now?: () => number
}

interface Arrival {
  readonly bundle: Uint8Array
  readonly resolve: (taken: Taken) => void
}

/**
 * The Durable Object of the relay, one for each group of shards: keeps frames until the gateway upstream has answered 202
 * for them.
 *
 * ```
 * POST /frames    a bundle that was checked: what became of it, once that is durable
 * GET  /figures   how the object is
 * ```
 *
 * Only Workers that it is bound to reach it.
 */
export class Relay {
  readonly #state: ObjectState
  readonly #now: () => number
  readonly #settings: RelaySettings | undefined
  // what is wrong with them, if anything is
  readonly #problem: string | undefined
  readonly #store: FrameStore
  readonly #forwarder: Forwarder | undefined
  #arrivals: Arrival[] = []
  #isWriting = false
  #forwarding: Promise<void> | undefined
  // when the alarm goes off
  #alarmMs: number | undefined

  constructor(state: ObjectState, env: RelayEnv, { now = Date.now }: RelayOptions = {}) {
    this.#state = state
    this.#now = now
    try {
      const { upstream, postBytes } = (this.#settings = parseSettings(env))
      this.#forwarder = new Forwarder({ upstream: new Upstream(upstream), postBytes, warn })
    } catch (error) {
      this.#problem = (error as Error).message
    }
    this.#store = new FrameStore(state.storage, { maxBytes: this.#settings?.maxBytes ?? 0, now })
    void state.blockConcurrencyWhile(async () => {
      this.#alarmMs = (await state.storage.getAlarm()) ?? undefined
    })
  }

  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === '/figures') {
      await this.#wake()
      return Response.json(this.figures())
    }
    const taken = await this.#take(new Uint8Array(await request.arrayBuffer()))
    return Response.json(taken)
  }

  /** Forwards what waits. Called while it does, it waits for that. */
  async alarm(): Promise<void> {
    this.#alarmMs = undefined
    this.#forwarding ??= this.#forward()
    await this.#forwarding
  }

  figures(): ObjectFigures {
    const { frames, bytes, waitedMs, publishers, progress } = this.#store
    const { forwarded, unknown, dropped, repeats, refused, failures, trouble } = progress
    return { frames, bytes, waitedMs, publishers, forwarded, unknown, dropped, repeats, refused, failures, trouble }
  }

  #take(bundle: Uint8Array): Promise<Taken> {
    return new Promise((resolve) => {
      this.#arrivals.push({ bundle, resolve })
      if (!this.#isWriting) void this.#write()
    })
  }

  /** One write at a time: what comes meanwhile goes with the next. */
  async #write(): Promise<void> {
    this.#isWriting = true
    while (this.#arrivals.length > 0) {
      const arrivals = this.#arrivals
      this.#arrivals = []
      const taken = this.#guarded(() => this.#store.take(arrivals.map(({ bundle }) => bundle)))
      await Promise.all([this.#state.storage.sync(), this.#wake()]).catch((error: unknown) => this.#fail(error))
      for (const [index, { resolve }] of arrivals.entries()) resolve(taken[index] as Taken)
    }
    this.#isWriting = false
  }

  async #forward(): Promise<void> {
    // awaited in any case: whoever calls this sets what is cleared here
    const nextMs = await this.#run()
    this.#forwarding = undefined
    if (nextMs === undefined) await this.#wake()
    else await this.#setAlarm(nextMs)
  }

  async #run(): Promise<number | undefined> {
    if (this.#forwarder !== undefined) {
      return this.#forwarder.run(this.#store).catch((error: unknown) => this.#fail(error))
    }
    warn(`${this.#problem ?? ''}; what waits, waits on`)
    return LATER_MS
  }

  /** Sees to it that what waits is forwarded some time. */
  async #wake(): Promise<void> {
    // who forwards does so at its end; after a failure the alarm that is set is the right one
    if (this.#forwarding !== undefined || this.#store.frames === 0 || this.#settings === undefined) return
    if (this.#store.progress.failures > 0 && this.#alarmMs !== undefined) return
    const { postBytes, lingerMs } = this.#settings
    await this.#setAlarm(this.#store.bytes >= postBytes ? 0 : lingerMs)
  }

  async #setAlarm(delayMs: number): Promise<void> {
    const atMs = this.#now() + delayMs
    if (this.#alarmMs !== undefined && this.#alarmMs <= atMs) return
    this.#alarmMs = atMs
    await this.#state.storage.setAlarm(atMs)
  }

  #guarded<Value>(work: () => Value): Value {
    try {
      return work()
    } catch (error) {
      return this.#fail(error)
    }
  }

  /** What is in memory may no longer be what is stored: the next instance reads it anew. */
  #fail(error: unknown): never {
    const message = `zibrato relay: the storage failed: ${String(error)}`
    console.error(message)
    this.#state.abort(message)
    throw error
  }
}

function warn(message: string): void {
  console.warn(`zibrato relay: ${message}`)
}
