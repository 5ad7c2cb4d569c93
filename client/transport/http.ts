import { anySignal } from '../signal.ts'
import type { Every } from '../options.ts'
import { sleep } from '../sleep.ts'
import { FetchTransport, type FetchTransportOptions, GRACE_MS, POST_TIMEOUT_MS, isTooLong } from './fetch.ts'
import type { PostRequest, Target } from './post.ts'
import type { SealedFrame } from './transport.ts'

/** Bodies below this are not worth compressing. */
const COMPRESS_BYTES = 1_024
/** How often to see whether it is time to try again. */
const TICK_MS = 200

export interface HttpTransportOptions extends FetchTransportOptions, Target {
  /** Whether to compress bodies that are worth it; `fetch` may do so itself. Default true. */
  readonly compress?: boolean | undefined
  /** Where it exists, frames are posted in the background, else by the next drain. */
  readonly every?: Every | undefined
}

/** Posts bundles to a gateway in the background, in programs that live long. */
export class HttpTransport extends FetchTransport {
  readonly #every: Every | undefined
  readonly #stopTimer: (() => void) | undefined
  readonly #abort = new AbortController()
  // whose end somebody may wait for
  readonly #posts = new Set<Promise<unknown>>()

  /** @throws UsageError for a url that makes no sense */
  constructor(options: HttpTransportOptions) {
    super(options)
    const { url, token, fetch, compress = true } = options
    this.connect({
      url,
      token,
      fetch: async (endpoint, request) => {
        const signal = anySignal(request.signal, this.#abort.signal)
        return (fetch ?? globalThis.fetch)(endpoint, { ...(compress ? await compressed(request) : request), signal })
      },
    })
    this.#every = options.every
    this.#stopTimer = options.every?.(TICK_MS, () => this.#kick())
  }

  override send(frames: readonly SealedFrame[]): boolean {
    const taken = super.send(frames)
    // without a timer there is no request in the background either: the next drain posts
    if (this.#every !== undefined) this.#kick()
    return taken
  }

  override async pull(timeoutMs: number, seal?: () => void): Promise<boolean> {
    if (this.#every === undefined) return super.pull(timeoutMs, seal)
    seal?.()
    await this.drain(timeoutMs)
    return false
  }

  override async drain(timeoutMs: number): Promise<void> {
    if (this.#every === undefined) return super.drain(timeoutMs)
    const deadlineMs = performance.now() + timeoutMs
    while (this.spool.size > 0) {
      const nowMs = performance.now()
      const leftMs = deadlineMs - nowMs
      const pauseMs = this.retryAtMs - nowMs
      if (leftMs <= 0 || (pauseMs > 0 && isTooLong(pauseMs, leftMs))) return
      if (pauseMs > 0) await sleep(pauseMs)
      else if (this.#posts.size === 0) await this.post(leftMs)
      else await atMost(leftMs, Promise.all(this.#posts))
    }
  }

  override async close(timeoutMs: number): Promise<void> {
    await super.close(timeoutMs)
    this.#stopTimer?.()
    if (this.#every !== undefined) this.#abort.abort()
  }

  protected override post(timeoutMs: number): Promise<boolean | undefined> {
    // one that never ends, whatever its signal says, must not keep others from being posted; a timer may be early by a little
    const longestMs = Math.ceil(Math.min(timeoutMs, POST_TIMEOUT_MS)) + GRACE_MS + 1
    const post = atMost(longestMs, super.post(timeoutMs)).finally(() => this.#posts.delete(post))
    this.#posts.add(post)
    return post
  }

  #kick(): void {
    if (this.#posts.size === 0) void this.#postAll()
  }

  async #postAll(): Promise<void> {
    while (this.spool.size > 0 && performance.now() >= this.retryAtMs) {
      // others have all of it under way: to ask again at once would keep them from ever being answered
      if ((await this.post(POST_TIMEOUT_MS)) === undefined) return
    }
  }
}

/** A request with its body compressed, if that is worth it. */
async function compressed(request: PostRequest): Promise<PostRequest> {
  if (request.body.byteLength < COMPRESS_BYTES || typeof CompressionStream !== 'function') return request
  const stream = new Blob([request.body]).stream().pipeThrough(new CompressionStream('gzip'))
  const headers = { ...request.headers, 'content-encoding': 'gzip' }
  return { ...request, headers, body: await new Response(stream).arrayBuffer() }
}

/** Waits for a promise, but not for long. */
async function atMost<Result>(ms: number, promise: Promise<Result>): Promise<Result | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)))
  const first = await Promise.race([promise, late])
  clearTimeout(timer)
  return first
}
