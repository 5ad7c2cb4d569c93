import { type IncomingMessage, request } from 'node:http'
import { ZibratoError } from '../../client/errors.ts'

/** What Lambda tells an extension. */
export type LifecycleEvent =
  | {
      readonly eventType: 'INVOKE'
      readonly requestId: string
      /** When the function's time is over, ms since the epoch. */
      readonly deadlineMs: number
    }
  | {
      readonly eventType: 'SHUTDOWN'
      readonly shutdownReason: string
      /** When the extension is killed. */
      readonly deadlineMs: number
    }

/** The Extensions API of Lambda, of 2020-01-01. */
export class ExtensionsApi {
  readonly #base: string
  #identifier = ''

  /** @param address host and port, as `AWS_LAMBDA_RUNTIME_API` has them */
  constructor(address: string) {
    this.#base = `http://${address}/2020-01-01/extension`
  }

  /**
   * Has Lambda tell of every invocation and of the end.
   *
   * @param name that of the file in `/opt/extensions`
   * @throws ZibratoError with code `ERR_EXTENSION` when Lambda does not have it
   */
  async register(name: string): Promise<void> {
    const body = JSON.stringify({ events: ['INVOKE', 'SHUTDOWN'] })
    const headers = { 'lambda-extension-name': name, 'content-type': 'application/json' }
    const { response } = await this.#ask('POST', 'register', headers, body)
    this.#identifier = String(response.headers['lambda-extension-identifier'])
  }

  /**
   * Says that everything is done, on which Lambda may freeze the machine, and waits for what comes next, however long.
   *
   * @throws ZibratoError with code `ERR_EXTENSION` when Lambda does not answer
   */
  async next(): Promise<LifecycleEvent> {
    const { text } = await this.#ask('GET', 'event/next', { 'lambda-extension-identifier': this.#identifier })
    return JSON.parse(text) as LifecycleEvent
  }

  async #ask(
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: string,
  ): Promise<{ response: IncomingMessage; text: string }> {
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request(`${this.#base}/${path}`, { method, headers }, resolve).on('error', reject).end(body)
      })
      let text = ''
      for await (const chunk of response.setEncoding('utf8')) text += chunk as string
      if (response.statusCode === 200) return { response, text }
      throw new Error(`answered ${response.statusCode}: ${text.slice(0, 200)}`)
    } catch (cause) {
      throw new ZibratoError(
        'ERR_EXTENSION',
        `zibrato-lambda-extension: Lambda's ${path} failed: ${(cause as Error).message}; it runs only as a layer's extension`,
        { cause },
      )
    }
  }
}
