import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createAdaptorServer } from '@hono/node-server'
import { UsageError } from '../client/errors.ts'
import { ERROR_STATUS, type ErrorCode, refuse } from './answers.ts'
import { type AppOptions, createApp } from './app.ts'
import { type TokenSpec, Tokens } from './auth.ts'
import { decompress } from './decompress.ts'
import { checkPort, hostAndPort, listenError, resolveListenHost } from './listen/address.ts'

export interface GatewayOptions extends Omit<
  AppOptions,
  'tokens' | 'decompress' | 'exactLength' | 'header' | 'closing'
> {
  /** An address of this machine; default `127.0.0.1`. */
  readonly host?: string
  /** Default 8080; 0 picks a free one. */
  readonly port?: number
  /** Who may post; without any, only loopback is listened on. */
  readonly tokens?: readonly TokenSpec[]
  /** Listen beyond this machine without tokens: whoever reaches the port can post. */
  readonly insecure?: boolean
  /** Connections at the most; default 1,024. More are turned away and counted. */
  readonly maxConnections?: number
}

/** How long a connection may take to say what it wants, to send it, and to say the next thing. */
const HEADERS_MS = 10_000
const REQUEST_MS = 30_000
const KEEP_ALIVE_MS = 75_000
const SWEEP_MS = 20

/** The gateway's HTTP interface on a port of this machine. */
export class Gateway implements AsyncDisposable {
  readonly #options: GatewayOptions
  readonly #host: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #authorized: boolean
  #port: number
  #closing: Promise<void> | undefined
  /** Connections turned away because there were too many. */
  turnedAway = 0

  /** @throws UsageError for a port or token that is none */
  constructor(options: GatewayOptions) {
    this.#options = options
    this.#host = options.host ?? '127.0.0.1'
    this.#port = options.port ?? 8080
    checkPort('gateway', this.#port)
    const tokens = new Tokens(options.tokens ?? [])
    this.#authorized = tokens.size > 0
    const app = createApp({
      ...options,
      tokens,
      decompress,
      exactLength: true,
      header: headerOf,
      closing: () => this.#closing !== undefined,
    })
    this.#server = createAdaptorServer({
      fetch: (request, env) => app.fetch(request, env),
      // for HTTP/1.0, whose requests need not say it
      hostname: 'localhost',
      serverOptions: {
        headersTimeout: HEADERS_MS,
        requestTimeout: REQUEST_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: 5_000,
        maxHeaderSize: 16 * 1024,
      },
    }) as Server
    this.#server.maxConnections = options.maxConnections ?? 1_024
    this.#server.on('connection', (socket: Socket) => this.#track(socket))
    this.#server.on('drop', () => this.turnedAway++)
    this.#server.on('clientError', answerRaw)
  }

  /** Known once started. */
  get port(): number {
    return this.#port
  }

  /** `http://127.0.0.1:8080` */
  get url(): string {
    return `http://${hostAndPort(this.#host, this.#port)}`
  }

  /**
   * Resolves once the port is bound.
   *
   * @throws UsageError when the host has no address, or others could reach it and neither tokens nor `insecure` are there
   * @throws ZibratoError with code `ERR_LISTEN` when the port is taken or cannot be bound
   */
  async start(): Promise<void> {
    const { address, loopback } = await resolveListenHost('gateway', this.#host)
    if (!loopback && !this.#authorized && this.#options.insecure !== true) {
      throw new UsageError(
        `gateway: ${hostAndPort(this.#host, this.#port)} is open to others; give --token NAME=SECRET or --tokens FILE, ` +
          'or say --insecure',
      )
    }
    await new Promise<void>((resolve, reject) => {
      const fail = (cause: Error): void => reject(listenError('gateway', this.#host, this.#port, cause, '--http'))
      this.#server.once('error', fail)
      this.#server.listen({ host: address, port: this.#port, backlog: 511 }, () => {
        this.#server.off('error', fail)
        this.#port = (this.#server.address() as AddressInfo).port
        resolve()
      })
    })
  }

  /**
   * Takes in nothing new, answers the requests in flight and closes connections as they fall idle; whatever is left after
   * `timeoutMs` (default 5,000) is cut off. Idempotent.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? 5_000)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(timeoutMs: number): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    // Node takes a connection that has not said a word for one with a request
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy()
    const sweep = setInterval(() => this.#server.closeIdleConnections(), SWEEP_MS)
    const cut = setTimeout(() => this.#server.closeAllConnections(), timeoutMs)
    await closed
    clearInterval(sweep)
    clearTimeout(cut)
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }
}

/** A {@link Gateway}, started. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const gateway = new Gateway(options)
  await gateway.start()
  return gateway
}

function headerOf(_request: Request, env: unknown, name: string): string | undefined {
  return (env as { incoming: IncomingMessage }).incoming.headers[name] as string | undefined
}

/** Answers what is no HTTP request, in the shape of all other errors. */
function answerRaw(error: Error & { code?: string }, socket: Duplex): void {
  const answering = (socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage
  if (!socket.writable || error.code === 'ECONNRESET' || answering?.headersSent === true) {
    socket.destroy()
    return
  }
  const { body } = refuse(...problemOf(error.code))
  const status = ERROR_STATUS[problemOf(error.code)[0]]
  socket.end(
    `HTTP/1.1 ${status} ${status === 400 ? 'Bad Request' : 'Refused'}\r\nconnection: close\r\n` +
      `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function problemOf(code: string | undefined): [ErrorCode, string] {
  if (code === 'HPE_HEADER_OVERFLOW') return ['headers_too_large', 'the headers are over 16 KiB; send fewer']
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return ['timed_out', 'the request did not come in time']
  return ['unreadable', 'this is no HTTP request']
}
