import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { Socket } from 'node:net'
import { UsageError } from '../../client/errors.ts'
import { GREETING, HEADERS } from '../../client/transport/extension.ts'
import { VERSION } from '../../client/version.ts'
import { BUNDLE_TYPE } from '../../client/wire/bundle.ts'
import { ERROR_STATUS, Refusal } from '../answers.ts'
import { ingestBundle } from '../ingest/bundle.ts'
import { listenError } from '../listen/address.ts'
import type { Forwarder } from './forwarder.ts'

const BODY_BYTES = 4 << 20
const FRAMES = 20_000
/** Invocations that are remembered: one may be over before Lambda tells of it. */
const REMEMBERED = 16
/** How long a function may take to tell that it has begun: longer, and it is one that does not tell. */
const BEGIN_MS = 100

/** What a function has told of an invocation. */
type Told = 'began' | 'ended'

/** Takes the function's bundles, on this machine only, and hears when its invocations begin and end. */
export class Intake {
  readonly #forwarder: Forwarder
  readonly #server: Server
  // connections of programs that tell when invocations begin and end
  readonly #telling = new Set<Socket>()
  readonly #told = new Map<string, Told>()
  #heard: () => void = () => {}

  constructor(forwarder: Forwarder) {
    this.#forwarder = forwarder
    this.#server = createServer((request, response) => void this.#answer(request, response))
    // time that passed while frozen says nothing about the function
    this.#server.keepAliveTimeout = 0
    this.#server.headersTimeout = 0
    this.#server.requestTimeout = 0
  }

  /** @throws ZibratoError with code `ERR_LISTEN` when the port is taken */
  async start(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: Error) =>
        reject(listenError('zibrato-lambda-extension', '127.0.0.1', port, cause, 'ZIBRATO_EXTENSION_PORT')),
      )
      this.#server.listen({ host: '127.0.0.1', port }, resolve)
    })
  }

  /**
   * Resolves once the function has told that this invocation is over, or cannot tell it any more. Where it has not told that it
   * began, which a handler that is not instrumented does not, that is soon.
   */
  async end(requestId: string, timeoutMs: number): Promise<void> {
    await this.#until(() => this.#told.has(requestId), Math.min(BEGIN_MS, timeoutMs))
    if (this.#told.has(requestId)) await this.#until(() => this.#told.get(requestId) === 'ended', timeoutMs)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers[HEADERS.tells] !== undefined) this.#tells(request.socket)
    try {
      const answer = await this.#route(request)
      respond(response, answer === undefined ? 204 : request.method === 'GET' ? 200 : 202, answer)
    } catch (error) {
      const { code, message, headers } = error instanceof Refusal ? error : new Refusal('internal', String(error))
      respond(response, ERROR_STATUS[code], { error: { code, message } }, headers)
    }
    const { [HEADERS.began]: began, [HEADERS.ended]: ended } = request.headers
    if (typeof ended === 'string') this.#hear(ended, 'ended')
    else if (typeof began === 'string' && !this.#told.has(began)) this.#hear(began, 'began')
  }

  async #route(request: IncomingMessage): Promise<object | undefined> {
    const route = `${request.method} ${request.url}`
    if (route === 'GET /extension') return { extension: GREETING, version: VERSION, stats: this.#forwarder.stats() }
    if (route !== 'POST /v1/metrics') throw new Refusal('not_found', `there is no ${route} here`)
    const body = await read(request)
    // nothing but that an invocation begins, or ends
    if (body.length === 0) return undefined
    return this.#take(request, body)
  }

  #take({ headers }: IncomingMessage, body: Uint8Array): object {
    const gateway = headers[HEADERS.gateway]
    if (headers['content-type'] !== BUNDLE_TYPE || typeof gateway !== 'string') {
      throw new Refusal('unsupported_type', `only a client's bundles are taken here, ${BUNDLE_TYPE}, for a gateway`)
    }
    const rules = { defaultLevel: 'info', levels: undefined, maxMeasurements: FRAMES, now: Date.now }
    const { frames, accepted, rejected } = ingestBundle(body, rules)
    const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1]
    try {
      if (this.#forwarder.take({ gateway, token }, frames)) return { accepted, rejected }
    } catch (error) {
      if (error instanceof UsageError) throw new Refusal('unreadable', error.message)
      throw error
    }
    throw new Refusal('overloaded', 'the extension holds all that it can; retry later', { 'retry-after': '1' })
  }

  #tells(socket: Socket): void {
    if (this.#telling.has(socket)) return
    this.#telling.add(socket)
    socket.once('close', () => {
      this.#telling.delete(socket)
      this.#heard()
    })
  }

  #hear(requestId: string, told: Told): void {
    this.#told.set(requestId, told)
    for (const oldest of this.#told.keys()) {
      if (this.#told.size <= REMEMBERED) break
      this.#told.delete(oldest)
    }
    this.#heard()
  }

  /** Resolves when what was heard makes it so, nobody is left to be heard, or after a while. */
  async #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (this.#telling.size > 0 && !condition()) {
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) break
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#heard = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#heard = () => {}
  }
}

async function read(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    // read to its end all the same, as an answer is only looked for after that
    if (bytes <= BODY_BYTES) chunks.push(chunk as Buffer)
  }
  if (bytes > BODY_BYTES) throw new Refusal('too_large', `the body is over ${BODY_BYTES} bytes; send fewer frames`)
  return Buffer.concat(chunks)
}

function respond(response: ServerResponse, status: number, body?: object, headers: object = {}): void {
  const text = body === undefined ? '' : JSON.stringify(body)
  const length = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': text.length }
  response.writeHead(status, { ...length, ...headers })
  response.end(text)
}
