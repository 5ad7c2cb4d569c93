import type { SealedFrame, TransportStats } from '../../client/transport/transport.ts'
import { FrameEncoder, newPublisher } from '../../client/wire/frame.ts'
import { DEFAULT_SOURCE, TYPE_CODE, checkLevel, encodeKey, seriesKey } from '../../client/wire/series.ts'

/** The counter of frames given up, by `reason`, as clients have it. */
const NAME = 'zibrato.dropped'

/** Where losses are counted. */
export interface Origin {
  readonly source: string
  readonly level: string
}

/** Makes frames that say what was given up, as a publisher of its own. */
export class Losses {
  readonly #origin: Origin
  readonly #publisher = newPublisher((bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>))
  readonly #encoder = new FrameEncoder()
  readonly #told = new Map<string, number>()
  // of frames, by shard
  readonly #seqs = new Map<number, number>()

  /** @param origin `info` and `not_specified` take the place of what no frame may have: a function matters more */
  constructor(origin: Origin) {
    this.#origin = isFit(origin) ? origin : { source: DEFAULT_SOURCE, level: 'info' }
  }

  /** Of what was given up since the last call; none if nothing was. */
  frames({ dropped, unknown }: TransportStats): SealedFrame[] {
    return Object.entries({ ...dropped, unknown }).flatMap(([reason, count]) => {
      const news = count - (this.#told.get(reason) ?? 0)
      this.#told.set(reason, count)
      return news > 0 ? [this.#frame(reason, news)] : []
    })
  }

  #frame(reason: string, count: number): SealedFrame {
    const { source, level } = this.#origin
    const key = encodeKey(seriesKey(NAME, source, { reason }))
    const { shard } = key
    const seq = (this.#seqs.get(shard) ?? 0) + 1
    this.#seqs.set(shard, seq)
    this.#encoder.entry(TYPE_CODE.counter, key).finite(count)
    const closedMs = Date.now()
    return { bytes: this.#encoder.seal(this.#publisher, level, shard, seq, closedMs, 0), level, shard, seq, closedMs }
  }
}

function isFit({ source, level }: Origin): boolean {
  try {
    checkLevel(level)
    seriesKey(NAME, source, {})
    return true
  } catch {
    return false
  }
}
