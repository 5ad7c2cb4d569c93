import { Connection } from './connection.ts'
import type { PostAnswer, PostRequest } from './post.ts'

/** Where the extension listens when `ZIBRATO_EXTENSION_PORT` does not say otherwise. */
export const EXTENSION_PORT = 5554

/** What a function and the extension tell each other, besides what a gateway is told. */
export const HEADERS = {
  /** Whom the frames are for. */
  gateway: 'zibrato-gateway',
  /** Said on connections of a program that tells when invocations begin and end, and so may be waited for. */
  tells: 'zibrato-tells',
  /** The request whose invocation begins. */
  began: 'zibrato-began',
  /** The request whose invocation ends with this post. */
  ended: 'zibrato-ended',
} as const

/** How the extension answers whoever asks whether it is there. */
export const GREETING = 'zibrato-lambda-extension'

/** How long to try to tell of a beginning. */
const BEGIN_MS = 1_000
/** How long to wait for that answer: on the same machine there is one at once, or nobody. */
const FIND_MS = 100

/** `zibrato-lambda-extension`, from the function's side. */
export class Extension {
  readonly #url: string
  readonly #connection = new Connection()
  readonly #headers: Record<string, string> = {}
  #finding: Promise<boolean> | undefined
  #found = false
  #absent = false

  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`
  }

  /** Says to the extension that invocations will {@link begin} and {@link end}. Call it before anything else. */
  promiseToTell(): void {
    this.#headers[HEADERS.tells] = '1'
  }

  /** Whether it is there: asked once, and again only when there was neither an answer nor a refusal. */
  async isThere(): Promise<boolean> {
    if (this.#absent) return false
    this.#finding ??= this.#find()
    if (await this.#finding) return true
    this.#finding = undefined
    return false
  }

  /** Hands it a post for a gateway. @throws when it does not answer */
  async post(gateway: string, post: PostRequest, ended: string | undefined): Promise<PostAnswer> {
    const headers: Record<string, string> = { ...post.headers, ...this.#headers, [HEADERS.gateway]: gateway }
    if (ended !== undefined) headers[HEADERS.ended] = ended
    return this.#request({ ...post, headers })
  }

  /** Tells it, if it is known to be there, that an invocation begins: so it waits for the end. Never rejects. */
  async begin(requestId: string): Promise<void> {
    if (!this.#found) return
    const headers = { ...this.#headers, [HEADERS.began]: requestId }
    // one that does not come is missed by nobody
    await this.#request({ method: 'POST', headers, signal: AbortSignal.timeout(BEGIN_MS) }).catch(() => {})
  }

  /** Tells it that an invocation is over. @throws when it does not answer */
  async end(requestId: string, signal: AbortSignal): Promise<void> {
    await this.#request({ method: 'POST', headers: { ...this.#headers, [HEADERS.ended]: requestId }, signal })
  }

  async #request(request: Parameters<Connection['request']>[1]): Promise<PostAnswer> {
    try {
      return await this.#connection.request(`${this.#url}/v1/metrics`, request)
    } catch (error) {
      if (isRefusal(error)) this.#absent = true
      throw error
    }
  }

  async #find(): Promise<boolean> {
    try {
      const answer = await this.#connection.request(`${this.#url}/extension`, {
        method: 'GET',
        headers: this.#headers,
        signal: AbortSignal.timeout(FIND_MS),
      })
      const { extension } = JSON.parse(await answer.text()) as { extension?: unknown }
      // whatever else listens there is not going to become it
      this.#found = extension === GREETING
      this.#absent = !this.#found
      return this.#found
    } catch (error) {
      this.#absent = isRefusal(error) || error instanceof SyntaxError
      return false
    }
  }
}

function isRefusal(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
}
