import type { Defaults } from '../../client/registry/defaults.ts'
import { givenDefaults } from '../../client/registry/given.ts'
import { recordLosses } from '../../client/registry/losses.ts'
import type { SealedFrame, TransportStats } from '../../client/transport/transport.ts'
import { createRecorder } from '../recorder.ts'

/** Where losses are counted. */
export interface Origin {
  readonly source: string
  readonly level: string
}

/** Makes frames that say what was given up, as a publisher of its own. */
export class Losses {
  readonly #defaults: Defaults
  readonly #recorder = createRecorder()
  readonly #told: Record<string, number> = {}

  /** @param origin `info` and `not_specified` take the place of what no frame may have: a function matters more */
  constructor(origin: Origin) {
    this.#defaults = defaultsOf(origin)
  }

  /** Of what was given up since the last call; none if nothing was. */
  frames(stats: TransportStats): SealedFrame[] {
    recordLosses(this.#recorder, this.#defaults, stats, this.#told)
    return this.#recorder.seal()
  }
}

function defaultsOf(origin: Origin): Defaults {
  const nothing = (): undefined => undefined
  try {
    return givenDefaults('zibrato-lambda-extension', origin, nothing)
  } catch {
    return givenDefaults('zibrato-lambda-extension', {}, nothing)
  }
}
