import type { Platform } from '../options.ts'
import { sleep } from '../sleep.ts'
import { FetchTransport, type FetchTransportOptions, isTooLate } from './fetch.ts'
import type { PostRequest, Target } from './post.ts'
import type { SealedFrame } from './transport.ts'

/** Bodies below this are not worth compressing. */
const COMPRESS_BYTES = 1_024
const POST_TIMEOUT_MS = 10_000
/** How often to see whether it is time to try again. */
const TICK_MS = 200

export interface HttpTransportOptions extends FetchTransportOptions, Target {
  /** Whether to compress bodies that are worth it; `fetch` may do so itself. Default true. */
  readonly compress?: boolean | undefined
  /** Where it exists, frames are posted in the background, else by the next drain. */
  readonly every?: Platform['every']
}

/** Posts bundles to a gateway in the background, in programs that live long. */
export class HttpTransport extends FetchTransport {
  readonly #compresses: boolean
  readonly #every: Platform['every']
  readonly #stopTimer: (() => void) | undefined
  readonly #abort = new AbortController()
  // posts whose end somebody may wait for
  readonly #posts = new Set<Promise<boolean>>()

  constructor(options: HttpTransportOptions) {
    super(options)
    this.connect(options)
    this.#compresses = options.compress ?? true
    this.#every = options.every
    this.#stopTimer = options.every?.(TICK_MS, () => this.#kick())
  }

  override send(frames: readonly SealedFrame[]): boolean {
    const taken = super.send(frames)
    // without a timer there is no request in the background either: the next drain posts
    if (this.#every !== undefined) this.#kick()
    return taken
  }

  override async pull(timeoutMs: number, seal: () => void): Promise<boolean> {
    if (this.#every === undefined) return super.pull(timeoutMs, seal)
    seal()
    await this.drain(timeoutMs)
    return false
  }

  override async drain(timeoutMs: number): Promise<void> {
    if (this.#every === undefined) return super.drain(timeoutMs)
    const deadlineMs = performance.now() + timeoutMs
    this.takeBack()
    while (this.waiting.length > 0 || this.inFlight.size > 0) {
      const leftMs = deadlineMs - performance.now()
      const pauseMs = this.retryAtMs - performance.now()
      if (leftMs <= 0 || (pauseMs > 0 && isTooLate(this.retryAtMs, deadlineMs))) return
      if (pauseMs > 0) await sleep(pauseMs)
      else if (this.inFlight.size === 0) await this.post(leftMs)
      else await atMost(leftMs, Promise.all(this.#posts))
    }
  }

  override async close(timeoutMs: number): Promise<void> {
    await super.close(timeoutMs)
    this.#stopTimer?.()
    if (this.#every !== undefined) this.#abort.abort()
  }

  protected override post(timeoutMs: number): Promise<boolean> {
    const post = super.post(timeoutMs).finally(() => this.#posts.delete(post))
    this.#posts.add(post)
    return post
  }

  protected override signal(timeoutMs: number): AbortSignal {
    return AbortSignal.any([this.#abort.signal, super.signal(timeoutMs)])
  }

  protected override async pack(
    bundle: Uint8Array<ArrayBuffer>,
    headers: Record<string, string>,
  ): Promise<PostRequest['body']> {
    if (!this.#compresses || bundle.length < COMPRESS_BYTES || typeof CompressionStream !== 'function') return bundle
    headers['content-encoding'] = 'gzip'
    return new Response(new Blob([bundle]).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer()
  }

  #kick(): void {
    if (this.inFlight.size > 0) this.takeBack()
    if (this.inFlight.size === 0) void this.#postAll()
  }

  async #postAll(): Promise<void> {
    while (!this.closed && this.waiting.length > 0 && performance.now() >= this.retryAtMs) {
      await this.post(POST_TIMEOUT_MS)
    }
  }
}

/** Waits for a promise, but not for long. */
async function atMost(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  await Promise.race([promise, new Promise((resolve) => (timer = setTimeout(resolve, ms)))])
  clearTimeout(timer)
}
