import { Connection } from './connection.ts'
import type { Extension } from './extension.ts'
import { FetchTransport, type FetchTransportOptions } from './fetch.ts'
import type { PostAnswer, PostRequest, Target } from './post.ts'

/** How long it may take at the least to tell the extension, on the same machine, that an invocation is over. */
const LAST_WORD_MS = 20

export interface LambdaTransportOptions extends FetchTransportOptions, Target {
  /** Undefined where there can be none. */
  readonly extension: Extension | undefined
}

/**
 * Posts bundles to a gateway from a Lambda function: through the extension where there is one, else by itself, in both cases
 * only while an invocation waits for it.
 */
export class LambdaTransport extends FetchTransport {
  readonly extension: Extension | undefined
  readonly #direct = new Connection()
  #ending: string | undefined

  /** @throws UsageError for a url that makes no sense */
  constructor({ extension, url, token, ...options }: LambdaTransportOptions) {
    super(options)
    this.extension = extension
    this.connect({ url, token, fetch: (endpoint, request) => this.#post(endpoint, request) })
  }

  override pull(timeoutMs: number, seal?: () => void): Promise<boolean> {
    // so that there is as much time again for a new connection
    this.#direct.patienceMs = timeoutMs / 2
    return super.pull(timeoutMs, seal)
  }

  /**
   * Has `flush` called as the last thing of an invocation, and the extension told, if there is one, that it is over. Takes up to
   * `timeoutMs`, of which `flush` takes some, and a little more if that took it all. Never rejects.
   */
  async end(requestId: string, timeoutMs: number, flush: () => Promise<void>): Promise<void> {
    const deadline = performance.now() + timeoutMs
    this.#ending = requestId
    await flush()
    // most often a post has told it
    if (this.#ending !== requestId) return
    this.#ending = undefined
    if (this.extension === undefined) return
    // also when the time is up: the extension would wait for it
    const signal = AbortSignal.timeout(Math.max(LAST_WORD_MS, Math.ceil(deadline - performance.now())))
    try {
      if (await unless(signal, this.extension.isThere())) await this.extension.end(requestId, signal)
    } catch {
      // it waits no longer than the invocation may take
    }
  }

  override async close(timeoutMs: number): Promise<void> {
    await super.close(timeoutMs)
    this.#direct.close()
  }

  async #post(url: string, request: PostRequest): Promise<PostAnswer> {
    if (this.extension !== undefined && (await unless(request.signal, this.extension.isThere()))) {
      try {
        const answer = await this.extension.post(url, request, this.#ending)
        this.#ending = undefined
        return answer
      } catch (error) {
        // gone for good: the same frames go the other way
        if (await unless(request.signal, this.extension.isThere())) throw error
      }
    }
    return this.#direct.post(url, request)
  }
}

/** @throws once the signal is aborted */
function unless<Result>(signal: AbortSignal, promise: Promise<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
