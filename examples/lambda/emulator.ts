import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const BOOTSTRAP = fileURLToPath(new URL('./bootstrap.mjs', import.meta.url))

export interface EmulatorOptions {
  /** The folder with the function's code. */
  readonly folder: string
  /** `index.handler`: the module `index`, what it exports as `handler`. */
  readonly handler: string
  /** The extension's command, and what it is called in `/opt/extensions`. */
  readonly extension?: readonly string[] | undefined
  readonly env?: Readonly<Record<string, string>>
  /** The function's time limit. Default 3 s. */
  readonly timeoutMs?: number
  /** How long the function, and then the extension, may take to shut down. Lambda gives 300 ms and 2 s. */
  readonly shutdownMs?: readonly [runtime: number, extension: number]
}

/** How an invocation came out for its caller. */
export interface Outcome {
  /** The response, as the function wrote it. */
  readonly body: string
  readonly error: { readonly errorType: string; readonly errorMessage: string } | undefined
  /** Until the response was complete. */
  readonly ms: number
  /** Until each piece of a response that was streamed. */
  readonly piecesMs: readonly number[]
}

interface Invocation {
  readonly id: string
  readonly event: unknown
  readonly deadlineMs: number
  readonly startedMs: number
  readonly piecesMs: number[]
  readonly resolve: (outcome: Outcome) => void
}

/**
 * One execution environment of Lambda on this machine: the documented Runtime API and Extensions API, a function and an extension
 * as processes of their own, and SIGSTOP for both once each has asked for what comes next.
 */
export class LambdaEmulator implements AsyncDisposable {
  readonly #options: EmulatorOptions
  readonly #server: Server
  #runtime: ChildProcess | undefined
  #extension: ChildProcess | undefined
  #runtimeNext: ServerResponse | undefined
  #extensionNext: ServerResponse | undefined
  #registered = false
  #invocation: Invocation | undefined
  #initError: string | undefined
  #changed: (() => void)[] = []
  /** What both processes wrote. */
  output = ''
  /** How often a new environment was made. */
  coldStarts = 0

  private constructor(options: EmulatorOptions) {
    this.#options = options
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.keepAliveTimeout = 0
    this.#server.requestTimeout = 0
  }

  static async start(options: EmulatorOptions): Promise<LambdaEmulator> {
    const emulator = new LambdaEmulator(options)
    await new Promise<void>((resolve) => emulator.#server.listen(0, '127.0.0.1', resolve))
    return emulator
  }

  /** The function's process, while there is one. */
  get runtime(): ChildProcess | undefined {
    return this.#runtime
  }

  get extension(): ChildProcess | undefined {
    return this.#extension
  }

  /** Invokes the function, in a new environment if there is none. Rejects only when the function cannot be started. */
  async invoke(event: unknown): Promise<Outcome> {
    if (this.#runtime === undefined) await this.#init()
    await this.idle()
    this.#signal('SIGCONT')
    const timeoutMs = this.#options.timeoutMs ?? 3_000
    const id = randomUUID()
    let timer: ReturnType<typeof setTimeout> | undefined
    const outcome = await new Promise<Outcome>((resolve) => {
      const now = performance.now()
      this.#invocation = { id, event, deadlineMs: Date.now() + timeoutMs, startedMs: now, piecesMs: [], resolve }
      timer = setTimeout(() => void this.#reset('timeout', `Task timed out after ${timeoutMs} ms`), timeoutMs)
      void this.#whenIdle().then(() => clearTimeout(timer))
      this.#hand(this.#invocation)
    })
    return outcome
  }

  /** Resolves once function and extension are done, and frozen. */
  async idle(): Promise<void> {
    await this.#whenIdle()
    this.#signal('SIGSTOP')
  }

  /** Shuts the environment down, as Lambda does with one that is not needed any more. */
  async shutdown(reason: 'spindown' | 'timeout' | 'failure' = 'spindown'): Promise<void> {
    const [runtimeMs, extensionMs] = this.#options.shutdownMs ?? [300, 2_000]
    this.#signal('SIGCONT')
    // without an extension a function is told nothing
    this.#runtime?.kill(this.#extension === undefined ? 'SIGKILL' : 'SIGTERM')
    await ended(this.#runtime, runtimeMs)
    await this.#until(() => this.#extension === undefined || this.#extensionNext !== undefined, extensionMs)
    const deadlineMs = Date.now() + extensionMs
    send(this.#extensionNext, 200, { eventType: 'SHUTDOWN', shutdownReason: reason, deadlineMs })
    await ended(this.#extension, extensionMs)
    this.#forget()
  }

  /** Has the environment vanish, with all that is in its memory. */
  async kill(): Promise<void> {
    this.#runtime?.kill('SIGKILL')
    this.#extension?.kill('SIGKILL')
    await Promise.all([ended(this.#runtime, 0), ended(this.#extension, 0)])
    this.#forget()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #init(): Promise<void> {
    const { extension } = this.#options
    this.coldStarts++
    this.#initError = undefined
    if (extension !== undefined) {
      this.#extension = this.#spawn(extension)
      await this.#until(() => this.#registered || this.#extension === undefined)
    }
    this.#runtime = this.#spawn([process.execPath, BOOTSTRAP])
    await this.#whenIdle()
    if (this.#runtime !== undefined) return
    await this.kill()
    throw new Error(`the function does not start: ${this.#initError ?? ''}\n${this.output}`)
  }

  #spawn([command = '', ...args]: readonly string[]): ChildProcess {
    const { folder, handler, env } = this.#options
    const child = spawn(command, args, {
      env: {
        PATH: process.env['PATH'],
        AWS_LAMBDA_FUNCTION_NAME: basename(folder),
        ...env,
        AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
        LAMBDA_TASK_ROOT: folder,
        _HANDLER: handler,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const take = (chunk: Buffer): unknown => (this.output += chunk.toString())
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.once('exit', (code, signal) => void this.#exited(child, code ?? signal))
    return child
  }

  #hand(invocation: Invocation): void {
    const { id, event, deadlineMs } = invocation
    const arn = `arn:aws:lambda:local:000000000000:function:${basename(this.#options.folder)}`
    const [runtime, extension] = [this.#runtimeNext, this.#extensionNext]
    this.#runtimeNext = undefined
    this.#extensionNext = undefined
    send(extension, 200, { eventType: 'INVOKE', requestId: id, deadlineMs, invokedFunctionArn: arn })
    send(runtime, 200, event ?? null, {
      'lambda-runtime-aws-request-id': id,
      'lambda-runtime-deadline-ms': String(deadlineMs),
      'lambda-runtime-invoked-function-arn': arn,
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = `${request.method} ${request.url}`
    const [, id, what] = /^POST \/2018-06-01\/runtime\/invocation\/([^/]+)\/(response|error)$/.exec(path) ?? []
    if (path === 'GET /2018-06-01/runtime/invocation/next') this.#runtimeNext = response
    else if (path === 'GET /2020-01-01/extension/event/next') this.#extensionNext = response
    else if (path === 'POST /2020-01-01/extension/register') {
      this.#registered = true
      send(response, 200, { functionName: 'emulated' }, { 'lambda-extension-identifier': randomUUID() })
    } else if (path === 'POST /2018-06-01/runtime/init/error') {
      this.#initError = await read(request)
      send(response, 202, {})
    } else if (id !== undefined) await this.#finish(id, what === 'error', request, response)
    else send(response, 404, {})
    this.#change()
  }

  async #finish(id: string, failed: boolean, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const invocation = this.#invocation
    if (invocation?.id !== id) {
      send(response, 400, { errorType: 'InvalidRequestID' })
      return
    }
    const elapsed = (): number => performance.now() - invocation.startedMs
    const body = await read(request, () => invocation.piecesMs.push(elapsed()))
    const errorType = request.trailers['lambda-runtime-function-error-type']
    const error = failed
      ? (JSON.parse(body) as Outcome['error'])
      : errorType === undefined
        ? undefined
        : { errorType, errorMessage: 'while streaming' }
    // its caller has it from here on; the environment is busy until everybody has asked for the next
    invocation.resolve({ body, error, ms: elapsed(), piecesMs: invocation.piecesMs })
    this.#invocation = undefined
    send(response, 202, {})
  }

  /** Ends an environment in which something went wrong. */
  async #reset(reason: 'timeout' | 'failure', message: string): Promise<void> {
    const invocation = this.#invocation
    this.#invocation = undefined
    this.#runtime?.kill('SIGKILL')
    await ended(this.#runtime, 0)
    await this.shutdown(reason)
    invocation?.resolve({
      body: '',
      error: { errorType: `Sandbox.${reason}`, errorMessage: message },
      ms: performance.now() - invocation.startedMs,
      piecesMs: [],
    })
  }

  async #exited(child: ChildProcess, how: number | string | null): Promise<void> {
    const isRuntime = child === this.#runtime
    if (isRuntime) this.#runtime = undefined
    if (child === this.#extension) this.#extension = undefined
    this.#change()
    if (isRuntime && this.#invocation !== undefined) await this.#reset('failure', `Runtime exited with ${how}`)
  }

  #signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#runtime?.kill(signal)
    this.#extension?.kill(signal)
  }

  #forget(): void {
    this.#runtime = undefined
    this.#extension = undefined
    this.#runtimeNext = undefined
    this.#extensionNext = undefined
    this.#registered = false
    this.#change()
  }

  #whenIdle(): Promise<void> {
    return this.#until(
      () =>
        this.#invocation === undefined &&
        (this.#runtime === undefined || this.#runtimeNext !== undefined) &&
        (this.#extension === undefined || this.#extensionNext !== undefined),
    )
  }

  async #until(condition: () => boolean, timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (!condition() && performance.now() < deadline) {
      await new Promise<void>((resolve) => {
        const timer = timeoutMs < 2 ** 31 ? setTimeout(resolve, timeoutMs) : undefined
        this.#changed.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  #change(): void {
    for (const tell of this.#changed.splice(0)) tell()
  }
}

/** Resolves when a process has ended, which after `timeoutMs` it is made to. */
async function ended(child: ChildProcess | undefined, timeoutMs: number): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  await new Promise((resolve) => child.once('exit', resolve))
  clearTimeout(timer)
}

function send(response: ServerResponse | undefined, status: number, body: unknown, headers: object = {}): void {
  response?.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

async function read(request: IncomingMessage, onPiece: () => void = () => {}): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk as string
    onPiece()
  }
  return text
}
