import type { FrameStore } from './frame-store.ts'
import type { Upstream, Verdict } from './upstream.ts'

/** Posts in one alarm: it may send 50 requests on the free plan. */
const POSTS = 20
/** Frames in one post: a gateway takes 20,000. */
const MAX_FRAMES = 10_000
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 30_000
/** The longest that upstream's Retry-After is heeded. */
const LONGEST_ASKED_MS = 60_000

export interface ForwarderOptions {
  readonly upstream: Upstream
  /** Bytes of frames in one post. */
  readonly postBytes: number
  /** Told what was lost, and what goes wrong. */
  readonly warn: (message: string) => void
}

/**
 * Posts an object's frames upstream, oldest first. A frame is let go of when upstream has answered for it. Until then it is
 * sent again, for five minutes after it first went out; while upstream does not answer, nothing else goes out.
 */
export class Forwarder {
  readonly #options: ForwarderOptions
  #frames = MAX_FRAMES
  // by how much that grows with each post that is taken
  #growth = 2
  #warned: string | undefined

  constructor(options: ForwarderOptions) {
    this.#options = options
  }

  /** Posts what is there. Answers in how many ms there is more to do; undefined when nothing waits. */
  async run(store: FrameStore): Promise<number | undefined> {
    const { upstream, postBytes } = this.#options
    for (let posts = 0; posts < POSTS; posts++) {
      this.#giveUp(store)
      if (store.frames === 0) return undefined
      if (store.progress.failures > 0) {
        const verdict = await upstream.probe()
        if (verdict.kind !== 'taken') return this.#backOff(store, verdict)
      }
      const batch = store.oldest(postBytes, this.#frames)
      if (batch === undefined) return undefined
      const isFirst = store.expose(batch)
      const verdict = await upstream.post(batch.bundle)
      switch (verdict.kind) {
        case 'taken':
          this.#frames = Math.min(MAX_FRAMES, Math.ceil(this.#frames * this.#growth))
          this.#recovered(store)
          store.settle(batch, { forwarded: batch.frames - verdict.rejected, dropped: { rejected: verdict.rejected } })
          if (verdict.rejected > 0) this.#lost(verdict.rejected, 'rejected', verdict.reason)
          break
        case 'refused':
          this.#drop(store, batch, verdict.reason)
          break
        case 'smaller':
          if (batch.frames === 1) {
            // what is answered to nothing too is not the frame's fault
            const probed = await upstream.probe()
            if (probed.kind !== 'taken') {
              if (isFirst) store.withdraw()
              return this.#backOff(store, probed)
            }
            this.#drop(store, batch, verdict.reason)
          } else {
            this.#frames = Math.ceil(batch.frames / 2)
            // a bound stays, a frame that is in the way is soon past
            this.#growth = verdict.isTooLarge ? 1.1 : 2
            if (isFirst) store.withdraw()
          }
          break
        case 'again':
          if (isFirst && verdict.untouched) store.withdraw()
          return this.#backOff(store, verdict)
      }
    }
    return store.frames > 0 ? 0 : undefined
  }

  #giveUp(store: FrameStore): void {
    const frames = store.giveUp()
    if (frames > 0) {
      this.#options.warn(
        `${frames} frames are given up, as upstream has not answered for them in 5 minutes: they may have arrived`,
      )
    }
  }

  #drop(store: FrameStore, batch: Parameters<FrameStore['settle']>[0], reason: string): void {
    this.#recovered(store)
    store.settle(batch, { dropped: { refused: batch.frames } })
    this.#lost(batch.frames, 'refused', reason)
  }

  #lost(frames: number, how: string, reason: string | undefined): void {
    this.#options.warn(`upstream ${how} ${frames} frames, which are dropped: ${reason ?? 'no reason given'}`)
  }

  #recovered(store: FrameStore): void {
    if (store.progress.failures === 0) return
    this.#warned = undefined
    store.note(0, undefined)
    this.#options.warn('upstream answers again')
  }

  #backOff(store: FrameStore, verdict: Verdict): number {
    // what a post of nothing is answered, if neither taken nor to be tried again, is nothing that frames should be tried at
    const { reason = 'refuses a post of nothing' } = verdict
    const asked = verdict.kind === 'again' ? verdict.retryAfterMs : undefined
    const failures = store.progress.failures + 1
    store.note(failures, `upstream ${reason}`)
    if (reason !== this.#warned) {
      this.#warned = reason
      this.#options.warn(`upstream ${reason}; ${store.frames} frames wait, and are tried again`)
    }
    if (asked !== undefined) return Math.min(asked, LONGEST_ASKED_MS)
    const doubled = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10))
    // spread, so that objects do not return together
    return doubled * (0.5 + Math.random() / 2)
  }
}
