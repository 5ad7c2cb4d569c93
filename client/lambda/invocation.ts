import type { TimeScope } from '../instruments/scope.ts'
import type { Zibrato } from '../zibrato.ts'
import type { Meters } from './meters.ts'
import type { LambdaTransport } from '../transport/lambda.ts'

/** How long before its deadline an invocation that still runs counts as timed out, and what it measured is sent. */
const TIMEOUT_LEAD_MS = 200
/** What is left of the time for the runtime to tell the result. */
const MARGIN_MS = 50

/** What is needed of the context that Lambda gives. */
export interface LambdaContext {
  readonly awsRequestId?: string
  getRemainingTimeInMillis?(): number
}

export interface InvocationOptions {
  readonly z: Zibrato<string>
  readonly transport: LambdaTransport | undefined
  readonly meters: Meters
  readonly budgetMs: number
  readonly context: LambdaContext | undefined
}

/** One call of a handler, from when it begins to when what it measured has gone out. Never throws or rejects. */
export class Invocation {
  readonly #options: InvocationOptions
  readonly #running: TimeScope | undefined
  readonly #timer: ReturnType<typeof setTimeout> | undefined
  #ending: Promise<void> | undefined
  #ended = false
  readonly #outOfWork = (): void => void this.end(false)

  constructor(options: InvocationOptions) {
    this.#options = options
    this.#running = options.meters.begin()
    void options.transport?.extension?.begin(this.#requestId)
    const leadMs = this.#remainingMs() - TIMEOUT_LEAD_MS
    // by itself it must not keep the event loop from being empty
    if (leadMs > 0 && leadMs < 2 ** 31) this.#timer = setTimeout(() => void this.#aboutToTimeOut(), leadMs).unref()
  }

  /** Puts in place of what a handler may call at its end something that sends first. */
  watch(args: unknown[]): void {
    const callback = args[2]
    if (typeof callback === 'function')
      args[2] = this.#first(callback as Method, undefined, ([error]) => isError(error))
    const context = args[1] as Record<string, unknown> | null | undefined
    if (typeof context !== 'object' || context === null) return
    for (const [name, failed] of LEGACY) {
      const method = context[name]
      // fails without a word where it cannot be replaced
      if (typeof method === 'function') Reflect.set(context, name, this.#first(method as Method, context, failed))
    }
  }

  /** For a handler that returned no promise: it calls back, or there comes a time when nothing is left to be done. */
  expectCallback(): void {
    if (this.#ending === undefined) process.once('beforeExit', this.#outOfWork)
  }

  /** Records how it ended and waits, within the budget, until what was measured has gone out. */
  end(failed: boolean): Promise<void> {
    this.#ending ??= this.#end(failed)
    return this.#ending
  }

  async #end(failed: boolean): Promise<void> {
    const { z, transport, meters } = this.#options
    clearTimeout(this.#timer)
    process.off('beforeExit', this.#outOfWork)
    this.#running?.stop()
    if (failed) meters.failed()
    const budgetMs = this.#budgetMs()
    const flush = (): Promise<void> => z.flush(budgetMs)
    if (transport === undefined) await flush()
    else await transport.end(this.#requestId, budgetMs, flush)
    this.#ended = true
  }

  async #aboutToTimeOut(): Promise<void> {
    this.#options.meters.timedOut()
    await this.#options.z.flush(this.#budgetMs())
  }

  #budgetMs(): number {
    return Math.max(0, Math.min(this.#options.budgetMs, this.#remainingMs() - MARGIN_MS))
  }

  get #requestId(): string {
    return this.#options.context?.awsRequestId ?? ''
  }

  #remainingMs(): number {
    const remaining = this.#options.context?.getRemainingTimeInMillis?.()
    return typeof remaining === 'number' && !Number.isNaN(remaining) ? remaining : Number.POSITIVE_INFINITY
  }

  /** Like `method`, but what was measured goes out before it is called. */
  #first(method: Method, self: unknown, failed: (args: readonly unknown[]) => boolean): Method {
    return (...args) => {
      const call = (): unknown => Reflect.apply(method, self, args)
      // the runtime itself calls these for promises, and catches what they throw
      if (this.#ended) return call()
      // at once, as the runtime takes what is told first: a handler that calls back may return a promise too
      void this.end(failed(args)).then(() => {
        try {
          call()
        } catch (error) {
          // no promise's business
          process.nextTick(() => {
            throw error
          })
        }
      })
      return undefined
    }
  }
}

type Method = (...args: unknown[]) => unknown

/** What contexts have for handlers that neither return a promise nor call back; Node 24's have not. */
const LEGACY: readonly (readonly [name: string, failed: (args: readonly unknown[]) => boolean])[] = [
  ['succeed', () => false],
  ['fail', () => true],
  ['done', ([error]) => isError(error)],
]

function isError(error: unknown): boolean {
  return error !== undefined && error !== null
}
