import { anySignal } from '../client/signal.ts'
import { PermanentError, type Rollup, type Window } from './backend.ts'
import { NoAnswerError } from './http.ts'
import { pacer } from '../client/pace.ts'

/** Part of a window, encoded for a service. */
export interface Batch {
  /** Adds what the rollup becomes; may be nothing. */
  add(rollup: Rollup): void
  /** How full it is, in what {@link BatchOptions.limit} counts; 0 when there is nothing to send. */
  readonly size: number
}

export interface BatchOptions<B extends Batch> {
  /** The backend's; begins errors. */
  readonly name: string
  readonly begin: (window: Window) => B
  /** A batch that has reached it takes nothing more. So leave room for what one rollup can become. */
  readonly limit: number
  /**
   * Sends a batch. A {@link PermanentError} says that it will never be taken; with `refused`, that so many of its rollups
   * will not be, and that the others are.
   */
  readonly post: (batch: B, signal: AbortSignal) => Promise<unknown>
  /**
   * Whether a batch that is refused is sent again in halves, so that a bad series takes no others along. For services that
   * take a batch whole or not at all; a number is how often that is done in a window. Default true: 200 times.
   */
  readonly splits?: boolean | number
  /** How long one post may take, ms; default 20,000. */
  readonly timeoutMs?: number | undefined
  /** Whether a batch that nobody answered is given up, as it may have been taken. Default false: it is sent again. */
  readonly dropUnanswered?: boolean
}

const POST_MS = 20_000
/** How long a whole window may take: each post has its own limit, and the window goes on where it stopped. */
export const WINDOW_MS = 3_600_000

/** Posts of halves per window; then a refused batch is dropped whole. */
const MOST_SPLITS = 200

/** How far a window has come. */
interface Progress {
  readonly end: number
  readonly length: number
  readonly first: string
  /** Rollups before this one are settled. */
  next: number
  refused: number
  reason: PermanentError | undefined
  splits: number
}

/** Hands a window on in batches, one after the other. After a failure the same window goes on where it stopped. */
export class Batches<B extends Batch> {
  readonly #options: BatchOptions<B>
  #progress: Progress | undefined
  // one that was given up may still be on its way out
  #last: Promise<void> = Promise.resolve()

  constructor(options: BatchOptions<B>) {
    this.#options = options
  }

  /**
   * Resolves once all is taken.
   *
   * @throws what `post` throws; a PermanentError, telling how many rollups were refused, only when all else is taken
   */
  flush(window: Window, signal: AbortSignal): Promise<void> {
    const flush = this.#last.then(() => this.#flush(window, signal))
    this.#last = flush.catch(() => {})
    return flush
  }

  async #flush(window: Window, signal: AbortSignal): Promise<void> {
    const progress = this.#resume(window)
    while (progress.next < window.rollups.length) {
      signal.throwIfAborted()
      await this.#post(window, progress, window.rollups.length, signal)
    }
    this.#progress = undefined
    if (progress.refused === 0) return
    throw new PermanentError(progress.reason?.message ?? '', { cause: progress.reason, refused: progress.refused })
  }

  #resume({ end, rollups }: Window): Progress {
    const first = rollups[0] === undefined ? '' : JSON.stringify([rollups[0].type, rollups[0].name, rollups[0].tags])
    const known = this.#progress
    if (known !== undefined && known.end === end && known.length === rollups.length && known.first === first) {
      return known
    }
    this.#progress = { end, length: rollups.length, first, next: 0, refused: 0, reason: undefined, splits: 0 }
    return this.#progress
  }

  /** Sends one batch of the rollups before `to`, or, when it is refused, all that was in it in halves. */
  async #post(window: Window, progress: Progress, to: number, signal: AbortSignal): Promise<void> {
    const { begin, limit: full, post, splits = true, timeoutMs = POST_MS, dropUnanswered = false } = this.#options
    const mostSplits = splits === true ? MOST_SPLITS : Number(splits)
    const from = progress.next
    const batch = begin(window)
    const breathe = pacer()
    let next = from
    while (next < to && batch.size < full) {
      batch.add(window.rollups[next++] as Rollup)
      const pause = breathe()
      if (pause !== undefined) await pause
    }
    try {
      const limit = AbortSignal.timeout(timeoutMs)
      if (batch.size > 0) await post(batch, anySignal(limit, signal))
    } catch (error) {
      if (error instanceof PermanentError) {
        if (error.refused === undefined && next - from > 1 && progress.splits < mostSplits) {
          await this.#halves(window, progress, next, signal)
          return
        }
        progress.reason ??= error
        progress.refused += Math.min(next - from, error.refused ?? next - from)
      } else if (error instanceof NoAnswerError && dropUnanswered) {
        progress.reason ??= new PermanentError(`${error.message}; given up, as it may have been taken`, {
          cause: error,
        })
        progress.refused += next - from
      } else throw error
    }
    progress.next = next
  }

  async #halves(window: Window, progress: Progress, to: number, signal: AbortSignal): Promise<void> {
    progress.splits++
    const middle = (progress.next + to) >>> 1
    for (const end of [middle, to]) {
      while (progress.next < end) {
        signal.throwIfAborted()
        await this.#post(window, progress, end, signal)
      }
    }
  }
}
