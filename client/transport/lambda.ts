import { gzipSync } from 'node:zlib'
import type { HttpOptions } from '../options.ts'
import { Connection } from './connection.ts'
import { HttpTransport, type PostAnswer, type PostRequest } from './http.ts'
import type { SealedFrame, Transport, TransportStats } from './transport.ts'
import type { Extension } from './extension.ts'

/** Bodies below this are not worth compressing. */
const COMPRESS_BYTES = 1_024

/**
 * Posts bundles to a gateway from a Lambda function: through the extension where there is one, else by itself, in both cases
 * only while an invocation waits for it.
 */
export class LambdaTransport implements Transport {
  /** Undefined where none can be. */
  readonly extension: Extension | undefined
  readonly #http: HttpTransport
  readonly #direct = new Connection()
  #ending: string | undefined

  constructor(options: HttpOptions, extension: Extension | undefined) {
    this.extension = extension
    this.#http = new HttpTransport({
      ...options,
      compress: false,
      fetch: (url, request) => this.#post(url, request),
    })
  }

  send(frames: readonly SealedFrame[]): boolean {
    return this.#http.send(frames)
  }

  connected(): boolean {
    return this.#http.connected()
  }

  async drain(timeoutMs: number): Promise<void> {
    // so that there is as much time again for a new connection
    this.#direct.patienceMs = timeoutMs / 2
    await this.#http.drain(timeoutMs)
  }

  /**
   * Has `flush` called as the last thing of an invocation, and the extension told, if there is one, that it is over. Takes up to
   * `timeoutMs` beyond what `flush` takes of it. Never rejects.
   */
  async end(requestId: string, timeoutMs: number, flush: () => Promise<void>): Promise<void> {
    const deadline = performance.now() + timeoutMs
    this.#ending = requestId
    await flush()
    // most often a post has told it
    if (this.#ending !== requestId) return
    this.#ending = undefined
    const leftMs = Math.ceil(deadline - performance.now())
    if (this.extension === undefined || leftMs <= 0) return
    const signal = AbortSignal.timeout(leftMs)
    try {
      if (await unless(signal, this.extension.isThere())) await this.extension.end(requestId, signal)
    } catch {
      // it waits no longer than the invocation may take
    }
  }

  async close(timeoutMs: number): Promise<void> {
    await this.#http.close(timeoutMs)
    this.#direct.close()
  }

  stats(): TransportStats {
    return this.#http.stats()
  }

  async #post(url: string, request: PostRequest): Promise<PostAnswer> {
    if (this.extension !== undefined && (await unless(request.signal, this.extension.isThere()))) {
      try {
        const ended = this.#ending
        const answer = await this.extension.post(url, request, ended)
        this.#ending = undefined
        return answer
      } catch (error) {
        // gone for good: the same frames go the other way
        if (await this.extension.isThere()) throw error
      }
    }
    return this.#direct.request(url, compressed(request))
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

function compressed(request: PostRequest): PostRequest {
  if (request.body.byteLength < COMPRESS_BYTES) return request
  const body = gzipSync(request.body) as Uint8Array<ArrayBuffer>
  return { ...request, body, headers: { ...request.headers, 'content-encoding': 'gzip' } }
}
