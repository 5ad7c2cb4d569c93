import type { ObjectFigures } from './figures.ts'
import type { Taken } from './frame-store.ts'
import type { Fetcher, ObjectNamespace } from './runtime.ts'

/** How long what objects said of themselves is taken for true: whoever asks, asks all of them. */
const FRESH_MS = 1_000
const FIGURES_TIMEOUT_MS = 5_000

export interface ObjectsOptions {
  readonly namespace: ObjectNamespace
  readonly groups: number
  readonly location: string | undefined
}

/** The relay's objects, as the Worker sees them: one for each group of shards. */
export class Objects {
  readonly #options: ObjectsOptions
  #figures: readonly (ObjectFigures | undefined)[] = []
  #askedMs = Number.NEGATIVE_INFINITY

  constructor(options: ObjectsOptions) {
    this.#options = options
  }

  groupOf(shard: number): number {
    return shard % this.#options.groups
  }

  /** Rejects when the object does not answer; the bundle may be stored then. */
  async store(group: number, bundle: Uint8Array): Promise<Taken> {
    const response = await this.#object(group).fetch('https://relay/frames', {
      method: 'POST',
      body: bundle as Uint8Array<ArrayBuffer>,
    })
    if (response.status !== 200) throw new Error(`object ${group} answered ${response.status}`)
    return (await response.json()) as Taken
  }

  /** What each says of itself; undefined where one does not answer. At most a second old. */
  async figures(): Promise<readonly (ObjectFigures | undefined)[]> {
    if (Date.now() - this.#askedMs < FRESH_MS) return this.#figures
    const figures = await Promise.all(Array.from({ length: this.#options.groups }, (_, group) => this.#ask(group)))
    this.#figures = figures
    this.#askedMs = Date.now()
    return figures
  }

  async #ask(group: number): Promise<ObjectFigures | undefined> {
    try {
      const signal = AbortSignal.timeout(FIGURES_TIMEOUT_MS)
      const response = await this.#object(group).fetch('https://relay/figures', { signal })
      return response.status === 200 ? ((await response.json()) as ObjectFigures) : undefined
    } catch {
      return undefined
    }
  }

  /** Made anew for each request, which it belongs to. */
  #object(group: number): Fetcher {
    const { namespace, location } = this.#options
    const id = namespace.idFromName(`group-${group}`)
    return location === undefined ? namespace.get(id) : namespace.get(id, { locationHint: location })
  }
}
